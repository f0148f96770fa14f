"""What a release consists of, by the name of the solver that trained the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional

from ...errors import ReleaseError
from ...experiment.config import Config
from ..content import Content
from ..metrics import Selection
from ..model import ReleaseModel
from . import audioseal, multiband_diffusion

LM_FILE = "state_dict.bin"
CODEC_FILE = "compression_state_dict.bin"
OWN_NAMES = (LM_FILE, CODEC_FILE, multiband_diffusion.FILE)  # file names that only releases have
Files = Mapping[str, Content]
Loaded = Iterable[tuple[Any, str, tuple[Any, ...]]]  # module, file with its weights, keys under which they stand there


@dataclass(frozen=True)
class Family:
    """A family of models."""

    kind: str  # what to call one of them
    files: Callable[[ReleaseModel], Files] = lambda model: {LM_FILE: model.content}  # named as AudioCraft's loader does
    names: tuple[str, ...] = (LM_FILE, CODEC_FILE)  # all names that the files may have; {} stands for the signature
    drop_in: Optional[str] = "export_checkpoint"  # what exports it in `audiocraft.utils.export` or here; None is any
    audiocraft: bool = True  # whether the model is one of AudioCraft's, and its version tag matters
    codec: bool = False  # whether a compression model belongs beside it
    metrics: tuple[str, ...] = ()  # of AudioCraft: which selects the best state; none: the last is the best
    notes: Callable[[ReleaseModel], Iterable[str]] = lambda model: ()  # what is odd about the release of one
    # Rebuild the modules, given `audiocraft.models.loaders`, a release folder and the names of its files.
    load: Optional[Callable[[Any, Path, Sequence[str]], Loaded]] = None


def _load_lm(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    yield loaders.load_lm_model(str(folder)), LM_FILE, ("best_state",)
    if CODEC_FILE in names:
        yield from _load_codec(loaders, folder, names)


def _load_magnet(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    frame_rate = int(_require_codec(loaders, folder, names).frame_rate)  # as MAGNeT.get_pretrained does
    yield loaders.load_lm_model_magnet(str(folder), frame_rate), LM_FILE, ("best_state",)
    yield from _load_codec(loaders, folder, names)


def _load_jasco(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    yield loaders.load_jasco_model(str(folder), _require_codec(loaders, folder, names)), LM_FILE, ("best_state",)
    yield from _load_codec(loaders, folder, names)


def _load_codec(loaders: Any, folder: Path, names: Sequence[str]) -> Loaded:
    codec = loaders.load_compression_model(str(folder))  # also a reference by name: it has to load, too
    if "best_state" in loaders.load_compression_model_ckpt(str(folder)):
        yield codec, CODEC_FILE, ("best_state",)


def _require_codec(loaders: Any, folder: Path, names: Sequence[str]) -> Any:
    if CODEC_FILE not in names:
        raise ReleaseError("verify=load rebuilds this model only with its compression model beside it: use codec=auto, "
                           "or verify=bytes.")
    return loaders.load_compression_model(str(folder))


LANGUAGE_MODEL_FAMILY = Family("a language model", drop_in="export_lm", codec=True, metrics=("ce",), load=_load_lm)
MAGNET_FAMILY = Family("a language model", drop_in="export_lm", codec=True, metrics=("ce",), load=_load_magnet)
JASCO_FAMILY = Family("a language model", drop_in="export_lm", codec=True, metrics=("loss",), load=_load_jasco)
COMPRESSION_FAMILY = Family("a compression model", lambda model: {CODEC_FILE: model.content}, drop_in="export_encodec",
                            load=_load_codec)
DIFFUSION_FAMILY = Family("a MultiBand Diffusion model", multiband_diffusion.files, (multiband_diffusion.FILE,),
                          metrics=("loss",), notes=multiband_diffusion.notes, load=multiband_diffusion.load)
WATERMARK_FAMILY = Family("a watermarking model", audioseal.files, ("generator_{}.pth", "detector_{}.pth", "{}.yaml"),
                          load=audioseal.load)
GENERAL_FAMILY = Family("a model", drop_in=None, audiocraft=False)

FAMILIES = {  # the names of audiocraft.solvers.builders.get_solver
    "musicgen": LANGUAGE_MODEL_FAMILY, "audiogen": LANGUAGE_MODEL_FAMILY,
    "magnet": MAGNET_FAMILY, "audio_magnet": MAGNET_FAMILY,
    "jasco": JASCO_FAMILY,
    "lm": LANGUAGE_MODEL_FAMILY, "sound_lm": LANGUAGE_MODEL_FAMILY,
    "compression": COMPRESSION_FAMILY,
    "diffusion": DIFFUSION_FAMILY,
    "watermarking": WATERMARK_FAMILY,
}


def solver_of(config: Config) -> Optional[str]:
    """The name of the solver, as one of AudioCraft's or as it is written in the configuration.

    Raises:
        CheckpointError: if it is an interpolation that cannot be resolved here.
    """
    solver = config.get("solver")
    if not isinstance(solver, str) or solver not in FAMILIES:
        solver = config.raw("solver")
    return solver if isinstance(solver, str) else None


def family_named(solver: Optional[str]) -> Family:
    """The family of a solver; the general one for those that are none of AudioCraft's."""
    return FAMILIES.get(solver or "", GENERAL_FAMILY)


def family_of(config: Config) -> Family:
    """The family of an experiment by its solver, as `solver_of` and `family_named`."""
    return family_named(solver_of(config))


def selection_of(config: Config, metric: Optional[str] = None) -> Optional[Selection]:
    """How an experiment selects its best state: by the option `metric`, or as AudioCraft's solvers; None if unknown.

    Raises:
        CheckpointError: as `solver_of`.
    """
    family = family_of(config)
    rule = Selection(_best_metric_name(family, config)) if family.audiocraft else None
    if metric is None:
        return rule
    named = Selection.parse(metric)
    return rule if rule is not None and replace(named, is_audiocraft=True) == rule else named


def _best_metric_name(family: Family, config: Config) -> Optional[str]:
    """The `best_metric_name` of AudioCraft's solver; MusicGenSolver has none while it writes a cache in shards."""
    cache = config.raw("cache")
    is_sharded = isinstance(cache, dict) and all(cache.get(key) for key in ("path", "write", "write_num_shards"))
    return family.metrics[0] if family.metrics and not (family.codec and is_sharded) else None


def describe_model(config: Config) -> str:
    """What an experiment trained, for a message."""
    return f"{family_of(config).kind} (solver={solver_of(config)})"
