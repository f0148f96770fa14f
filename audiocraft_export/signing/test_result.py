"""The in-toto test result of a release: which checks it has passed.

Source: https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
"""

from importlib.metadata import version
from typing import Any

from ..release.installed_audiocraft import UNKNOWN_VERSION, audiocraft_version
from ..release.manifest import Manifest
from .statement import attestation, builder_versions

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"
CONFIGURATION = "urn:audiocraft-export:verify:load"  # described in docs/signing.md


def test_result(manifest: Manifest) -> dict[str, Any]:
    """Return the statement about a release that has passed `verify=load`."""
    of_source = ["source-crc32"] if manifest.is_identified else []  # a running solver has no checksums
    return attestation(manifest.model_files, PREDICATE_TYPE, {
        "result": "PASSED", "configuration": [{"uri": CONFIGURATION, "annotations": _versions(manifest)}],
        "passedTests": [*of_source, f"read-back-{manifest.read_back}", f"load-{manifest.release_format}"],
    })


def _versions(manifest: Manifest) -> dict[str, Any]:
    """Return the versions of the packages that made the release, and of the one that loaded it."""
    if manifest.release_format == "transformers":
        loaded = {"transformers": version("transformers")}
    else:
        loaded = {"audiocraft": audiocraft_version() or UNKNOWN_VERSION}
    return {**builder_versions(manifest), **loaded}
