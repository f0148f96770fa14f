"""How to load a release: the part `usage` of a card, by the format of the release."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent
from typing import Callable, Optional

from ....experiment.config import Config
from ....release.manifest import Manifest
from ..markdown import block, code
from .usage_audiocraft import HERE, TEXT, audiocraft_snippet, quoted

CONVERTED = "converted"  # the folder, in examples
Usage = Callable[[Manifest, Config, str, Optional[str]], str]


def usage_part(manifest: Manifest, config: Config, format: str, architecture: Optional[str],
               repo: Optional[str]) -> str:
    """How to load the release; its first block of Python runs as it is, in the release folder.

    Args:
        manifest: of the release, with its files.
        config: `xp.cfg`.
        format: of the release: `audiocraft`, `safetensors` or `transformers`.
        architecture: the class of transformers, for that format.
        repo: on the Hub, if it goes there.
    """
    where = f"Load {code(repo)}" if repo else "In this folder (`.`, or its path)"
    return f"## How to use it\n\n{where}:\n\n{USAGES[format](manifest, config, repo or HERE, architecture)}"


def _audiocraft(manifest: Manifest, config: Config, where: str, architecture: Optional[str]) -> str:
    return block("python", audiocraft_snippet(manifest, config, where))


def _safetensors(manifest: Manifest, config: Config, where: str, architecture: Optional[str]) -> str:
    folder = "Path(\".\")" if where == HERE else f"Path(snapshot_download({quoted(where)}))"
    imported = "" if where == HERE else "from huggingface_hub import snapshot_download\n"
    loading = f"from pathlib import Path\n\n{imported}from safetensors.torch import load_file\n\n" \
        f"folder = {folder}\n" \
        "states = {path.name: load_file(path) for path in sorted(folder.glob(\"*.safetensors\"))}"
    fetching = "" if where == HERE else f"hf download {where} --local-dir release\n"
    folders = HERE if where == HERE else "release"
    text = f"The format of AudioCraft comes back by\n\n" \
        f"{block('sh', f'{fetching}audiocraft-export convert {folders} --to audiocraft --folder {CONVERTED}')}"
    model = audiocraft_snippet(manifest, config, CONVERTED)
    return f"{block('python', loading)}\n\n{text}\n\nand is loaded by\n\n{block('python', model)}"


def _transformers(manifest: Manifest, config: Config, where: str, architecture: Optional[str]) -> str:
    snippet = TRANSFORMERS[architecture or ""](config, where)
    return block("python", dedent(snippet))


def _text(config: Config, where: str) -> str:
    return _conditional("MusicgenForConditionalGeneration", where, "", f'text=["{TEXT}"]')


def _melody(config: Config, where: str) -> str:
    before = """
        rate = processor.feature_extractor.sampling_rate
        melody = torch.randn(2 * rate).numpy()  # yours: (samples)"""
    return "\n        import torch" + _conditional("MusicgenMelodyForConditionalGeneration", where, before,
                                                  f'text=["{TEXT}"], audio=melody, sampling_rate=rate')


def _conditional(name: str, where: str, before: str, inputs: str) -> str:
    return f"""
        from transformers import AutoProcessor, {name}

        processor = AutoProcessor.from_pretrained({quoted(where)})
        model = {name}.from_pretrained({quoted(where)}){before}
        inputs = processor({inputs}, padding=True, return_tensors="pt")
        audio = model.generate(**inputs, max_new_tokens=256)  # (batch, channels, samples)
        sample_rate = model.config.audio_encoder.sampling_rate
    """


def _decoder(config: Config, where: str) -> str:
    return f"""
        import torch
        from transformers import MusicgenForCausalLM

        model = MusicgenForCausalLM.from_pretrained({quoted(where)})
        start = torch.full((model.num_codebooks, 1), model.generation_config.decoder_start_token_id)
        codes = model.generate(start, attention_mask=torch.ones(1, 1), num_return_sequences=1, max_new_tokens=50)
        # (batch, codebooks, frames)
    """


def _encodec(config: Config, where: str) -> str:
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


USAGES: Mapping[str, Usage] = {"audiocraft": _audiocraft, "safetensors": _safetensors, "transformers": _transformers}
TRANSFORMERS: Mapping[str, Callable[[Config, str], str]] = {
    "MusicgenForConditionalGeneration": _text, "MusicgenMelodyForConditionalGeneration": _melody,
    "MusicgenForCausalLM": _decoder, "EncodecModel": _encodec,
}
