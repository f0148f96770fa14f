"""The compression model that a language model needs beside it.

`compression_model_checkpoint` of the language model's configuration names it, in the forms that
`audiocraft.solvers.compression.CompressionSolver.model_from_checkpoint` accepts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from .checkpoint import Source, open_checkpoint, open_experiment, read_file
from .config import Config
from .errors import CheckpointError, ExperimentError
from .experiment import Experiment, find_xp
from .families import CODEC_FILE, COMPRESSION, described, family_of
from .loadback import reference_folder
from .model import Model
from .release import model_content, reference_content
from .weights import Weights, pack

KEY = "compression_model_checkpoint"
REMEDY = "Put it there, or export without it (codec=none)."


@dataclass(frozen=True)
class Codec:
    """A compression model, ready to be released.

    Args:
        content: of its file.
        origin: where it comes from, for the manifest.
        strangers: names in its checkpoint that were ignored.
    """

    content: Mapping[str, Any]
    origin: Mapping[str, Any]
    strangers: Sequence[str] = ()


def find_codec(config: Config, xp_folder: Path, version: str) -> Codec:
    """The compression model of a language model.

    Args:
        config: the language model's configuration.
        xp_folder: its XP folder: `//sig/` is looked up beside it.
        version: AudioCraft version tag.

    Raises:
        CheckpointError: if it cannot be found, or is no compression model.
    """
    form = config.get(KEY)
    if not isinstance(form, str) or not form:
        raise CheckpointError(f"The language model names no compression model ({KEY} is missing in its configuration): "
                              "export it without one (codec=none).")
    try:
        return _resolve(form, xp_folder, version)
    except (CheckpointError, ExperimentError) as exc:
        written = config.shown(KEY)
        # What an interpolation stands for may be a secret of this machine.
        reason = exc if written == form else "what that stands for on this machine is none that can be read."
        raise CheckpointError(f"The compression model {KEY}={written} cannot be released: {reason} {REMEDY}") from exc


def from_file(path: Path, version: str, xp: Optional[Experiment] = None) -> Codec:
    """A compression model from a training checkpoint, or from a file that was exported already.

    Args:
        path: the file.
        version: AudioCraft version tag.
        xp: the experiment that it has to be of, if it is looked up by that.

    Raises:
        CheckpointError: if it is no compression model.
    """
    state, _ = read_file(path)
    if "exported" in state:
        return Codec(_exported(state, path), {"file": asdict(Source.of(path))})
    checkpoint = open_experiment(xp, path) if xp else open_checkpoint(path)
    if family_of(checkpoint.config) is not COMPRESSION:
        raise CheckpointError(f"{path} is {described(checkpoint.config)}, no compression model.")
    return Codec(Model.of(checkpoint, version).content,
                 {"sig": checkpoint.sig, "checkpoint": asdict(Source.of(path))}, checkpoint.strangers)


def _resolve(form: str, xp_folder: Path, version: str) -> Codec:
    kind, _, name = form[2:].partition("/") if form.startswith("//") else ("", "", form)
    if not name:
        raise CheckpointError("it names none.")
    if kind == "pretrained":
        path = xp_folder / name  # where AudioCraft stands when it trains
        if os.path.exists(path) or _looks_like_a_path(name):
            return from_file(path / CODEC_FILE if os.path.isdir(path) else path, version)
        return Codec(reference_content(name, version), {"pretrained": name})
    if kind == "sig":
        xp = find_xp(name, xp_folder.parent.parent)
    else:
        path = reference_folder() / name if kind == "reference" else xp_folder / name
        if not os.path.isdir(path):
            return from_file(path, version)
        xp = Experiment.at(path)
    return from_file(xp.checkpoint(), version, xp)


def _looks_like_a_path(name: str) -> bool:
    """Whether a name is none that a hub could have (`user/model`), so that it has to be there."""
    return os.path.isabs(name) or name.startswith(".") or name.count("/") > 1 or \
        Path(name).suffix in (".bin", ".pt", ".pth", ".th")


def _exported(state: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    """The content of an exported compression model, checked and with its tensors compacted."""
    if isinstance(state.get("pretrained"), str):
        return reference_content(state["pretrained"], str(state.get("version")))
    text, weights = state.get("xp.cfg"), state.get("best_state")
    if not isinstance(text, str) or not isinstance(weights, dict) \
            or Config.parse(text).get("compression_model") is None:
        raise CheckpointError(f"{path} was exported, but is no compression model.")
    return model_content(pack(Weights(weights, "best_state", "exported before"), None).state, text,
                         str(state.get("version")))
