"""The section `usage` of a card: how to load a release, by its format."""

from collections.abc import Mapping
from json import dumps as quoted
from textwrap import dedent
from typing import Callable

from ..markdown import block, code
from ..source import CardSource
from .usage_audiocraft import HERE, NEXT, PROMPT, audiocraft_snippet

CONVERTED = "converted"  # the folder, in examples


def usage_section(source: CardSource) -> str:
    """The section `usage`; its first block of Python runs as it is, in the release folder."""
    where = f"Load {code(source.repo)}" if source.repo else "In this folder (`.`, or its path)"
    return f"## How to use it\n\n{where}:\n\n{USAGES[source.format](source, source.repo or HERE)}"


def _audiocraft(source: CardSource, where: str) -> str:
    return block("python", audiocraft_snippet(source, where))


def _safetensors(source: CardSource, where: str) -> str:
    imported, folder, download, local = "", 'Path(".")', "", HERE
    if where != HERE:
        imported = f"from huggingface_hub import snapshot_download{NEXT}"
        folder = f"Path(snapshot_download({quoted(where)}))"
        download, local = f"hf download {where} --local-dir release\n", "release"
    load = f"""
        from pathlib import Path

        {imported}from safetensors.torch import load_file

        folder = {folder}
        states = {{path.name: load_file(path) for path in sorted(folder.glob("*.safetensors"))}}
    """
    convert = f"{download}audiocraft-export convert {local} --to audiocraft --folder {CONVERTED}"
    model = audiocraft_snippet(source, CONVERTED)
    return "\n\n".join([block("python", dedent(load)), "The format of AudioCraft comes back by", block("sh", convert),
                        "and is loaded by", block("python", model)])


def _transformers(source: CardSource, where: str) -> str:
    return block("python", dedent(TRANSFORMERS[source.architecture or ""](where)))


def _text(where: str) -> str:
    return _conditional("MusicgenForConditionalGeneration", where, "", f'text=["{PROMPT}"]')


def _melody(where: str) -> str:
    before = """
        rate = processor.feature_extractor.sampling_rate
        melody = torch.randn(2 * rate).numpy()  # yours: (samples)"""
    return "\n        import torch" + _conditional("MusicgenMelodyForConditionalGeneration", where, before,
                                                  f'text=["{PROMPT}"], audio=melody, sampling_rate=rate')


def _conditional(name: str, where: str, before: str, inputs: str) -> str:
    return f"""
        from transformers import AutoProcessor, {name}

        processor = AutoProcessor.from_pretrained({quoted(where)})
        model = {name}.from_pretrained({quoted(where)}){before}
        inputs = processor({inputs}, padding=True, return_tensors="pt")
        audio = model.generate(**inputs, max_new_tokens=256)  # (batch, channels, samples)
        sample_rate = model.config.audio_encoder.sampling_rate
    """


def _decoder(where: str) -> str:
    return f"""
        import torch
        from transformers import MusicgenForCausalLM

        model = MusicgenForCausalLM.from_pretrained({quoted(where)})
        start = torch.full((model.num_codebooks, 1), model.generation_config.decoder_start_token_id)
        codes = model.generate(start, attention_mask=torch.ones(1, 1), num_return_sequences=1, max_new_tokens=50)
        # (batch, codebooks, frames)
    """


def _encodec(where: str) -> str:
    return f"""
        import torch
        from transformers import AutoProcessor, EncodecModel

        processor = AutoProcessor.from_pretrained({quoted(where)})
        model = EncodecModel.from_pretrained({quoted(where)})
        rate, channels = model.config.sampling_rate, model.config.audio_channels
        audio = torch.randn(channels, rate).squeeze(0).numpy()  # yours: (samples), or (2, samples)
        inputs = processor(raw_audio=audio, sampling_rate=rate, return_tensors="pt")
        with torch.no_grad():
            output = model(**inputs)
        codes, decoded = output.audio_codes, output.audio_values  # (batch, channels, samples)
    """


USAGES: Mapping[str, Callable[[CardSource, str], str]] = {
    "audiocraft": _audiocraft, "safetensors": _safetensors, "transformers": _transformers}
TRANSFORMERS: Mapping[str, Callable[[str], str]] = {  # by class
    "MusicgenForConditionalGeneration": _text, "MusicgenMelodyForConditionalGeneration": _melody,
    "MusicgenForCausalLM": _decoder, "EncodecModel": _encodec,
}
