"""Find the compression model that the configuration of a language model names.

The forms of this name are those of `audiocraft.solvers.compression.CompressionSolver.model_from_checkpoint`.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, to_checkpoint
from ..checkpoint.state_dict import named_tensors
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
from .weights import Weights, select_weights

KEY = "compression_model_checkpoint"
_KEPT_CODES = (  # errors whose hint also applies to a compression model; other hints are about a target of `run`
    "codec-not-found", "not-a-codec", "unknown-model-name", "config-not-scrubbable", "corrupted-file",
    "not-a-checkpoint", "read-failed")


@dataclass(frozen=True)
class Lookup:
    """Where to look for the compression model of an experiment, and how to release it."""

    xp_folder: Path  # base of relative paths: AudioCraft's working directory in a training
    dora_dir: AnyPath  # Dora folder for names `//sig/SIGNATURE`
    version: str  # AudioCraft version tag
    scrub: Sequence[str] = ()  # patterns of configuration keys to remove


@dataclass(frozen=True)
class CompressionModel:
    """A compression model, ready for release."""

    content: Mapping[str, Any]  # content of the file to release
    origin: Mapping[str, Any]  # source of the model, for the manifest
    file: Optional[TorchFile] = None  # the file it was read from; None for a reference to a public model
    checkpoint: Optional[Checkpoint] = None  # the training checkpoint in `file`; None if `file` is already exported
    config: Optional[Config] = None  # its configuration before `scrub`; None for a reference
    notes: tuple[str, ...] = ()  # coded warnings about its weights


def find_compression_model(config: Config, lookup: Lookup) -> CompressionModel:
    """Find the compression model of a language model.

    Args:
        config: the whole configuration of the language model, before anything is scrubbed.
        lookup: where to look for it.

    Raises:
        CheckpointError: if the compression model is missing or unreadable, or the file is not a compression model.
    """
    form = config.get(KEY)
    if not isinstance(form, str) or not form:
        raise CheckpointError("missing-codec", f"The language model has no compression model: {KEY} is missing in its "
                              "configuration", "use codec=none to export it without a compression model")
    if not _is_written_out(config):
        return _find_from_environment(form, config, lookup)
    try:
        return _resolve(form, lookup)
    except (CheckpointError, ExperimentError) as exc:
        is_kept = exc.code in _KEPT_CODES
        hint = is_kept and exc.hint or "make it available under this name"
        raise CheckpointError(exc.code if is_kept else "codec-not-found", f"{_cannot_include(config)}: {exc.message}",
                              f"{hint}, or use codec=none") from exc


def load_compression_model(path: Path, lookup: Lookup, xp: Optional[Experiment] = None) -> CompressionModel:
    """Load a compression model from a training checkpoint or an exported file.

    Args:
        path: the file.
        lookup: how to release it.
        xp: the experiment that the checkpoint must belong to; None accepts any.

    Raises:
        CheckpointError: if the file is not a compression model, or belongs to another experiment than `xp`.
    """
    file = TorchFile.read(path)
    if "exported" in file.state or isinstance(file.state.get("xp.cfg"), str):  # early exports lack the flag
        return _read_exported(file, lookup)
    checkpoint = to_checkpoint(file)
    if xp:
        checkpoint.check_experiment(xp)
    if family_of(checkpoint.config) is not COMPRESSION_FAMILY:
        raise CheckpointError("not-a-codec", f"{path} is {describe_model(checkpoint.config)}, not a compression model")
    config = scrub_config(checkpoint.config, lookup.scrub)
    try:
        weights = select_weights(checkpoint, "best", of_audiocraft=True).compact()
    except CheckpointError as exc:
        is_early = exc.code == "missing-weights"
        raise CheckpointError("not-a-codec", f"{path} has no best state that can be released: {exc.message}",
                              "train the compression model until its first validation" if is_early else "") from exc
    content = model_content(weights.state, config.text, lookup.version)
    origin = {"sig": checkpoint.sig, "checkpoint": asdict(file.source)}
    return CompressionModel(content, origin, file, checkpoint, checkpoint.config, weights.notes)


def compression_model_by_name(name: str, lookup: Lookup) -> CompressionModel:
    """Find a compression model by the part of the name after `//pretrained/`.

    Args:
        name: a public name, or the path of an exported file or a release folder.
        lookup: where to look for it.

    Raises:
        CheckpointError: if `name` is a path without a compression model, or neither a path nor a valid name.
    """
    path = lookup.xp_folder / name
    if not name.isprintable() or len(name) > MAX_MODEL_NAME:
        raise CheckpointError("unknown-model-name", f"{name!r} is neither a model name nor a path",
                              "use a public name such as facebook/encodec_32khz, or a path")
    if os.path.exists(path) or _looks_like_a_path(name):
        return load_compression_model(path / CODEC_FILE if os.path.isdir(path) else path, lookup)
    return CompressionModel(reference_content(name, lookup.version), {"pretrained": name})


def _is_written_out(config: Config) -> bool:
    """Return whether the name of the compression model depends on no environment variable, so that it may be shown."""
    try:
        return bool(config.require(KEY))
    except CheckpointError:
        return False


def _find_from_environment(form: str, config: Config, lookup: Lookup) -> CompressionModel:
    """Find the model as `_resolve`, without environment variables in the release or in errors."""
    try:
        codec = _resolve(form, lookup)
        for tensor in named_tensors(codec.content).values():
            tensor.blob.verify()  # An error during the export would show the path.
    except (CheckpointError, ExperimentError):
        raise CheckpointError("codec-not-found", f"{_cannot_include(config)}: the value resolves to nothing readable "
                              "on this machine", "make it available under this name, or use codec=none") from None
    if codec.file is None:
        raise CheckpointError("codec-not-found", f"{_cannot_include(config)}: its name comes from the environment of "
                              "this machine, which is never released", "write the name itself into the configuration")
    name = scrub_config(config, lookup.scrub).raw(KEY)
    return replace(codec, origin={key: {**value, "name": name} if isinstance(value, dict) else value
                                  for key, value in codec.origin.items()})


def _cannot_include(config: Config) -> str:
    """Return the beginning of an error message, with the unresolved name of the compression model."""
    return f"Cannot include the compression model ({KEY}={config.raw(KEY)})"


def _resolve(form: str, lookup: Lookup) -> CompressionModel:
    """Find a compression model by `//pretrained/NAME`, `//sig/SIGNATURE`, `//reference/PATH` or a path."""
    kind, _, name = form[2:].partition("/")
    if not form.startswith("//") or kind not in ("pretrained", "sig", "reference"):
        kind, name = "", form
    if not name:
        raise CheckpointError("codec-not-found", "Missing name after the prefix",
                              "write //sig/SIGNATURE or //pretrained/NAME")
    if kind == "pretrained":
        return compression_model_by_name(name, lookup)
    xp = None
    if kind == "sig":
        sig, _, rest = name.partition("/")
        xp = find_xp(sig, lookup.dora_dir)
        path = xp.folder / rest
        if os.path.isabs(rest) or ".." in Path(rest).parts:
            raise CheckpointError("codec-not-found", f"{rest} is outside the folder of the experiment {sig}")
    else:
        path = reference_folder() / name.lstrip("/") if kind == "reference" else lookup.xp_folder / name
    if os.path.isdir(path):
        xp = xp or Experiment.from_folder(path)
        path /= CHECKPOINT_FILE
        if not path.is_file():
            raise CheckpointError("codec-not-found", f"{path.parent} has no {CHECKPOINT_FILE}")
    return load_compression_model(path, lookup, xp)


def _looks_like_a_path(name: str) -> bool:
    """Return whether a name cannot be a name on the Hub (`user/model`), and so must be a local file."""
    return os.path.isabs(name) or name.startswith(".") or name.count("/") > 1 or \
        Path(name).suffix in (".bin", ".pt", ".pth", ".th")


def _read_exported(file: TorchFile, lookup: Lookup) -> CompressionModel:
    """Read an exported compression model, or a reference to a public one."""
    state, path, origin = file.state, file.path, {"file": asdict(file.source)}
    tag = state["version"] if isinstance(state.get("version"), str) else lookup.version
    name = state.get("pretrained")
    if isinstance(name, str):
        if not name or _looks_like_a_path(name):
            raise CheckpointError("unknown-model-name", f"{path} refers to {name!r}, which is not the name of a public "
                                  "model", f"use a {CODEC_FILE} that has weights")
        return CompressionModel(reference_content(name, tag), {"pretrained": name, **origin}, file)
    weights: Any
    text, weights = state.get("xp.cfg"), state.get("best_state")
    config = Config.parse(text) if isinstance(text, str) and isinstance(weights, dict) else None
    if config is None or config.get("compression_model") is None:
        raise CheckpointError("not-a-codec", f"{path} is an exported model, but not a compression model",
                              f"use a {CODEC_FILE}")
    state, notes = strip_wrappers(weights, "best_state")
    compacted = Weights(state, "best_state", "already exported").compact()
    if not compacted.tensors:
        raise CheckpointError("not-a-codec", f"{path} is an exported model without tensors",
                              f"use a {CODEC_FILE} that has weights")
    content = model_content(compacted.state, scrub_config(config, lookup.scrub).text, tag)
    return CompressionModel(content, origin, file, config=config, notes=notes)
