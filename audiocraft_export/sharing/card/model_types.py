"""Describe each type of model for the Hub and for readers of the card, by family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

TASKS = {  # tasks of the Hub by transformers class
    "MusicgenForConditionalGeneration": "text-to-audio",
    "MusicgenMelodyForConditionalGeneration": "text-to-audio",
    "MusicgenForCausalLM": "audio-to-audio",  # continues codes; the Hub offers a pipeline for text-to-audio
    "EncodecModel": "feature-extraction",
}


@dataclass(frozen=True)
class ModelType:
    """A type of model, as the model card presents it."""

    name: str
    summary: str  # one sentence: what the model does
    paper: Optional[str] = None  # arXiv identifier
    task: Optional[str] = None  # task on the Hub (`pipeline_tag`)
    tags: Sequence[str] = ()  # the Hub shows loading code for the tags `musicgen`, `audiogen` and `magnet`


MUSICGEN = ModelType("MusicGen", "A language model that generates music as codes of a compression model.",
                     "2306.05284", "text-to-audio", ("audiocraft", "musicgen", "music-generation"))
LANGUAGE_MODEL = ModelType("MusicGen", "A language model that generates audio as codes of a compression model.",
                           "2306.05284", "text-to-audio", ("audiocraft", "musicgen"))
AUDIOGEN = ModelType("AudioGen", "A language model that generates sounds as codes of a compression model.",
                     "2209.15352", "text-to-audio", ("audiocraft", "audiogen"))
MAGNET = ModelType("MAGNeT", "A masked, non-autoregressive model that generates audio as codes of a compression "
                   "model in a few steps.", "2401.04577", "text-to-audio", ("audiocraft", "magnet"))
JASCO = ModelType("JASCO", "A flow matching model that generates music from text, chords, drums and melodies, in the "
                  "latent space of a compression model.", "2406.10970", "text-to-audio",
                  ("audiocraft", "jasco", "music-generation"))
ENCODEC = ModelType("EnCodec", "A neural audio codec that encodes audio to discrete codes and decodes them.",
                    "2210.13438", "feature-extraction", ("audiocraft", "encodec", "audio-codec"))
DIFFUSION = ModelType("MultiBand Diffusion", "A diffusion decoder that generates audio from the codes of a "
                      "compression model, one frequency band at a time.", "2308.02560", "audio-to-audio",
                      ("audiocraft", "multiband-diffusion"))
AUDIOSEAL = ModelType("AudioSeal", "A generator of inaudible audio watermarks with their detector.",
                      "2401.17264", "audio-to-audio", ("audiocraft", "audioseal", "watermarking"))
GENERAL = ModelType("A model", "A model trained with Flashy and Dora.", tags=("flashy", "dora"))

MODEL_TYPES: Mapping[str, ModelType] = {
    "musicgen": MUSICGEN, "audiogen": AUDIOGEN, "magnet": MAGNET, "audio_magnet": MAGNET, "jasco": JASCO,
    "lm": LANGUAGE_MODEL, "sound_lm": LANGUAGE_MODEL, "compression": ENCODEC, "diffusion": DIFFUSION,
    "watermarking": AUDIOSEAL,
}
