"""The compression model that a language model needs beside it.

`compression_model_checkpoint` of the language model's configuration names it, in the forms that
`audiocraft.solvers.compression.CompressionSolver.model_from_checkpoint` accepts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, to_checkpoint
from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, ExperimentError
from ..experiment.config import Config
from ..experiment.privacy.scrub import scrub_config
from ..experiment.xp import CHECKPOINT_FILE, AnyPath, Experiment, find_xp
from .content import model_content, reference_content
from .families.registry import CODEC_FILE, COMPRESSION, describe_model, family_of
from .installed_audiocraft import reference_folder
from .model import ReleaseModel
from .weights import Weights, compact

KEY = "compression_model_checkpoint"
MOST_NAME = 200  # characters of the name of a public model
REMEDY = "put one there that can be, or leave it out (codec=none)."


@dataclass(frozen=True)
class Lookup:
    """Where the compression model of an experiment is looked up, and how it is released.

    Args:
        xp_folder: the XP folder, where AudioCraft stands when it trains: relative paths start there.
        dora_dir: the Dora folder, for the form `//sig/`.
        version: AudioCraft version tag.
        scrub: patterns of keys of its configuration that are not released.
    """

    xp_folder: Path
    dora_dir: AnyPath
    version: str
    scrub: Sequence[str] = ()


@dataclass(frozen=True)
class CompressionModel:
    """A compression model, ready to be released.

    Args:
        content: of its file.
        origin: where it comes from, for the manifest.
        file: the file that it was taken from; None for one that is only a name.
        checkpoint: the training checkpoint in that file, if it was not exported before.
    """

    content: Mapping[str, Any]
    origin: Mapping[str, Any]
    file: Optional[TorchFile] = None
    checkpoint: Optional[Checkpoint] = None


def find_compression_model(config: Config, lookup: Lookup) -> CompressionModel:
    """The compression model of a language model.

    Args:
        config: the language model's configuration, all of it.
        lookup: where it is looked up, and how it is released.

    Raises:
        CheckpointError: if it cannot be found, or is no compression model.
    """
    form = config.get(KEY)
    if not isinstance(form, str) or not form:
        raise CheckpointError(f"The language model names no compression model ({KEY} is missing in its configuration): "
                              "export it without one (codec=none).")
    public, shown = _is_public(config), config.raw(KEY)
    try:
        codec = _resolve(form, lookup)
        if not public:  # what is found later would be said with its path
            for tensor in Weights(codec.content, "", "").tensors.values():
                tensor.blob.verify()
    except (CheckpointError, ExperimentError) as exc:
        why = str(exc).rstrip(".") if public else "what that stands for on this machine is none that can be read"
        raise CheckpointError(f"The compression model {KEY}={shown} cannot be released ({why}): "
                              f"{REMEDY}") from (exc if public else None)
    if public:
        return codec
    if codec.file is None:
        raise CheckpointError(f"The compression model {KEY}={shown} cannot be released: its name stands in the "
                              "environment of this machine, which is never released; write the name itself.")
    name = scrub_config(config, lookup.scrub).raw(KEY)
    return replace(codec, origin={key: {**value, "name": name} if isinstance(value, dict) else value
                                  for key, value in codec.origin.items()})


def load_compression_model(path: Path, lookup: Lookup, xp: Optional[Experiment] = None) -> CompressionModel:
    """A compression model from a training checkpoint, or from a file that was exported already.

    Args:
        path: the file.
        lookup: how it is released.
        xp: the experiment that it has to be of, if it is looked up by that.

    Raises:
        CheckpointError: if it is no compression model.
    """
    file = TorchFile.read(path)
    if "exported" in file.state or isinstance(file.state.get("xp.cfg"), str):  # AudioCraft once exported without it
        content = _exported_content(file.state, path, lookup)
        return CompressionModel(content, {"file": asdict(file.source)}, file)
    checkpoint = to_checkpoint(file)
    if xp:
        checkpoint.check_experiment(xp)
    if family_of(checkpoint.config) is not COMPRESSION:
        raise CheckpointError(f"{path} is {describe_model(checkpoint.config)}, no compression model.")
    config = scrub_config(checkpoint.config, lookup.scrub)
    try:
        content = replace(ReleaseModel.from_checkpoint(checkpoint, lookup.version), config=config).content
    except CheckpointError as exc:
        raise CheckpointError(f"{path} has no best state that could be released: train it to its first validation, or "
                              "repair it.") from exc
    return CompressionModel(content, {"sig": checkpoint.sig, "checkpoint": asdict(file.source)}, file, checkpoint)


def compression_model_by_name(name: str, lookup: Lookup) -> CompressionModel:
    """A compression model by the name that `//pretrained/` has before it.

    Args:
        name: of a public model, or the path of an exported file or of a release folder.
        lookup: where relative paths start, and how it is released.

    Raises:
        CheckpointError: if it is a path, and no compression model is there.
    """
    path = lookup.xp_folder / name
    if not name.isprintable() or len(name) > MOST_NAME:
        raise CheckpointError(f"{name!r} is no name of a public model, and no path: give one of these.")
    if os.path.exists(path) or _looks_like_a_path(name):
        return load_compression_model(path / CODEC_FILE if os.path.isdir(path) else path, lookup)
    return CompressionModel(reference_content(name, lookup.version), {"pretrained": name})


def _resolve(form: str, lookup: Lookup) -> CompressionModel:
    kind, _, name = form[2:].partition("/")
    if not form.startswith("//") or kind not in ("pretrained", "sig", "reference"):
        kind, name = "", form
    if not name:
        raise CheckpointError("it names none.")
    if kind == "pretrained":
        return compression_model_by_name(name, lookup)
    if kind == "sig":
        sig, _, rest = name.partition("/")
        xp = find_xp(sig, lookup.dora_dir)
        if os.path.isabs(rest) or ".." in Path(rest).parts:
            raise CheckpointError(f"it leads out of the folder of the experiment {sig}.")
        path = xp.folder / rest
    else:
        path = reference_folder() / name.lstrip("/") if kind == "reference" else lookup.xp_folder / name
        xp = Experiment.from_folder(path if os.path.isdir(path) else path.parent)
    if not os.path.isdir(path):
        return load_compression_model(path, lookup, xp if kind == "sig" else None)
    if not (path / CHECKPOINT_FILE).is_file():
        raise CheckpointError(f"{path} has no {CHECKPOINT_FILE}.")
    return load_compression_model(path / CHECKPOINT_FILE, lookup, xp)


def _is_public(config: Config) -> bool:
    """Whether what the key stands for is written in the configuration, and nothing of this machine."""
    try:
        return bool(config.require(KEY))
    except CheckpointError:
        return False


def _looks_like_a_path(name: str) -> bool:
    """Whether a name is none that a hub could have (`user/model`), so that it has to be there."""
    return os.path.isabs(name) or name.startswith(".") or name.count("/") > 1 or \
        Path(name).suffix in (".bin", ".pt", ".pth", ".th")


def _exported_content(state: Mapping[Any, Any], path: Path, lookup: Lookup) -> dict[str, Any]:
    """The content of an exported compression model, checked and with its tensors compacted."""
    tag = state.get("version")
    tag = tag if isinstance(tag, str) else lookup.version
    name = state.get("pretrained")
    if isinstance(name, str):
        if not name or _looks_like_a_path(name):
            raise CheckpointError(f"{path} is a reference to {name!r}, which is no name of a public model: name a "
                                  f"{CODEC_FILE} that holds a model.")
        return reference_content(name, tag)
    text, weights = state.get("xp.cfg"), state.get("best_state")
    if not isinstance(text, str) or not isinstance(weights, dict) \
            or Config.parse(text).get("compression_model") is None:
        raise CheckpointError(f"{path} was exported, but is no compression model: name a {CODEC_FILE}.")
    packed = compact(Weights(weights, "best_state", "exported before"), None)
    if not packed.tensors:
        raise CheckpointError(f"{path} was exported, but holds no tensor: name a {CODEC_FILE} that does.")
    return model_content(packed.state, scrub_config(Config.parse(text), lookup.scrub).text if lookup.scrub else text, tag)
