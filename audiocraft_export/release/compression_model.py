"""The compression model that a language model needs beside it, and names in its configuration.

The forms of the name are those of `audiocraft.solvers.compression.CompressionSolver.model_from_checkpoint`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, to_checkpoint
from ..checkpoint.torch_file import TorchFile
from ..checkpoint.wrappers import strip_wrappers
from ..errors import CheckpointError, ExperimentError
from ..experiment.config import Config
from ..experiment.privacy.scrub import scrub_config
from ..experiment.xp import CHECKPOINT_FILE, AnyPath, Experiment, find_xp
from .content import model_content, reference_content
from .families.registry import CODEC_FILE, COMPRESSION_FAMILY, describe_model, family_of
from .installed_audiocraft import reference_folder
from .limits import MAX_MODEL_NAME
from .weights import Weights, compact, select_weights

KEY = "compression_model_checkpoint"
REMEDY = "put one there that can be, or leave it out (codec=none)."


@dataclass(frozen=True)
class Lookup:
    """Where the compression model of an experiment is looked up, and how it is released."""

    xp_folder: Path  # AudioCraft's working directory in a training: relative paths start there
    dora_dir: AnyPath  # for the form `//sig/`
    version: str  # AudioCraft version tag
    scrub: Sequence[str] = ()  # patterns of keys of its configuration that are not released


@dataclass(frozen=True)
class CompressionModel:
    """A compression model, ready to be released."""

    content: Mapping[str, Any]  # of its file in the release
    origin: Mapping[str, Any]  # where it comes from, for the manifest
    file: Optional[TorchFile] = None  # that it was read from; None for a reference by a public name
    checkpoint: Optional[Checkpoint] = None  # in that file, if it was not exported before
    notes: tuple[str, ...] = ()  # what is odd about its weights


def find_compression_model(config: Config, lookup: Lookup) -> CompressionModel:
    """Find the compression model of a language model by the language model's whole configuration.

    Raises:
        CheckpointError: if it cannot be found, or is no compression model.
    """
    form = config.get(KEY)
    if not isinstance(form, str) or not form:
        raise CheckpointError(f"The language model names no compression model ({KEY} is missing in its configuration): "
                              "export it without one (codec=none).")
    if not _is_public(config):
        return _find_private(form, config, lookup)
    try:
        return _resolve(form, lookup)
    except (CheckpointError, ExperimentError) as exc:
        raise CheckpointError(f"The compression model {KEY}={config.raw(KEY)} cannot be released "
                              f"({str(exc).rstrip('.')}): {REMEDY}") from exc


def load_compression_model(path: Path, lookup: Lookup, xp: Optional[Experiment] = None) -> CompressionModel:
    """Load a compression model from a training checkpoint, or from a file that was exported already.

    Raises:
        CheckpointError: if it is no compression model, or does not belong to `xp`.
    """
    file = TorchFile.read(path)
    if "exported" in file.state or isinstance(file.state.get("xp.cfg"), str):  # AudioCraft once exported without it
        content, notes = _exported_content(file, lookup)
        return CompressionModel(content, {"file": asdict(file.source)}, file, notes=notes)
    checkpoint = to_checkpoint(file)
    if xp:
        checkpoint.check_experiment(xp)
    if family_of(checkpoint.config) is not COMPRESSION_FAMILY:
        raise CheckpointError(f"{path} is {describe_model(checkpoint.config)}, no compression model.")
    config = scrub_config(checkpoint.config, lookup.scrub)
    try:
        weights = compact(select_weights(checkpoint, "best", of_audiocraft=True))
    except CheckpointError as exc:
        raise CheckpointError(f"{path} has no best state that could be released: train it to its first validation, or "
                              "repair it.") from exc
    content = model_content(weights.state, config.text, lookup.version)
    origin = {"sig": checkpoint.sig, "checkpoint": asdict(file.source)}
    return CompressionModel(content, origin, file, checkpoint, weights.notes)


def compression_model_by_name(name: str, lookup: Lookup) -> CompressionModel:
    """Find a compression model by what follows `//pretrained/`: a public name, an exported file or a release folder.

    Raises:
        CheckpointError: if it is a path, and no compression model is there.
    """
    path = lookup.xp_folder / name
    if not name.isprintable() or len(name) > MAX_MODEL_NAME:
        raise CheckpointError(f"{name!r} is no name of a public model, and no path: give one of these.")
    if os.path.exists(path) or _looks_like_a_path(name):
        return load_compression_model(path / CODEC_FILE if os.path.isdir(path) else path, lookup)
    return CompressionModel(reference_content(name, lookup.version), {"pretrained": name})


def _is_public(config: Config) -> bool:
    """Whether the configuration itself says what the key stands for, without the environment of this machine."""
    try:
        return bool(config.require(KEY))
    except CheckpointError:
        return False


def _find_private(form: str, config: Config, lookup: Lookup) -> CompressionModel:
    """As `_resolve`, but what the environment of this machine holds is neither released nor shown in an error."""
    shown = config.raw(KEY)
    try:
        codec = _resolve(form, lookup)
        for tensor in Weights(codec.content, "", "").tensors.values():
            tensor.blob.verify()  # an error that is found later would show the path
    except (CheckpointError, ExperimentError):
        raise CheckpointError(f"The compression model {KEY}={shown} cannot be released (what that stands for on this "
                              f"machine is none that can be read): {REMEDY}") from None
    if codec.file is None:
        raise CheckpointError(f"The compression model {KEY}={shown} cannot be released: its name stands in the "
                              "environment of this machine, which is never released; write the name itself.")
    name = scrub_config(config, lookup.scrub).raw(KEY)
    return replace(codec, origin={key: {**value, "name": name} if isinstance(value, dict) else value
                                  for key, value in codec.origin.items()})


def _resolve(form: str, lookup: Lookup) -> CompressionModel:
    kind, _, name = form[2:].partition("/")
    if not form.startswith("//") or kind not in ("pretrained", "sig", "reference"):
        kind, name = "", form
    if not name:
        raise CheckpointError("it names none.")
    if kind == "pretrained":
        return compression_model_by_name(name, lookup)
    xp = None
    if kind == "sig":
        sig, _, rest = name.partition("/")
        xp = find_xp(sig, lookup.dora_dir)
        path = xp.folder / rest
        if os.path.isabs(rest) or ".." in Path(rest).parts:
            raise CheckpointError(f"it leads out of the folder of the experiment {sig}.")
    else:
        path = reference_folder() / name.lstrip("/") if kind == "reference" else lookup.xp_folder / name
    if os.path.isdir(path):
        xp = xp or Experiment.from_folder(path)
        path /= CHECKPOINT_FILE
        if not path.is_file():
            raise CheckpointError(f"{path.parent} has no {CHECKPOINT_FILE}.")
    return load_compression_model(path, lookup, xp)


def _looks_like_a_path(name: str) -> bool:
    """Whether a name cannot be one on a hub (`user/model`), so that it has to be a file here."""
    return os.path.isabs(name) or name.startswith(".") or name.count("/") > 1 or \
        Path(name).suffix in (".bin", ".pt", ".pth", ".th")


def _exported_content(file: TorchFile, lookup: Lookup) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The content of an exported compression model, checked and with its tensors compacted, and notes about them."""
    state, path = file.state, file.path
    tag = state["version"] if isinstance(state.get("version"), str) else lookup.version
    name = state.get("pretrained")
    if isinstance(name, str):
        if not name or _looks_like_a_path(name):
            raise CheckpointError(f"{path} is a reference to {name!r}, which is no name of a public model: name a "
                                  f"{CODEC_FILE} that holds a model.")
        return reference_content(name, tag), ()
    text, weights = state.get("xp.cfg"), state.get("best_state")
    if not isinstance(text, str) or not isinstance(weights, dict) \
            or Config.parse(text).get("compression_model") is None:
        raise CheckpointError(f"{path} was exported, but is no compression model: name a {CODEC_FILE}.")
    state, notes = strip_wrappers(weights, "best_state")
    compacted = compact(Weights(state, "best_state", "exported before"))
    if not compacted.tensors:
        raise CheckpointError(f"{path} was exported, but holds no tensor: name a {CODEC_FILE} that does.")
    config = scrub_config(Config.parse(text), lookup.scrub)
    return model_content(compacted.state, config.text, tag), notes
