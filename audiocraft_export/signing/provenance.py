"""The SLSA provenance of a release: which checkpoint it was made from, how, and by which versions.

Source: https://slsa.dev/spec/v1.0/provenance
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..release.manifest import Manifest
from .statement import attestation, builder_versions

PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:audiocraft-export:export:v1"  # described in docs/signing.md
BUILDER = "urn:audiocraft-export"


def provenance(manifest: Manifest) -> dict[str, Any]:
    """Return the statement; all its values are in the manifest, from which `scrub` has removed private ones."""
    values = manifest.to_dict()
    parameters = {name: values[name] for name in ("sig", "weights", "weights_epoch", "epoch", "options")}
    return attestation(manifest.model_files, PREDICATE_TYPE, {
        "buildDefinition": {"buildType": BUILD_TYPE, "externalParameters": parameters,
                            "resolvedDependencies": [*_dependencies(values)]},
        "runDetails": {"builder": {"id": BUILDER, "version": builder_versions(manifest)},
                       "metadata": {"finishedOn": manifest.time.replace("+00:00", "Z")}},
    })


def _dependencies(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the sources that the manifest identifies, as resource descriptors."""
    for part in values["bands"] or [values]:
        yield from _file(part["checkpoint"], {"sig": part["sig"]})
        if git := part.get("git"):
            yield {"name": "training code", "digest": {"gitCommit": git.get("commit")},
                   "annotations": {"dirty": git.get("dirty")}}
    codec = values["codec"] or {}
    yield from _file(codec.get("checkpoint") or codec.get("file"), {"sig": codec.get("sig")})
    if codec.get("pretrained"):
        yield {"name": "compression model", "uri": f"urn:audiocraft:pretrained:{codec['pretrained']}"}


def _file(source: Any, annotations: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the descriptor of a file; its `identity` is a sha256 of the names, sizes and CRC-32s of its records."""
    names = {"sha256": "sha256", "identity": "audiocraftExportIdentity"}
    digest = {names[key]: source[key] for key in names if isinstance(source, dict) and source.get(key)}
    if digest:
        yield {"name": source.get("name"), "digest": digest, "annotations": dict(annotations)}
