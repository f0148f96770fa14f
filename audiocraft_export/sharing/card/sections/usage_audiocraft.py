"""Generate code that loads a release in AudioCraft's format; it runs in the release folder.

Each function generates the code for one family. `where` is a repository on the Hub (`ORG/NAME`), or a folder: `.`, or
one without `/` in its name, here or in the folder above.
"""

from collections.abc import Mapping
from json import dumps as quoted  # JSON strings are also Python strings
from textwrap import dedent
from typing import Callable

from ....release.families import audioseal, multiband_diffusion
from ....release.families.registry import CODEC_FILE, LM_FILE
from ..config_values import conditioners_of, count_of, public_codec, value_of
from ..limits import MAX_DECODING_STEPS
from ..source import CardSource

HERE = "."
PROMPT = "happy rock"
NEXT = "\n        "  # starts a line of a snippet


def audiocraft_snippet(source: CardSource, where: str) -> str:
    """Return code that loads a release with AudioCraft, or with torch for models that AudioCraft does not know."""
    return dedent(SNIPPETS.get(source.model_type.name, _general)(source, where)).strip()


def _language_model(source: CardSource, where: str) -> str:
    if source.manifest.codec is None:
        return _alone("load_lm_model", where)
    name, conditioners, torch, melody = source.model_type.name, conditioners_of(source.config), "", ""
    call = f'generate(["{PROMPT}"])' if conditioners else "generate_unconditional(1)"
    if "self_wav" in conditioners and name == "MusicGen":
        torch, call = "import torch\n        ", f'generate_with_chroma(["{PROMPT}"], melody, model.sample_rate)'
        melody = f"{NEXT}melody = torch.randn(1, 1, 2 * model.sample_rate)  # your melody: (batch, channels, samples)"
    return f"""
        {torch}from audiocraft.models import {name}

        model = {name}.get_pretrained({quoted(where)})
        model.set_generation_params(duration=5)  # seconds{melody}
        audio = model.{call}  # (batch, channels, samples)
        sample_rate = model.sample_rate
    """


def _magnet(source: CardSource, where: str) -> str:
    if source.manifest.codec is None:
        frame_rate = count_of(source.config, "transformer_lm.compression_model_framerate") or 50
        return _alone("load_lm_model_magnet", where, f", {frame_rate}")
    steps = value_of(source.config, "generate.lm.decoding_steps")
    is_known = isinstance(steps, list) and 0 < len(steps) <= MAX_DECODING_STEPS and {*map(type, steps)} == {int}
    params = f"{NEXT}model.set_generation_params(decoding_steps={steps})" if is_known else ""
    return f"""
        from audiocraft.models import MAGNeT

        model = MAGNeT.get_pretrained({quoted(where)}){params}
        audio = model.generate(["{PROMPT}"])  # (batch, channels, samples)
        sample_rate = model.sample_rate
    """


def _jasco(source: CardSource, where: str) -> str:
    if source.manifest.codec is None:
        return _general(source, where)
    return f"""
        from audiocraft.models import JASCO

        chords = "assets/chord_to_index_mapping.pkl"  # from the AudioCraft repository
        model = JASCO.get_pretrained({quoted(where)}, chords_mapping_path=chords)
        audio = model.generate_music(["{PROMPT}"], chords=[("C", 0.0), ("F", 4.0)])  # (batch, channels, samples)
        sample_rate = model.sample_rate
    """


def _compression(source: CardSource, where: str) -> str:
    return f"""
        import torch
        from audiocraft.models.loaders import load_compression_model

        model = load_compression_model({quoted(where)})
        audio = torch.randn(1, model.channels, model.sample_rate)  # your audio: (batch, channels, samples)
        with torch.no_grad():
            codes, scale = model.encode(audio)  # (batch, codebooks, frames)
            decoded = model.decode(codes, scale)
    """


def _diffusion(source: CardSource, where: str) -> str:
    name, books = public_codec(source.config), count_of(source.config, "n_q")
    codec = quoted(name) if name else f'"{CODEC_FILE}"  # the compression model of the training'
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
        audio = torch.randn(1, codec.channels, codec.sample_rate)  # your audio: (batch, channels, samples)
        decoded = model.regenerate(audio, codec.sample_rate)
    """


def _watermark(source: CardSource, where: str) -> str:
    bits, rate = count_of(source.config, "audioseal.nbits") or 16, count_of(source.config, "sample_rate") or 16000
    return f"""
        import torch
        from audiocraft.models.loaders import load_audioseal_models  # AudioCraft 1.4

        model = load_audioseal_models({quoted(where)}, filename="{audioseal.name_of(source.manifest.sig)}")
        audio = torch.randn(1, 1, {rate})  # your audio: (batch, channels, samples)
        message = torch.randint(2, (1, {bits}), dtype=torch.int32)
        with torch.no_grad():
            marked = model(audio, message)
            found = model.detect_watermark(marked)  # (batch, 2 + {bits}, samples): detection, message bits
    """


def _general(source: CardSource, where: str) -> str:
    imported, path = "", quoted(LM_FILE if where == HERE else f"{where}/{LM_FILE}")
    if "/" in where and not where.startswith("../"):
        imported = "from huggingface_hub import hf_hub_download\n"
        path = f"hf_hub_download({quoted(where)}, {quoted(LM_FILE)})"
    return f'import torch\n{imported}\nstate = torch.load({path}, "cpu", weights_only=True)["best_state"]'


def _alone(loader: str, where: str, more: str = "") -> str:
    """Return code that loads a language model without its compression model."""
    return (f"from audiocraft.models.loaders import {loader}\n\n"
            f'model = {loader}({quoted(where)}{more}, device="cpu")  # codes only: no compression model included')


SNIPPETS: Mapping[str, Callable[[CardSource, str], str]] = {  # snippets by type of model
    "MusicGen": _language_model, "AudioGen": _language_model, "MAGNeT": _magnet, "JASCO": _jasco,
    "EnCodec": _compression, "MultiBand Diffusion": _diffusion, "AudioSeal": _watermark,
}
