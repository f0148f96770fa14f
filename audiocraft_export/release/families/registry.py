"""What a release consists of, by the name of the solver that trained the model.

A new family is one more line in the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from ...errors import ReleaseError
from ...experiment.config import Config
from ..content import Content
from ..model import ReleaseModel
from . import audioseal, multiband_diffusion

LM_FILE = "state_dict.bin"
CODEC_FILE = "compression_state_dict.bin"
OWN_NAMES = (LM_FILE, CODEC_FILE, multiband_diffusion.FILE)  # which no file of anybody else has
Files = Mapping[str, Content]
Loaded = Iterable[tuple[Any, str, tuple[Any, ...]]]


@dataclass(frozen=True)
class Family:
    """A family of models.

    Args:
        kind: what to call one of them.
        files: the release of one, by the names that AudioCraft's loader looks for.
        names: all names that the files may have; {} stands for the signature.
        drop_in: the function of `audiocraft.utils.export` for it, or what else exports it; None is any of them.
        audiocraft: whether the model is one of AudioCraft's, and its version tag matters.
        codec: whether a compression model belongs beside it.
        metrics: of the validation stage, by the first of which the best state is chosen; without any it is the last.
        notes: what is odd about the release of one.
        load: of `audiocraft.models.loaders`, a release folder and the names of its files: gives each module that is
            rebuilt, the file with its weights, and the keys under which they stand there.
    """

    kind: str
    files: Callable[[ReleaseModel], Files] = lambda model: {LM_FILE: model.content}
    names: tuple[str, ...] = (LM_FILE, CODEC_FILE)
    drop_in: Optional[str] = "export_checkpoint"
    audiocraft: bool = True
    codec: bool = False
    metrics: tuple[str, ...] = ()
    notes: Callable[[ReleaseModel], Iterable[str]] = lambda model: ()
    load: Optional[Callable[[Any, Path, Sequence[str]], Loaded]] = None


def _load_lm(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    yield loaders.load_lm_model(str(folder)), LM_FILE, ("best_state",)
    if CODEC_FILE in names:
        yield from _load_codec(loaders, folder, names)


def _load_magnet(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    _require_codec(names)
    frame_rate = int(loaders.load_compression_model(str(folder)).frame_rate)  # as MAGNeT.get_pretrained does
    yield loaders.load_lm_model_magnet(str(folder), frame_rate), LM_FILE, ("best_state",)
    yield from _load_codec(loaders, folder, names)


def _load_jasco(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    _require_codec(names)
    codec = loaders.load_compression_model(str(folder))
    yield loaders.load_jasco_model(str(folder), codec), LM_FILE, ("best_state",)
    yield from _load_codec(loaders, folder, names)


def _load_codec(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    """The compression model; one that is only a name has no weights here to compare, but has to load, too."""
    codec = loaders.load_compression_model(str(folder))
    if "best_state" in loaders.load_compression_model_ckpt(str(folder)):
        yield codec, CODEC_FILE, ("best_state",)


def _require_codec(names: Sequence[str]) -> None:
    if CODEC_FILE not in names:
        raise ReleaseError("verify=load rebuilds this model only with its compression model beside it: use codec=auto, "
                           "or verify=bytes.")


LANGUAGE_MODEL = Family("a language model", drop_in="export_lm", codec=True, metrics=("ce",), load=_load_lm)
MAGNET = Family("a language model", drop_in="export_lm", codec=True, metrics=("ce",), load=_load_magnet)
JASCO = Family("a language model", drop_in="export_lm", codec=True, metrics=("loss",), load=_load_jasco)
COMPRESSION = Family("a compression model", lambda model: {CODEC_FILE: model.content}, drop_in="export_encodec",
                     load=_load_codec)
DIFFUSION = Family("a MultiBand Diffusion model", multiband_diffusion.files, (multiband_diffusion.FILE,), metrics=("loss",),
                   notes=multiband_diffusion.notes, load=multiband_diffusion.load)
WATERMARK = Family("a watermarking model", audioseal.files, ("generator_{}.pth", "detector_{}.pth", "{}.yaml"),
                   load=audioseal.load)
GENERAL = Family("a model", drop_in=None, audiocraft=False, metrics=("ce", "loss"))

FAMILIES = {  # the names of audiocraft.solvers.builders.get_solver
    "musicgen": LANGUAGE_MODEL,
    "audiogen": LANGUAGE_MODEL,
    "magnet": MAGNET,
    "audio_magnet": MAGNET,
    "jasco": JASCO,
    "lm": LANGUAGE_MODEL,
    "sound_lm": LANGUAGE_MODEL,
    "compression": COMPRESSION,
    "diffusion": DIFFUSION,
    "watermarking": WATERMARK,
}


def solver_of(config: Config) -> Optional[str]:
    """The name of the solver, as one of AudioCraft's or as it is written in the configuration.

    Raises:
        CheckpointError: if it is an interpolation that cannot be resolved here.
    """
    solver = config.get("solver")
    if isinstance(solver, str) and solver in FAMILIES:
        return solver
    written = config.raw("solver")
    return written if isinstance(written, str) else None


def family_named(solver: Optional[str]) -> Family:
    """The family of a solver; the general one for those that are none of AudioCraft's."""
    return FAMILIES.get(solver or "", GENERAL)


def family_of(config: Config) -> Family:
    """The family of an experiment, by the `solver` of its configuration; the general one for all others.

    Raises:
        CheckpointError: if the name of the solver is an interpolation that cannot be resolved here.
    """
    return family_named(solver_of(config))


def describe_model(config: Config) -> str:
    """What an experiment trained, for a message.

    Raises:
        CheckpointError: as `family_of`.
    """
    return f"{family_of(config).kind} (solver={solver_of(config)})"
