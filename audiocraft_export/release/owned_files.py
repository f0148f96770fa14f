"""File name patterns of releases, and which files of a folder an export may replace; others are never touched."""

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, Callable, Optional

from .. import progress
from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, ReleaseError
from ..experiment.xp import MANIFEST
from ..storage.durable_file import WrittenFile
from .families import audioseal
from .families.registry import FAMILIES, GENERAL_FAMILY, OWN_NAMES
from .manifest import Manifest

_CHUNK_SIZE = 1 << 20  # bytes
_SHARD = r"(-\d{5}-of-\d{5})?\.safetensors|\.safetensors\.index\.json"
_SAFETENSORS = (rf"(compression_)?model({_SHARD}|\.json)", r"(compression_)?config(_\d+)?\.yaml",
                rf"(generator|detector)_{{}}({_SHARD})")
_TRANSFORMERS = (r"(|generation_|preprocessor_|processor_|tokenizer_)config\.json", r"tokenizer\.json",
                 r"(special_tokens_map|added_tokens)\.json", r"spiece\.model", r"conditioners\.safetensors")


def is_release_file(name: Any, sig: Optional[str]) -> bool:
    """Whether a file of a release may have this name, which stands in a manifest with that signature."""
    return isinstance(name, str) and _is_release_name(name, re.escape(audioseal.name_of(sig)))


def release_file_names(manifest: Manifest) -> list[str]:
    """The files of a release by its manifest, but for names that no file of a release has."""
    return [file.name for file in manifest.files if is_release_file(file.name, manifest.sig)]


def is_torch_file(name: str) -> bool:
    """Whether a file of a release is one of torch."""
    return name.endswith((".bin", ".pth"))


class OwnedFiles:
    """Which files of a folder belong to a release: only those give way to the files of a new one, `names`."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)

    @staticmethod
    def owns(name: str) -> bool:
        """Whether some release may have a file of this name."""
        return name == MANIFEST or _is_release_name(name, r"[\w-]+")

    def stale_files(self, folder: Path) -> set[str]:
        """The unchanged files of the previous release in a folder that the new one does not have."""
        return {file.name for file in self._previous_files(folder) if matches_manifest(folder, file)}

    def _previous_files(self, folder: Path) -> list[WrittenFile]:
        previous = Manifest.load_or_none(folder)
        names = {*OWN_NAMES, *(release_file_names(previous) if previous else ())} - self._names
        return [file for file in Manifest.unverified_files(folder) if file.name in names]

    def refuse_foreign_files(self, folder: Path, may_be_same: Callable[[Path], bool]) -> None:
        """Refuse to replace files of no release: a `config.yaml` or a model that a person put there.

        A file that may have the bytes of the new one is no loss: a killed export leaves such without their manifest.

        Raises:
            ReleaseError: if there is one.
        """
        owned = {*OWN_NAMES, *(file.name for file in Manifest.unverified_files(folder))}
        for path in (folder / name for name in sorted(self._names - owned)):
            if os.path.lexists(path) and not (os.path.isfile(path) and may_be_same(path)):
                raise ReleaseError(f"{path} is there already, and no file of a release by its manifest: move it away, "
                                   "or choose another folder.")

    def refuse_training_checkpoints(self, folder: Path) -> None:
        """As the function of this name. Only what is one is compared with the manifest: a plan reads no weights."""
        stale = [folder / file.name for file in self._previous_files(folder)
                 if _is_training_checkpoint(folder / file.name) and matches_manifest(folder, file)]
        refuse_training_checkpoints(*(folder / name for name in self._names), *stale)


def refuse_training_checkpoints(*paths: Path) -> None:
    """Refuse to replace files if one of them is a training checkpoint.

    Raises:
        CheckpointError: if one is.
    """
    for path in paths:
        if os.path.isfile(path) and _is_training_checkpoint(path):
            raise CheckpointError(f"The release would take the place of the training checkpoint {path}: write it "
                                  "elsewhere.")


def matches_manifest(folder: Path, file: WrittenFile) -> bool:
    """Whether a file of a release folder has the size and the checksum in its manifest."""
    sha256 = hashlib.sha256()
    try:
        if os.path.getsize(folder / file.name) != file.bytes:
            return False
        with open(folder / file.name, "rb") as stream:
            while chunk := stream.read(_CHUNK_SIZE):
                sha256.update(chunk)
                progress.advance(len(chunk))
    except OSError:
        return False
    return sha256.hexdigest() == file.sha256


def _is_release_name(name: str, sig: str) -> bool:
    """Whether a name matches a pattern of any format, where `sig` is a regular expression for the signature."""
    families = {family.names for family in (GENERAL_FAMILY, *FAMILIES.values())}
    own = [re.escape(each).replace(r"\{\}", "{}") for names in families for each in names]
    return any(re.fullmatch(pattern.replace("{}", sig), name) for pattern in (*own, *_SAFETENSORS, *_TRANSFORMERS))


def _is_training_checkpoint(path: Path) -> bool:
    try:
        return TorchFile.read(path).is_training
    except CheckpointError:
        return False
