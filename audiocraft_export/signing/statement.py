"""The statement of OpenSSF Model Signing v1.0: the sha256 of each file of a model.

Source: https://github.com/ossf/model-signing-spec, and the package model_signing 1.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

from ..errors import ReleaseError
from ..release.manifest import CARD_FILES, SIGNATURE, Manifest
from ..storage.durable_file import WrittenFile

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
# The card may change after the release. model_signing ignores the files of git; `hf download` adds its cache.
IGNORED = (SIGNATURE, *CARD_FILES, ".git", ".gitattributes", ".github", ".gitignore", ".cache/huggingface")


def is_ignored(path: PurePosixPath, ignored: Iterable[str] = IGNORED) -> bool:
    """Return whether a path is one of the `ignored` files and folders, or in one; a card is never a folder."""
    paths = map(PurePosixPath, ignored)
    return any(each == path or each in path.parents and str(each) not in CARD_FILES for each in paths)


@dataclass(frozen=True)
class SignedFiles:
    """The files that a signature covers."""

    digests: Mapping[str, str]  # sha256 by path, relative to the folder
    ignored: tuple[str, ...] = IGNORED  # paths of files and folders that are not signed

    def statement(self, name: str) -> dict[str, Any]:
        """Return the statement to sign; `name` of the model is only informative."""
        digests = dict(sorted(self.digests.items()))
        resources = [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in digests.items()]
        serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False,
                         "ignore_paths": [*self.ignored]}
        subject = {"name": name, "digest": {"sha256": _root_digest(digests.values())}}
        return {"_type": STATEMENT_TYPE, "subject": [subject], "predicateType": PREDICATE_TYPE,
                "predicate": {"serialization": serialization, "resources": resources}}

    @classmethod
    def of(cls, statement: Any) -> SignedFiles:
        """Read the files from a statement whose signature is valid.

        Raises:
            ReleaseError: if it is not a statement of Model Signing v1.0 over the sha256 of files.
        """
        try:
            (subject,), predicate = statement["subject"], statement["predicate"]
            how, resources = predicate["serialization"], predicate["resources"]
            digests = {str(each["name"]): str(each["digest"]) for each in resources}
            is_supported = (statement["_type"], statement["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE) \
                and (how["method"], how["hash_type"]) == ("files", "sha256") and len(digests) == len(resources) \
                and all(each["algorithm"] == "sha256" for each in resources) \
                and subject["digest"]["sha256"] == _root_digest(each["digest"] for each in resources)
            ignored = tuple(map(str, how.get("ignore_paths", ())))
        except (LookupError, TypeError, ValueError, AttributeError):
            is_supported = False
        if not is_supported:
            raise ReleaseError("invalid-signature", "not a signature of files by sha256 (OpenSSF Model Signing v1.0)")
        return cls(digests, ignored)


def attestation(files: Iterable[WrittenFile], kind: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return an in-toto statement about files; `kind` is the URI of the predicate type."""
    return {"_type": STATEMENT_TYPE, "subject": subject_of(files), "predicateType": kind, "predicate": predicate}


def subject_of(files: Iterable[WrittenFile]) -> list[dict[str, Any]]:
    """Return the files that an attestation is about, as it names them."""
    return [{"name": file.name, "digest": {"sha256": file.sha256}} for file in files]


def builder_versions(manifest: Manifest) -> dict[str, str]:
    """Return the versions of the packages that made a release, without its version tag of AudioCraft, an option."""
    return {name: version for name, version in manifest.versions.items() if name != "audiocraft"}


def _root_digest(digests: Iterable[str]) -> str:
    """Return the sha256 of the digests in the order of the resources."""
    return sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()
