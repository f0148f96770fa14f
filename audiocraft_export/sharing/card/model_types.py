"""The types of models, by the name of their family: what the Hub and a new reader are told of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

TASKS = {  # of the Hub, by the class of transformers
    "MusicgenForConditionalGeneration": "text-to-audio",
    "MusicgenMelodyForConditionalGeneration": "text-to-audio",
    "MusicgenForCausalLM": "audio-to-audio",  # codes that go on: text-to-audio would have the Hub offer a pipeline
    "EncodecModel": "feature-extraction",
}


@dataclass(frozen=True)
class ModelType:
    """A type of models."""

    name: str
    summary: str  # what a model of it does, in a sentence
    paper: Optional[str] = None  # its number on arXiv
    task: Optional[str] = None  # the Hub's `pipeline_tag`
    tags: Sequence[str] = ()  # of the Hub; by `musicgen`, `audiogen` and `magnet` it shows how AudioCraft loads a model


MUSICGEN = ModelType("MusicGen", "A language model over the codes of a compression model, which generates music.",
                     "2306.05284", "text-to-audio", ("audiocraft", "musicgen", "music-generation"))
LANGUAGE_MODEL = ModelType("MusicGen", "A language model over the codes of a compression model, which generates audio.",
                           "2306.05284", "text-to-audio", ("audiocraft", "musicgen"))
AUDIOGEN = ModelType("AudioGen", "A language model over the codes of a compression model, which generates sounds.",
                     "2209.15352", "text-to-audio", ("audiocraft", "audiogen"))
MAGNET = ModelType("MAGNeT", "A masked, non-autoregressive model over the codes of a compression model, which "
                   "generates audio in a few steps.", "2401.04577", "text-to-audio", ("audiocraft", "magnet"))
JASCO = ModelType("JASCO", "A flow matching model over the latents of a compression model, which generates music from "
                  "text, chords, drums and melodies.", "2406.10970", "text-to-audio",
                  ("audiocraft", "jasco", "music-generation"))
ENCODEC = ModelType("EnCodec", "A neural audio codec: it makes discrete codes of audio, and audio of the codes.",
                    "2210.13438", "feature-extraction", ("audiocraft", "encodec", "audio-codec"))
DIFFUSION = ModelType("MultiBand Diffusion", "A decoder that makes audio of the codes of a compression model by "
                      "diffusion, one band of frequencies at a time.", "2308.02560", "audio-to-audio",
                      ("audiocraft", "multiband-diffusion"))
AUDIOSEAL = ModelType("AudioSeal", "A generator of inaudible watermarks in audio, and the detector that finds them.",
                      "2401.17264", "audio-to-audio", ("audiocraft", "audioseal", "watermarking"))
GENERAL = ModelType("A model", "A model trained with Flashy and Dora.", tags=("flashy", "dora"))

MODEL_TYPES: Mapping[str, ModelType] = {
    "musicgen": MUSICGEN, "audiogen": AUDIOGEN, "magnet": MAGNET, "audio_magnet": MAGNET, "jasco": JASCO,
    "lm": LANGUAGE_MODEL, "sound_lm": LANGUAGE_MODEL, "compression": ENCODEC, "diffusion": DIFFUSION,
    "watermarking": AUDIOSEAL,
}
