"""Check the signature and the attestations of a release with a public key."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..errors import ReleaseError, reason
from ..experiment.xp import MANIFEST
from ..release.manifest import ATTESTATIONS, SIGNATURE, Manifest
from ..storage.checksum import chunks_of, sha256_of
from .bundle import read_statement
from .statement import SignedFiles, is_ignored, subject_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey


def signature_problems(folder: Path, manifest: Manifest, key: EllipticCurvePublicKey,
                       known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Check `model.sig` with all files of a release folder, and the attestations of the release.

    Args:
        folder: the release folder.
        manifest: its manifest.
        key: the public key of the signer.
        known: sha256 of the files that were read already, by name; all other files are read.

    Yields:
        A file, and what is wrong with it.
    """
    try:
        signed = SignedFiles.of(read_statement(folder / SIGNATURE, key))
        yield from _file_problems(folder, signed, manifest, known)
    except ReleaseError as exc:
        yield SIGNATURE, exc.message
    except OSError as exc:
        yield SIGNATURE, f"cannot read the files of the folder: {reason(exc)}"
    yield from _attestation_problems(folder, manifest, key)


def other_files(folder: Path, ignored: Collection[str]) -> list[str]:
    """Return the paths of all files below a folder, relative to it, except those in the `ignored` files and folders.

    Symlinks are not followed, and count as files. A folder with the name of a card is not ignored.

    Raises:
        OSError: if a folder cannot be read.
    """
    found: list[str] = []
    for home, folders, names in os.walk(folder, onerror=_raise):
        base = PurePosixPath(Path(home).relative_to(folder).as_posix())
        links = [name for name in folders if os.path.islink(os.path.join(home, name))]
        found += [path.as_posix() for path in (base / name for name in (*names, *links))
                  if not is_ignored(path, ignored)]
    return sorted(found)


def _raise(error: OSError) -> None:
    raise error


def _file_problems(folder: Path, signed: SignedFiles, manifest: Manifest,
                   known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    present = other_files(folder, {*signed.ignored, SIGNATURE})
    for name in (MANIFEST, *(file.name for file in manifest.files)):
        if name not in signed.digests:
            yield name, f"{SIGNATURE} does not cover it"
    for name, digest in signed.digests.items():
        path = folder / name
        if name not in present:
            yield name, f"missing, but listed in {SIGNATURE}"
        elif path.is_symlink() or not path.is_file():
            yield name, "not a regular file: its content may change unnoticed"
        elif digest != (known.get(name) or sha256_of(chunks_of(path))):
            yield name, f"sha256 differs from {SIGNATURE}"
    for name in present:
        if name not in signed.digests:
            yield name, f"not listed in {SIGNATURE}, which covers all files of the folder"


def _attestation_problems(folder: Path, manifest: Manifest,
                          key: EllipticCurvePublicKey) -> Iterator[tuple[str, str]]:
    """Check that the attestations are signed with the key, and are about the files of the release."""
    subject = subject_of(manifest.model_files)
    for name in (file.name for file in manifest.files if file.name in ATTESTATIONS):
        try:
            statement = read_statement(folder / name, key)
        except ReleaseError as exc:
            yield name, exc.message
            continue
        if not isinstance(statement, dict) or statement.get("subject") != subject:
            yield name, "made for other files"
