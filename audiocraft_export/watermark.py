"""AudioSeal: a generator and a detector, trained as one model, released as the two that they are.

`audiocraft.models.loaders.load_audioseal_models(folder, filename=NAME)` reads `generator_NAME.pth`,
`detector_NAME.pth` and `NAME.yaml` (AudioCraft's git main, 1.4.0a). NAME is the signature.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from .errors import CheckpointError
from .model import Model
from .release import Content

PARTS = ("generator", "detector")
BUILT_FROM = ("audioseal", "seanet", "detector")  # no device: loading chooses that
UNNAMED = "model"


def files(model: Model) -> dict[str, Content]:
    """The release of a watermarking model.

    Raises:
        CheckpointError: if it has weights of something else, or its configuration does not say how to build it.
    """
    name, state = model.checkpoint.sig or UNNAMED, model.weights.state
    strange = [key for key in state if str(key).partition(".")[0] not in PARTS]
    if strange:
        raise CheckpointError(f"{strange[0]!r} in the weights of {model.checkpoint.where} belongs to neither the "
                              "generator nor the detector of AudioSeal: this model cannot be released.")
    parts: dict[str, Content] = {f"{part}_{name}.pth": {
        "model": {key[len(part) + 1:]: value for key, value in state.items() if key.startswith(f"{part}.")},
        "version": model.version, "exported": True} for part in PARTS}
    return {**parts, f"{name}.yaml": OmegaConf.to_yaml(OmegaConf.create(model.config.resolved(*BUILT_FROM)))}


def load(loaders: Any, folder: Path) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """The modules that AudioCraft rebuilds from a release."""
    name = next(folder.glob("*.yaml")).stem
    model = loaders.load_audioseal_models(str(folder), filename=name)
    for part in PARTS:
        yield getattr(model, part), f"{part}_{name}.pth", ("model",)
