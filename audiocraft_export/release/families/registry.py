"""The registry of model families: the files of their releases, and the configuration keys that identify a family."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Optional

from ...errors import CheckpointError, ReleaseError, coded_warning
from ...experiment.config import Config
from ..content import Content
from ..metrics import BestRule
from ..model import ReleaseModel
from . import audioseal, multiband_diffusion

LM_FILE = "state_dict.bin"
CODEC_FILE = "compression_state_dict.bin"
OWN_NAMES = (LM_FILE, CODEC_FILE, multiband_diffusion.FILE)  # file names that only releases use
Files = Mapping[str, Content]
Loaded = Iterable[tuple[Any, str, tuple[Any, ...]]]  # module, file with its weights, and their keys in the file


@dataclass(frozen=True)
class Family:
    """A family of models, and how its releases are made and loaded."""

    kind: str  # a model of the family in messages, with an article
    files: Callable[[ReleaseModel], Files] = lambda model: {LM_FILE: model.content}  # content by file name
    names: tuple[str, ...] = (LM_FILE, CODEC_FILE)  # all possible file names; {} is the signature
    drop_in: Optional[str] = "export_checkpoint"  # the drop-in function for the family; None is any
    of_audiocraft: bool = True  # whether AudioCraft loads the model, so that its version tag matters
    needs_codec: bool = False  # whether a release needs a compression model
    metric: Optional[str] = None  # selects AudioCraft's best state; without one, the last state is the best
    notes: Callable[[ReleaseModel], Iterable[str]] = lambda model: ()  # returns coded warnings about a release
    # Loads the modules of a release. Arguments: `audiocraft.models.loaders`, the release folder, its file names.
    load: Optional[Callable[[Any, Path, Sequence[str]], Loaded]] = None
    marks: tuple[str, ...] = ()  # required top-level configuration keys: the name of a solver is not enough


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
    codec = loaders.load_compression_model(str(folder))  # A reference to a public model must load as well.
    if "best_state" in loaders.load_compression_model_ckpt(str(folder)):
        yield codec, CODEC_FILE, ("best_state",)


def _require_codec(loaders: Any, folder: Path, names: Sequence[str]) -> Any:
    if CODEC_FILE not in names:
        raise ReleaseError("conflicting-options", "verify=load requires the compression model in the release: "
                           "AudioCraft builds this model only together with it", "use codec=auto or verify=bytes")
    return loaders.load_compression_model(str(folder))


# The marks are keys of AudioCraft's own configurations (config/model, config/solver; 1.3.0 and 1.4.0a). Without them
# AudioCraft can neither train nor load a model of the family.
LANGUAGE_MODEL_FAMILY = Family("a language model", drop_in="export_lm", needs_codec=True, metric="ce",
                               load=_load_lm, marks=("compression_model_checkpoint",))
MAGNET_FAMILY = replace(LANGUAGE_MODEL_FAMILY, load=_load_magnet)
JASCO_FAMILY = replace(LANGUAGE_MODEL_FAMILY, metric="loss", load=_load_jasco)
COMPRESSION_FAMILY = Family("a compression model", lambda model: {CODEC_FILE: model.content}, (CODEC_FILE,),
                            drop_in="export_encodec", load=_load_codec, marks=("compression_model",))
DIFFUSION_FAMILY = Family("a MultiBand Diffusion model", multiband_diffusion.files, (multiband_diffusion.FILE,),
                          metric="loss", notes=multiband_diffusion.notes, load=multiband_diffusion.load,
                          marks=("diffusion_unet", "schedule", "processor"))
WATERMARK_FAMILY = Family("a watermarking model", audioseal.files, ("generator_{}.pth", "detector_{}.pth", "{}.yaml"),
                          load=audioseal.load, marks=("audioseal", "detector"))
GENERAL_FAMILY = Family("a model", names=(LM_FILE,), drop_in=None, of_audiocraft=False)

FAMILIES = {  # the names of audiocraft.solvers.builders.get_solver
    "musicgen": LANGUAGE_MODEL_FAMILY, "audiogen": LANGUAGE_MODEL_FAMILY,
    "magnet": MAGNET_FAMILY, "audio_magnet": MAGNET_FAMILY,
    "jasco": JASCO_FAMILY,
    "lm": LANGUAGE_MODEL_FAMILY, "sound_lm": LANGUAGE_MODEL_FAMILY,
    "compression": COMPRESSION_FAMILY,
    "diffusion": DIFFUSION_FAMILY,
    "watermarking": WATERMARK_FAMILY,
}
GENERAL = "general"  # the name of GENERAL_FAMILY


def solver_of(config: Config) -> Optional[str]:
    """Return the name of the solver in the configuration; None if unknown.

    An interpolation that cannot be resolved is replaced by Hydra's choice for the config group `solver`. A resolved
    value is returned only if it is a solver of AudioCraft: other values may come from the environment.
    """
    written = config.chosen(config.raw("solver"))
    try:
        solver = config.get("solver")
    except CheckpointError:
        return config.choices.get("solver")
    solver = solver if isinstance(solver, str) and solver in FAMILIES else written
    return solver if isinstance(solver, str) else None


def family_by_name(name: Optional[str]) -> Family:
    """Return the family of a solver of AudioCraft; the general family for any other name."""
    return FAMILIES.get(name or "", GENERAL_FAMILY)


def family_name(config: Config, chosen: Optional[str] = None) -> str:
    """Return the name of the family: `chosen`, or else by the solver and its required configuration keys."""
    if chosen is not None:
        return chosen
    solver = solver_of(config)
    return solver if solver in FAMILIES and not _missing_marks(config, solver) else GENERAL


def family_of(config: Config, chosen: Optional[str] = None) -> Family:
    """Return the family of an experiment, chosen as in `family_name`."""
    return family_by_name(family_name(config, chosen))


def best_rule(config: Config, metric: Optional[str] = None, chosen: Optional[str] = None) -> Optional[BestRule]:
    """Return how an experiment selects its best state; None if unknown.

    Args:
        config: the configuration of the experiment.
        metric: the option `metric`; None uses the rule of AudioCraft's solver.
        chosen: the option `family`.

    Raises:
        OptionError: if `metric` is invalid.
    """
    family = family_of(config, chosen)
    rule = BestRule(_best_metric_name(family, config)) if family.of_audiocraft else None
    if metric is None:
        return rule
    named = BestRule.parse(metric)
    return rule if rule is not None and replace(named, is_audiocraft=True) == rule else named


def _best_metric_name(family: Family, config: Config) -> Optional[str]:
    """Return `best_metric_name` of AudioCraft's solver; None for MusicGenSolver while it writes a sharded cache."""
    cache = config.raw("cache")
    is_sharded = isinstance(cache, dict) and all(cache.get(key) for key in ("path", "write", "write_num_shards"))
    return None if family.needs_codec and is_sharded else family.metric


def family_notes(config: Config, chosen: Optional[str] = None) -> Iterator[str]:
    """Warn if the solver has the name of a solver of AudioCraft, but the configuration lacks the keys of its family."""
    solver = solver_of(config)
    missing = _missing_marks(config, solver)
    if missing and chosen is None:
        yield coded_warning("general-family", f"solver={solver} is the name of a solver of AudioCraft, but the "
                            f"configuration has no {missing}: released as a general model; if it is "
                            f"{family_by_name(solver).kind} of AudioCraft, use family={solver} (--family {solver})")


def describe_model(config: Config, chosen: Optional[str] = None) -> str:
    """Describe the model of an experiment, for a message."""
    solver = solver_of(config)
    missing = "" if chosen else _missing_marks(config, solver)
    return f"{family_of(config, chosen).kind} (solver={solver}{missing and f', without {missing}'})"


def _missing_marks(config: Config, solver: Optional[str]) -> str:
    return ", ".join(mark for mark in family_by_name(solver).marks if mark not in config.values)
