"""What the Hub, and a reader who has never seen it, is told of each family of models, by the name of its solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ...release.manifest import Manifest

TASKS = {  # of the Hub, by the class of transformers
    "MusicgenForConditionalGeneration": "text-to-audio",
    "MusicgenMelodyForConditionalGeneration": "text-to-audio",
    "MusicgenForCausalLM": "audio-to-audio",  # codes that go on: text-to-audio would have the Hub offer a pipeline
    "EncodecModel": "feature-extraction",
}


@dataclass(frozen=True)
class Kind:
    """What to say of a family of models.

    Args:
        name: what its authors call it.
        does: what one of them does, in a sentence.
        paper: number of the paper on arXiv.
        task: the Hub's `pipeline_tag`.
        tags: by which the Hub's users look for one; `musicgen`, `audiogen` and `magnet` also have the Hub show how
            AudioCraft loads it.
    """

    name: str
    does: str
    paper: Optional[str] = None
    task: Optional[str] = None
    tags: Sequence[str] = ()


MUSICGEN = Kind("MusicGen", "A language model over the codes of a compression model, which generates music.",
                "2306.05284", "text-to-audio", ("audiocraft", "musicgen", "music-generation"))
LANGUAGE_MODEL = Kind("MusicGen", "A language model over the codes of a compression model, which generates audio.",
                      "2306.05284", "text-to-audio", ("audiocraft", "musicgen"))
AUDIOGEN = Kind("AudioGen", "A language model over the codes of a compression model, which generates sounds.",
                "2209.15352", "text-to-audio", ("audiocraft", "audiogen"))
MAGNET = Kind("MAGNeT", "A masked, non-autoregressive model over the codes of a compression model, which generates "
              "audio in a few steps.", "2401.04577", "text-to-audio", ("audiocraft", "magnet"))
JASCO = Kind("JASCO", "A flow matching model over the latents of a compression model, which generates music from text, "
             "chords, drums and melodies.", "2406.10970", "text-to-audio", ("audiocraft", "jasco", "music-generation"))
ENCODEC = Kind("EnCodec", "A neural audio codec: it makes discrete codes of audio, and audio of the codes.",
               "2210.13438", "feature-extraction", ("audiocraft", "encodec", "audio-codec"))
DIFFUSION = Kind("MultiBand Diffusion", "A decoder that makes audio of the codes of a compression model by diffusion, "
                 "one band of frequencies at a time.", "2308.02560", "audio-to-audio",
                 ("audiocraft", "multiband-diffusion"))
AUDIOSEAL = Kind("AudioSeal", "A generator of inaudible watermarks in audio, and the detector that finds them.",
                 "2401.17264", "audio-to-audio", ("audiocraft", "audioseal", "watermarking"))
GENERAL = Kind("A model", "A model trained with Flashy and Dora.", tags=("flashy", "dora"))

KINDS: Mapping[str, Kind] = {
    "musicgen": MUSICGEN,
    "audiogen": AUDIOGEN,
    "magnet": MAGNET,
    "audio_magnet": MAGNET,
    "jasco": JASCO,
    "lm": LANGUAGE_MODEL,
    "sound_lm": LANGUAGE_MODEL,
    "compression": ENCODEC,
    "diffusion": DIFFUSION,
    "watermarking": AUDIOSEAL,
}


def kind_of(manifest: Manifest) -> Kind:
    """The kind of model in a release; the general one if it is none of AudioCraft's."""
    return KINDS.get(manifest.solver or "", GENERAL)


def title_of(manifest: Manifest, repo: Optional[str]) -> str:
    """What to call the model: the name of its repository, or that of its kind."""
    return repo.rpartition("/")[2] if repo else kind_of(manifest).name
