"""Render the section `usage` of a card: code that loads the release, by format."""

from json import dumps as quoted
from textwrap import dedent

from ..markdown import block, code
from ..source import CardSource
from .usage_audiocraft import HERE, NEXT, PROMPT, audiocraft_snippet

DOWNLOADED, CONVERTED = "release", "converted"  # example folders; not inside a release, which may be signed


def usage_section(source: CardSource) -> str:
    """Render the section `usage`; its first Python block runs unchanged in the release folder."""
    if not source.repo:
        where, introduction = HERE, "In the release folder (`.` or its path)"
    elif source.revision:  # AudioCraft loads no branch of a repository
        where, introduction = DOWNLOADED, f"Download the branch {code(source.revision)} of {code(source.repo)}:\n\n" \
                                          f"{block('sh', _download(source))}\n\nThen load it"
    else:
        where, introduction = source.repo, f"Load {code(source.repo)}"
    return f"## Usage\n\n{introduction}:\n\n{_usage(source, where)}"


def _download(source: CardSource) -> str:
    branch = f"--revision {source.revision} " if source.revision else ""
    return f"hf download {source.repo} {branch}--local-dir {DOWNLOADED}"


def _usage(source: CardSource, where: str) -> str:
    if source.format == "safetensors":
        return _safetensors(source, where)
    if source.format == "transformers":
        template = dedent(TRANSFORMERS[source.architecture or ""])
        return block("python", template.format(where=quoted(where), prompt=quoted(PROMPT)))
    return block("python", audiocraft_snippet(source, where))


def _safetensors(source: CardSource, where: str) -> str:
    imported, folder, download, local, converted = "", f"Path({quoted(where)})", "", where, CONVERTED
    if where == HERE:
        converted = f"../{CONVERTED}"
    elif where == source.repo:
        imported = f"from huggingface_hub import snapshot_download{NEXT}"
        folder = f"Path(snapshot_download({quoted(where)}))"
        download, local = f"{_download(source)}\n", DOWNLOADED
    load = f"""
        from pathlib import Path

        {imported}from safetensors.torch import load_file

        folder = {folder}
        states = {{path.name: load_file(path) for path in sorted(folder.glob("*.safetensors"))}}
    """
    convert = f"{download}audiocraft-export convert {local} --to audiocraft --folder {converted}"
    model = audiocraft_snippet(source, converted)
    return "\n\n".join([block("python", dedent(load)), "To convert back to AudioCraft's format:", block("sh", convert),
                        "Then load it:", block("python", model)])


TRANSFORMERS = {  # loading code by transformers class
    "MusicgenForConditionalGeneration": """
        from transformers import AutoProcessor, MusicgenForConditionalGeneration

        processor = AutoProcessor.from_pretrained({where})
        model = MusicgenForConditionalGeneration.from_pretrained({where})
        inputs = processor(text=[{prompt}], padding=True, return_tensors="pt")
        audio = model.generate(**inputs, max_new_tokens=256)  # (batch, channels, samples)
        sample_rate = model.config.audio_encoder.sampling_rate
    """,
    "MusicgenMelodyForConditionalGeneration": """
        import torch
        from transformers import AutoProcessor, MusicgenMelodyForConditionalGeneration

        processor = AutoProcessor.from_pretrained({where})
        model = MusicgenMelodyForConditionalGeneration.from_pretrained({where})
        rate = processor.feature_extractor.sampling_rate
        melody = torch.randn(2 * rate).numpy()  # your melody: (samples)
        inputs = processor(text=[{prompt}], audio=melody, sampling_rate=rate, padding=True, return_tensors="pt")
        audio = model.generate(**inputs, max_new_tokens=256)  # (batch, channels, samples)
        sample_rate = model.config.audio_encoder.sampling_rate
    """,
    "MusicgenForCausalLM": """
        import torch
        from transformers import MusicgenForCausalLM

        model = MusicgenForCausalLM.from_pretrained({where})
        start = torch.full((model.num_codebooks, 1), model.generation_config.decoder_start_token_id)
        codes = model.generate(start, attention_mask=torch.ones(1, 1), num_return_sequences=1, max_new_tokens=50)
        # (batch, codebooks, frames)
    """,
    "EncodecModel": """
        import torch
        from transformers import AutoProcessor, EncodecModel

        processor = AutoProcessor.from_pretrained({where})
        model = EncodecModel.from_pretrained({where})
        rate, channels = model.config.sampling_rate, model.config.audio_channels
        audio = torch.randn(channels, rate).squeeze(0).numpy()  # your audio: (samples) or (2, samples)
        inputs = processor(raw_audio=audio, sampling_rate=rate, return_tensors="pt")
        with torch.no_grad():
            output = model(**inputs)
        codes, decoded = output.audio_codes, output.audio_values  # (batch, channels, samples)
    """,
}
