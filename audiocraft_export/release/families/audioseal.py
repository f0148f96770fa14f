"""AudioSeal: a generator and a detector, trained as one model, released as two.

`audiocraft.models.loaders.load_audioseal_models(folder, filename=NAME)` reads `generator_NAME.pth`,
`detector_NAME.pth` and `NAME.yaml` (AudioCraft's git main, 1.4.0a). NAME is the signature.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from omegaconf import OmegaConf

from ...errors import CheckpointError
from ..content import Content
from ..model import ReleaseModel

PARTS = ("generator", "detector")
BUILT_FROM = ("audioseal", "seanet", "detector")  # no device: loading chooses that


def files(model: ReleaseModel) -> dict[str, Content]:
    """The release of a watermarking model.

    Raises:
        CheckpointError: if it has weights of something else, or its configuration does not say how to build it.
    """
    name, state = name_of(model.checkpoint.sig), model.weights.state
    parts = {part: {key[len(part) + 1:]: value for key, value in state.items() if str(key).startswith(f"{part}.")}
             for part in PARTS}
    if not all(parts.values()) or len(state) != sum(map(len, parts.values())):
        raise CheckpointError(f"The weights of {model.checkpoint.where} are not those of a generator and a detector "
                              f"(generator.*, detector.*; it has {', '.join(map(str, list(state)[:3]))}, ...): this is "
                              "no model of AudioSeal: use family=general (--family general).")
    config = model.config.require(*BUILT_FROM)
    if not all(isinstance(section, dict) for section in config.values()):
        raise CheckpointError(f"{', '.join(BUILT_FROM)} of the configuration of {model.checkpoint.where} are not all "
                              "mappings of keys to values, as a model of AudioSeal needs them: write them so.")
    contents: dict[str, Content] = {f"{part}_{name}.pth": {"model": weights, "version": model.version, "exported": True}
                                    for part, weights in parts.items()}
    return {**contents, f"{name}.yaml": OmegaConf.to_yaml(OmegaConf.create(config))}


def name_of(sig: Optional[str]) -> str:
    """What the files of a release are named by: the signature, if it is one."""
    return sig if sig and re.fullmatch(r"[\w-]+", sig) else "model"


def load(loaders: Any, folder: Path, names: Sequence[str]) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """Rebuild the modules of a release with AudioCraft's loaders."""
    name = next(Path(file).stem for file in names if file.endswith(".yaml"))
    model = loaders.load_audioseal_models(str(folder), filename=name)
    for part in PARTS:
        yield getattr(model, part), f"{part}_{name}.pth", ("model",)
