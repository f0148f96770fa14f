"""How to load a model in the format of AudioCraft, as code that runs where the release lies.

Each function gives the code for a family. Its arguments are the release's manifest, its configuration, and where the
release is: a repository of the Hub (`ORG/NAME`), or a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import dedent
from typing import Callable

from ....experiment.config import Config
from ....release.families import audioseal, multiband_diffusion
from ....release.families.registry import CODEC_FILE, LM_FILE
from ....release.manifest import Manifest
from ..config_values import conditions_of, count_of, public_codec, value_of

HERE = "."
TEXT = "happy rock"
NEXT = "\n        "  # line of a snippet
Snippet = Callable[[Manifest, Config, str], str]


def audiocraft_snippet(manifest: Manifest, config: Config, where: str) -> str:
    """How AudioCraft loads and uses a release; for a model that is none of its own, how torch loads it.

    Args:
        manifest: of the release, with its files.
        config: `xp.cfg`.
        where: the repository, or a folder: one without a `/`.
    """
    return dedent(SNIPPETS.get(manifest.solver or "", _general)(manifest, config, where)).strip()


def path_of(where: str, name: str) -> tuple[str, str]:
    """The import that the path of a file of the release needs, and the expression that gives it."""
    if "/" not in where:
        return "", quoted(name if where == HERE else f"{where}/{name}")
    return "from huggingface_hub import hf_hub_download\n", f"hf_hub_download({quoted(where)}, {quoted(name)})"


def quoted(text: str) -> str:
    """A text as Python and as JSON write it."""
    return json.dumps(text)


def _language_model(name: str) -> Snippet:
    def snippet(manifest: Manifest, config: Config, where: str) -> str:
        if not _has_codec(manifest):
            return _alone("load_lm_model", where)
        conditions, torch, melody = conditions_of(config), "", ""
        call = f'generate(["{TEXT}"])' if conditions else "generate_unconditional(1)"
        if "self_wav" in conditions and name == "MusicGen":
            torch, call = "import torch\n        ", f'generate_with_chroma(["{TEXT}"], melody, model.sample_rate)'
            melody = f"{NEXT}melody = torch.randn(1, 1, 2 * model.sample_rate)  # yours: (batch, channels, samples)"
        return f"""
        {torch}from audiocraft.models import {name}

        model = {name}.get_pretrained({quoted(where)})
        model.set_generation_params(duration=5)  # seconds{melody}
        audio = model.{call}  # (batch, channels, samples)
        sample_rate = model.sample_rate
        """
    return snippet


def _magnet(manifest: Manifest, config: Config, where: str) -> str:
    if not _has_codec(manifest):
        frame_rate = count_of(config, "transformer_lm.compression_model_framerate") or 50
        return _alone("load_lm_model_magnet", where, f", {frame_rate}")
    steps = value_of(config, "generate.lm.decoding_steps")
    known = isinstance(steps, list) and 0 < len(steps) <= 64 and all(type(each) is int for each in steps)
    params = f"{NEXT}model.set_generation_params(decoding_steps={steps})" if known else ""
    return f"""
        from audiocraft.models import MAGNeT

        model = MAGNeT.get_pretrained({quoted(where)}){params}
        audio = model.generate(["{TEXT}"])  # (batch, channels, samples)
        sample_rate = model.sample_rate
    """


def _jasco(manifest: Manifest, config: Config, where: str) -> str:
    if not _has_codec(manifest):
        return _general(manifest, config, where)
    return f"""
        from audiocraft.models import JASCO

        chords = "assets/chord_to_index_mapping.pkl"  # of AudioCraft's repository
        model = JASCO.get_pretrained({quoted(where)}, chords_mapping_path=chords)
        audio = model.generate_music(["{TEXT}"], chords=[("C", 0.0), ("F", 4.0)])  # (batch, channels, samples)
        sample_rate = model.sample_rate
    """


def _compression(manifest: Manifest, config: Config, where: str) -> str:
    return f"""
        import torch
        from audiocraft.models.loaders import load_compression_model

        model = load_compression_model({quoted(where)})
        audio = torch.randn(1, model.channels, model.sample_rate)  # yours: (batch, channels, samples)
        with torch.no_grad():
            codes, scale = model.encode(audio)  # (batch, codebooks, frames)
            decoded = model.decode(codes, scale)
    """


def _diffusion(manifest: Manifest, config: Config, where: str) -> str:
    name, books = public_codec(config), count_of(config, "n_q")
    codec = quoted(name) if name else f'"{CODEC_FILE}"  # the released compression model that it was trained on'
    n_q = f"{NEXT}codec.set_num_codebooks({books})" if books else ""
    return f"""
        import torch
        from audiocraft.models import CompressionModel, MultiBandDiffusion
        from audiocraft.models.loaders import load_diffusion_models
        from audiocraft.models.multibanddiffusion import DiffusionProcess
        from audiocraft.modules.diffusion_schedule import NoiseSchedule

        codec = {codec}
        codec = CompressionModel.get_pretrained(codec){n_q}
        bands = zip(*load_diffusion_models({quoted(where)}, filename="{multiband_diffusion.FILE}"))
        model = MultiBandDiffusion([
            DiffusionProcess(unet, NoiseSchedule(**cfg.schedule, sample_processor=processor, device="cpu"))
            for unet, processor, cfg in bands], codec)
        audio = torch.randn(1, codec.channels, codec.sample_rate)  # yours: (batch, channels, samples)
        decoded = model.regenerate(audio, codec.sample_rate)
    """


def _watermark(manifest: Manifest, config: Config, where: str) -> str:
    bits, rate = count_of(config, "audioseal.nbits") or 16, count_of(config, "sample_rate") or 16000
    return f"""
        import torch
        from audiocraft.models.loaders import load_audioseal_models  # AudioCraft 1.4

        model = load_audioseal_models({quoted(where)}, filename="{audioseal.name_of(manifest.sig)}")
        audio = torch.randn(1, 1, {rate})  # yours: (batch, channels, samples)
        message = torch.randint(2, (1, {bits}), dtype=torch.int32)
        with torch.no_grad():
            marked = model(audio, message)
            found = model.detect_watermark(marked)  # (batch, 2 + {bits}, samples): whether there is one, and its bits
    """


def _general(manifest: Manifest, config: Config, where: str) -> str:
    imported, path = path_of(where, LM_FILE)
    return f'import torch\n{imported}\nstate = torch.load({path}, "cpu", weights_only=True)["best_state"]'


def _alone(loader: str, where: str, more: str = "") -> str:
    return (f"from audiocraft.models.loaders import {loader}\n\n"
            f'model = {loader}({quoted(where)}{more}, device="cpu")  # generates codes: no compression model is here')


def _has_codec(manifest: Manifest) -> bool:
    return manifest.codec is not None


SNIPPETS: Mapping[str, Snippet] = {
    "musicgen": _language_model("MusicGen"),
    "audiogen": _language_model("AudioGen"),
    "magnet": _magnet,
    "audio_magnet": _magnet,
    "jasco": _jasco,
    "lm": _language_model("MusicGen"),
    "sound_lm": _language_model("MusicGen"),
    "compression": _compression,
    "diffusion": _diffusion,
    "watermarking": _watermark,
}
