"""Make the signature and the attestations of a release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional

from ..experiment.xp import MANIFEST, AnyPath
from ..options import ExportOptions
from ..release.manifest import ATTESTATIONS, PROVENANCE, SIGNATURE, TEST_RESULT, Manifest
from .bundle import sign_statement
from .check import signature_problems
from .keys import read_private_key
from .provenance import provenance
from .statement import SignedFiles
from .test_result import test_result


@dataclass(frozen=True)
class Signer:
    """Signs a release; without a key, it makes no files."""

    key: Optional[AnyPath] = None  # path of the private key
    attests: bool = False  # whether to write attestations
    tests_loading: bool = False  # whether the models of the release are loaded before it is signed

    @classmethod
    def of(cls, options: ExportOptions) -> Signer:
        """Return the signer of an export with these options."""
        return cls(options.sign, options.attest, options.verify == "load")

    @property
    def attestations(self) -> tuple[str, ...]:
        """The names of the attestations to write."""
        return () if not self.attests else ATTESTATIONS if self.tests_loading else (PROVENANCE,)

    def attest(self, manifest: Manifest) -> dict[str, bytes]:
        """Return the attestations of a complete manifest, by file name."""
        makers = {PROVENANCE: provenance, TEST_RESULT: test_result}
        return self._bundles({name: makers[name](manifest) for name in self.attestations})

    def sign(self, manifest: Manifest, data: bytes) -> dict[str, bytes]:
        """Return the signature of a release, by file name; `data` is the content of its manifest."""
        digests = {**_digests(manifest), MANIFEST: sha256(data).hexdigest()}
        return self._bundles({SIGNATURE: SignedFiles(digests).statement(manifest.name)})

    def invalid_files(self, folder: Path, manifest: Manifest) -> list[str]:
        """Return the files of an intact release that are missing or not valid for this key: signature, attestations."""
        if self.key is None:
            return []
        listed = [file.name for file in manifest.files]
        found = signature_problems(folder, manifest, read_private_key(self.key).public_key(), _digests(manifest))
        return [*(name for name in self.attestations if name not in listed), *(name for name, _ in found)]

    def _bundles(self, statements: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
        if self.key is None:
            return {}
        key = read_private_key(self.key)
        return {name: sign_statement(statement, key) for name, statement in statements.items()}


def _digests(manifest: Manifest) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files}
