"""Render the section `provenance` of a card: source of the release, files and warnings."""

from collections.abc import Iterator, Mapping
from typing import Any

from ....errors import readable_size, split_warning
from ....release.manifest import Manifest
from ..limits import MAX_WARNINGS
from ..markdown import amount, code, prose, table
from ..model_types import GENERAL
from ..source import CardSource


def provenance_section(source: CardSource) -> str:
    """Render the section `provenance`."""
    manifest = source.manifest
    files = [(code(file.name), readable_size(file.bytes), code(file.sha256)) for file in manifest.files]
    parts = [table(("", ""), _rows(source)), table(("file", "size", "SHA-256"), files), _warnings(manifest)]
    return "\n\n".join(["## Provenance", *filter(None, parts)])


def _rows(source: CardSource) -> Iterator[tuple[str, str]]:
    manifest = source.manifest
    for index, band in enumerate(manifest.bands or []):
        yield f"Experiment of band {index}", _experiment(band)
    if not manifest.bands:
        yield "Experiment", _experiment(vars(manifest))
    if manifest.solver:
        yield "Solver", code(manifest.solver)
    yield "Weights", f"{code(manifest.weights)}: {prose(manifest.why)}"
    yield "Configuration", f"from {code(manifest.config)}" if manifest.config != "checkpoint" else "from the checkpoint"
    if manifest.content_digest:
        yield "Content digest", code(manifest.content_digest)
    if source.model_type is not GENERAL:
        yield "AudioCraft", code(manifest.versions.get("audiocraft"))
    yield "Exported with", ", ".join(f"{prose(name)} {code(version)}" for name, version in manifest.versions.items()
                                     if name != "audiocraft")


def _experiment(values: Mapping[str, Any]) -> str:
    """Describe the experiment of a manifest, or of one band in a manifest."""
    sig, checkpoint = values.get("sig"), values.get("checkpoint")
    signature = code(sig) if sig else "unknown signature"
    file = f", {code(str(checkpoint.get('name')))} ({readable_size(checkpoint['bytes'])})" if checkpoint else ""
    after = "" if values.get("epoch") is None else f" after {amount(values['epoch'], 'epoch')}"
    git = f", git commit {code(values['git']['commit'])}" if values.get("git") else ""
    return f"{signature}{after}{file}{git}"


def _warnings(manifest: Manifest) -> str:
    if not manifest.warnings:
        return ""
    lines = [f"- {_warning(text)}" for text in manifest.warnings[:MAX_WARNINGS]]
    if len(manifest.warnings) > MAX_WARNINGS:
        lines.append(f"- and {len(manifest.warnings) - MAX_WARNINGS:,} more")
    return "\n".join(["**Warnings**", "", *lines])


def _warning(warning: str) -> str:
    """Render a warning of a manifest; manifests of format 1 have no codes."""
    name, text = split_warning(warning)
    return f"{code(name)}: {prose(text)}" if name else prose(text)
