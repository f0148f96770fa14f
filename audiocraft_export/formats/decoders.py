"""Read the files of a release, of any format, as contents in AudioCraft's format."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.torch_file import TorchFile
from ..errors import ReleaseError, listing
from ..options import AUDIOCRAFT
from ..release.content import Content
from ..release.families import audioseal, multiband_diffusion
from ..release.families.registry import CODEC_FILE
from ..release.manifest import Manifest
from ..release.owned_files import is_release_file, model_file_names
from .safetensors.file import read_safetensors
from .safetensors.layout import from_safetensors
from .text_file import read_text

SAFETENSORS = "safetensors"
CONVERTIBLE = (AUDIOCRAFT, SAFETENSORS)  # formats whose files have the content of the release without loss
Roles = Mapping[str, Mapping[Any, Any]]  # the content of the files of a release with tensors, by role
_ROLES = {CODEC_FILE: "compression_model", multiband_diffusion.FILE: "diffusion"}
_SHARD = re.compile(r"-\d{5}-of-\d{5}")


def read_contents(folder: Path, manifest: Manifest) -> Mapping[str, Content]:
    """Read the files of a release as contents in AudioCraft's format; the bytes of tensors are not read.

    Args:
        folder: the release folder.
        manifest: its manifest, with one of the formats `CONVERTIBLE`.

    Raises:
        ExportError: if a file cannot be read or is damaged.
    """
    names = model_file_names(manifest)
    if manifest.release_format != SAFETENSORS:
        return {name: _read_file(folder / name) for name in names}
    files = from_safetensors(folder, names)
    if not all(is_release_file(name, manifest.sig) for name in files):
        raise ReleaseError("damaged-release", f"Unexpected file names in {folder}: {listing([*files])}",
                           "export the experiment again")
    return files


def read_roles(folder: Path, manifest: Manifest) -> Roles:
    """Read the files of a release with tensors, by role; the bytes of tensors are not read.

    In the format `transformers`, whose tensors have other names and shapes, the role is the stem of the file.

    Raises:
        ExportError: if a file cannot be read or is damaged.
    """
    if manifest.release_format in CONVERTIBLE:
        contents = read_contents(folder, manifest)
        return {role_of(name): content for name, content in contents.items() if isinstance(content, Mapping)}
    found: dict[str, dict[Any, Any]] = {}
    for path in (folder / name for name in model_file_names(manifest) if name.endswith(".safetensors")):
        found.setdefault(_SHARD.sub("", path.stem), {}).update(read_safetensors(path).tensors)
    return found


def released_weights(state: Mapping[Any, Any]) -> Mapping[str, Any]:
    """Return the weights in the content of a file in AudioCraft's format; for several bands, the weights of each band.

    Args:
        state: the content of the file.

    Returns:
        Tensors by name, which may be nested; empty if the file has no weights.
    """
    bands = {str(key): band["model_state"] for key, band in state.items()
             if isinstance(key, int) and isinstance(band, dict) and isinstance(band.get("model_state"), dict)}
    found = bands or state.get("best_state", state.get("model"))
    return found if isinstance(found, dict) else {}


def role_of(file: str) -> str:
    """Return the role of a file in AudioCraft's format, by its name; a renamed file is the model."""
    part = file.partition("_")[0]
    return _ROLES.get(file, part if part in audioseal.PARTS else "model")


def _read_file(path: Path) -> Content:
    """Read one file of a release in AudioCraft's format."""
    if path.name.endswith(".yaml"):
        return read_text(path)
    state = TorchFile.read(path).state
    return multiband_diffusion.as_written(state) if path.name == multiband_diffusion.FILE else state
