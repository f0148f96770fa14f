"""Compare the weights of two releases by the digests of their tensors, whatever their formats."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..checkpoint.torch_file import TorchFile
from ..errors import ReleaseError
from ..experiment.walk import KeyPath
from ..experiment.xp import MANIFEST
from ..formats.decoders import Roles, read_roles, role_of
from ..formats.digest import TensorDigest, content_digest, tensor_digests
from ..release.manifest import Manifest
from ..release.owned_files import folder_of, is_torch_file, is_weights_file, release_file_names
from .file import Problem
from .release import refuse_other_paths

Digests = Mapping[KeyPath, TensorDigest]


@dataclass(frozen=True)
class ReleaseWeights:
    """The tensors of a release, or of one of its files, as digests."""

    path: Path
    tensors: Digests  # by role and keys
    files: Mapping[str, str]  # the file with the tensors, or the first of several shards, by role
    manifest: Optional[Manifest]  # None for a single file

    @property
    def digest(self) -> str:
        """The content digest of the tensors."""
        return content_digest(self.tensors)

    @property
    def recorded(self) -> Optional[str]:
        """The content digest in the manifest of a release folder, if it has one."""
        return self.manifest.content_digest if self.manifest else None


def read_weights(path: Path) -> ReleaseWeights:
    """Read the tensors of a release folder, or of one of its files.

    Raises:
        ExportError: if the path is neither, or a file cannot be read or is damaged.
    """
    refuse_other_paths(path)
    path = path.parent if path.name == MANIFEST else path
    folder, is_folder = folder_of(path), os.path.isdir(path)
    manifest = Manifest.load(folder) if is_folder else Manifest.load_or_none(folder)
    if manifest is None or not is_folder and path.name not in release_file_names(manifest):
        return _read_unlisted(path)
    roles = read_roles(folder, manifest)
    files = _files(roles, release_file_names(manifest))
    if is_folder:
        return ReleaseWeights(path, tensor_digests(roles), files, manifest)
    roles = {role: content for role, content in roles.items() if files[role] == path.name}
    if not roles:
        raise ReleaseError("wrong-target", f"{path} is not a file with all tensors of a model",
                           f"give the release folder {folder}")
    return ReleaseWeights(path, tensor_digests(roles), files, None)


def compare_weights(one: ReleaseWeights, other: ReleaseWeights) -> Iterator[Problem]:
    """Compare the names, dtypes, shapes and values of tensors; a single file is compared with its counterpart.

    Raises:
        ReleaseError: if the tensors have no counterparts: another format, or a file of another model.
    """
    names = {**one.tensors, **other.tensors}
    if one.manifest is None or other.manifest is None:
        roles = {role for role, *_ in one.tensors} & {role for role, *_ in other.tensors}
        names = {name: digest for name, digest in names.items() if name[0] in roles}
    if not {*one.tensors} & {*other.tensors} & {*names}:
        raise ReleaseError("wrong-target", f"{one.path} and {other.path} have no tensor with the same name",
                           "compare releases of one format, or of audiocraft and safetensors")
    for name in names:
        difference = _difference(one.tensors.get(name), other.tensors.get(name), other.path)
        if difference:
            yield Problem(one.files.get(name[0], MANIFEST), ".".join(name[1:]), difference)
    if one.recorded not in (None, one.digest):
        yield Problem(MANIFEST, "content_digest", f"{one.recorded} in the manifest, {one.digest} in the files")


def _difference(one: Optional[TensorDigest], other: Optional[TensorDigest], where: Path) -> str:
    """Describe how a tensor differs from that of the other release; empty if it is the same."""
    if one is None:
        return f"missing, but in {where}"
    if other is None:
        return f"not in {where}"
    mine, theirs = (f"{tensor.dtype} {list(tensor.shape)}" for tensor in (one, other))
    if mine != theirs:
        return f"{mine}, but {theirs} in {where}"
    return "" if one.sha256 == other.sha256 else f"values differ from {where}"


def _read_unlisted(path: Path) -> ReleaseWeights:
    """Read a file of torch.save that no manifest lists, such as a renamed one."""
    if not is_torch_file(path.name):
        raise ReleaseError("wrong-target", f"{path} is not a file of a release with tensors", "give a release folder")
    role = role_of(path.name)
    return ReleaseWeights(path, tensor_digests({role: TorchFile.read(path).state}), {role: path.name}, None)


def _files(roles: Roles, names: Sequence[str]) -> dict[str, str]:
    """Return the first file of each role."""
    found = [name for name in names if is_weights_file(name)] or [MANIFEST]
    return {role: next((name for name in found if name.startswith(role.partition("_")[0])), found[0]) for role in roles}
