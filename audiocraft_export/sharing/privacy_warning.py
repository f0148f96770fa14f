"""Warn of private values that a push to the Hugging Face Hub would publish."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from ..errors import printable
from ..experiment.config import Config
from ..experiment.privacy.exposure import find_private_values
from ..experiment.xp import MANIFEST
from ..options import PUBLIC, ExportOptions
from ..release.prepare import PreparedRelease

logger = logging.getLogger(__name__)


def warn_of_private_values(draft: PreparedRelease, options: ExportOptions) -> None:
    """Say what of the configurations would be published, if they go to the Hub as they are."""
    if options.hub is None:
        return
    found = [*_exposed(draft)]
    if not options.scrub or found:
        what = f"{len(found)} values that look private" if found else "its whole configuration"
        remedy = "look whether they should" if PUBLIC in options.patterns else \
            "scrub=public leaves out what nobody needs to load the model"
        logger.warning("%s goes to %s with %s: %s.", printable(draft.manifest.name), options.hub, what, remedy)
    for line in found:
        logger.warning("published: %s", line)


def _exposed(draft: PreparedRelease) -> Iterator[str]:
    for model in draft.models:
        yield from _lines(model.config.values, "")
    text = draft.codec.content.get("xp.cfg") if draft.codec else None
    if text:
        yield from _lines(Config.parse(text).values, "compression model: ")
    yield from _lines(draft.manifest.to_dict(), f"{MANIFEST}: ")


def _lines(values: Any, of: str) -> Iterator[str]:
    """What plain data would publish, a line for each value."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for exposure in find_private_values(values):
        kinds.setdefault((exposure.key, exposure.value), []).append(exposure.kind)
    for (key, value), found in kinds.items():
        yield printable(f"{of}`{key}` = {value} ({', '.join(found)})")
