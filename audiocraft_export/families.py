"""What a release consists of, by the name of the solver that trained the model.

A new family is one more line in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

from .config import Config
from .errors import CheckpointError

LM_FILE = "state_dict.bin"
CODEC_FILE = "compression_state_dict.bin"


@dataclass(frozen=True)
class Family:
    """A family of models.

    Args:
        kind: what to call one of them.
        file: name of the file in the release folder that AudioCraft's loader looks for.
        audiocraft: whether the model is one of AudioCraft's, and its version tag matters.
        codec: whether a compression model belongs beside it.
        metrics: of the validation stage, by the first of which the best state is chosen; without any it is the last.
        load: rebuilds it from a release folder with `audiocraft.models.loaders`, which it is given.
    """

    kind: str
    file: str = LM_FILE
    audiocraft: bool = True
    codec: bool = False
    metrics: tuple[str, ...] = ()
    load: Optional[Callable[[Any, str], Any]] = None


LANGUAGE_MODEL = Family("a language model", codec=True, metrics=("ce",),
                        load=lambda loaders, folder: loaders.load_lm_model(folder))
MAGNET = Family("a language model", codec=True, metrics=("ce",),
                load=lambda loaders, folder: loaders.load_lm_model_magnet(
                    folder, int(loaders.load_compression_model(folder).frame_rate)))
JASCO = Family("a language model", codec=True, metrics=("loss",),
               load=lambda loaders, folder: loaders.load_jasco_model(folder, loaders.load_compression_model(folder)))
COMPRESSION = Family("a compression model", file=CODEC_FILE,
                     load=lambda loaders, folder: loaders.load_compression_model(folder))
GENERAL = Family("a model", audiocraft=False, metrics=("ce", "loss"))

FAMILIES = {  # the names of audiocraft.solvers.builders.get_solver
    "musicgen": LANGUAGE_MODEL,
    "audiogen": LANGUAGE_MODEL,
    "magnet": MAGNET,
    "audio_magnet": MAGNET,
    "jasco": JASCO,
    "lm": LANGUAGE_MODEL,
    "sound_lm": LANGUAGE_MODEL,
    "compression": COMPRESSION,
}
UNSUPPORTED = {"diffusion": "a MultiBand Diffusion model", "watermarking": "a watermarking model"}


def solver_of(config: Config) -> Optional[str]:
    """The name of the solver, as one of AudioCraft's or as it is written in the configuration.

    Raises:
        CheckpointError: if it is an interpolation that cannot be resolved here.
    """
    solver = config.get("solver")
    if isinstance(solver, str) and solver in {*FAMILIES, *UNSUPPORTED}:
        return solver
    written = config.shown("solver")
    return written if isinstance(written, str) else None


def family_of(config: Config) -> Family:
    """The family of an experiment, by the `solver` of its configuration; the general one for all others.

    Raises:
        CheckpointError: if it is one of AudioCraft's that this version cannot release.
    """
    solver = solver_of(config)
    if solver in UNSUPPORTED:
        raise CheckpointError(f"This is {UNSUPPORTED[solver]} (solver={solver}), which this version of "
                              "audiocraft-export cannot release yet.")
    return FAMILIES.get(solver or "", GENERAL)
