"""AudioSeal: a generator and a detector, trained as one model and released in two files.

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
BUILT_FROM = ("audioseal", "seanet", "detector")  # keys for the loader, which chooses `device` itself


def files(model: ReleaseModel) -> dict[str, Content]:
    """Return the release files of a watermarking model: weights of generator and detector, and the configuration.

    Raises:
        CheckpointError: if the weights are not those of AudioSeal, or the configuration lacks what builds the model.
    """
    name, state = name_of(model.checkpoint.sig), model.weights.state
    parts = {part: {key[len(part) + 1:]: value for key, value in state.items() if str(key).startswith(f"{part}.")}
             for part in PARTS}
    if not all(parts.values()) or len(state) != sum(map(len, parts.values())):
        found = f"{', '.join(map(str, list(state)[:3]))}, ..."
        raise CheckpointError("family-mismatch", f"{model.checkpoint.where} is not an AudioSeal model: expected "
                              f"weights generator.* and detector.*, found {found}",
                              "use family=general (--family general)")
    config = model.config.require(*BUILT_FROM)
    invalid = [key for key, section in config.items() if not isinstance(section, dict)]
    if invalid:
        raise CheckpointError("invalid-config", f"Invalid value for {', '.join(invalid)} in the configuration of "
                              f"{model.checkpoint.where}: expected mappings")
    contents: dict[str, Content] = {f"{part}_{name}.pth": {"model": weights, "version": model.version, "exported": True}
                                    for part, weights in parts.items()}
    return {**contents, f"{name}.yaml": OmegaConf.to_yaml(OmegaConf.create(config))}


def name_of(sig: Optional[str]) -> str:
    """Return the name in the file names of a release: the signature if it is a valid file name, or else `model`."""
    return sig if sig and re.fullmatch(r"[\w-]+", sig) else "model"


def load(loaders: Any, folder: Path, names: Sequence[str]) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """Load the modules of a release with AudioCraft's loaders."""
    name = next(Path(file).stem for file in names if file.endswith(".yaml"))
    model = loaders.load_audioseal_models(str(folder), filename=name)
    for part in PARTS:
        yield getattr(model, part), f"{part}_{name}.pth", ("model",)
