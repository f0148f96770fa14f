"""Where a release comes from, and what is odd about it: the part `provenance` of a card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ....errors import readable_size
from ....release.manifest import Manifest
from ..markdown import amount, code, prose, table
from ..model_types import GENERAL, kind_of

MOST_WARNINGS = 30


def origin_part(manifest: Manifest) -> str:
    """Where the release comes from.

    Args:
        manifest: of the release, with its files.
    """
    files = [(code(file.name), readable_size(file.bytes), code(file.sha256)) for file in manifest.files]
    parts = [table(("", ""), _rows(manifest)), table(("file", "size", "SHA-256"), files), _warnings(manifest)]
    return "\n\n".join(["## Provenance", *filter(None, parts)])


def _rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for index, experiment in enumerate(manifest.bands or [_experiment(manifest)]):
        yield (f"Experiment of band {index}" if manifest.bands else "Experiment"), _described(experiment)
    if manifest.solver:
        yield "Solver", code(manifest.solver)
    yield "Weights", f"{code(manifest.weights)}: {prose(manifest.why)}"
    yield "Configuration", f"from {code(manifest.config)}" if manifest.config != "checkpoint" else "from the checkpoint"
    if kind_of(manifest) is not GENERAL:
        yield "AudioCraft", code(manifest.versions.get("audiocraft"))
    yield "Exported with", ", ".join(f"{prose(name)} {code(version)}" for name, version in manifest.versions.items()
                                     if name != "audiocraft")


def _experiment(manifest: Manifest) -> Mapping[str, Any]:
    return {"sig": manifest.sig, "epoch": manifest.epoch, "checkpoint": manifest.checkpoint}


def _described(experiment: Mapping[str, Any]) -> str:
    sig, checkpoint = experiment.get("sig"), experiment.get("checkpoint")
    signature = code(sig) if sig else "of unknown signature"
    source = f", {code(checkpoint['name'])} of {readable_size(checkpoint['bytes'])}" if checkpoint else ""
    return f"{signature} after {amount(experiment.get('epoch', 0), 'epoch', 'epochs')}{source}"


def _warnings(manifest: Manifest) -> str:
    lines = [f"- {prose(text)}" for text in manifest.warnings[:MOST_WARNINGS]]
    left = len(manifest.warnings) - len(lines)
    lines += [f"- and {left:,} more"] if left else []
    return "\n".join(["**Warnings**", "", *lines]) if lines else ""
