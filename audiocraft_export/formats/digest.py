"""Identify the weights of a release: one digest, the same in the formats audiocraft and safetensors.

The recipe is a section of docs/formats.md, with ten lines of Python that compute it with torch alone.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from .. import progress
from ..checkpoint.state_dict import compact
from ..checkpoint.tensor import LazyTensor
from ..experiment.walk import KeyPath, walk
from ..release.manifest import Manifest
from ..storage.checksum import sha256_of
from ..storage.lazy_bytes import LazyBytes
from .decoders import Roles, read_roles


class TensorDigest(NamedTuple):
    """What a content digest has of one tensor, besides its role and its name."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str  # of its elements in row-major order, little-endian


def release_digest(folder: Path, manifest: Manifest) -> str:
    """Read the weights of a release, and return its content digest.

    Args:
        folder: the folder with its files.
        manifest: its manifest, which may not be in the folder yet.

    Raises:
        ExportError: if a file cannot be read or is damaged.
    """
    with progress.phase("computing the content digest"):
        return content_digest(tensor_digests(read_roles(folder, manifest)))


def tensor_digests(contents: Roles) -> dict[KeyPath, TensorDigest]:
    """Read all tensors of a release.

    Returns:
        The digest of each tensor, by its role and its keys in the file; every name of a tied tensor has an entry.

    Raises:
        CheckpointError: if the bytes of a tensor cannot be read or are corrupted, or the content is unsupported.
    """
    found: dict[KeyPath, TensorDigest] = {}
    hashes: dict[LazyBytes, str] = {}
    for role, content in contents.items():
        for path, tensor in walk(compact(content, role)):
            if isinstance(tensor, LazyTensor):
                if tensor.blob not in hashes:
                    hashes[tensor.blob] = sha256_of(tensor.blob.iter_checked())
                found[(role, *map(str, path))] = TensorDigest(tensor.dtype, tensor.shape, hashes[tensor.blob])
    return found


def content_digest(tensors: Mapping[KeyPath, TensorDigest]) -> str:
    """Return the digest of the weights of a release: a sha256 over one sorted line of JSON for each tensor."""
    lines = sorted(json.dumps([role, keys, *tensor]) + "\n" for (role, *keys), tensor in tensors.items())
    return f"sha256:{sha256(''.join(lines).encode()).hexdigest()}"
