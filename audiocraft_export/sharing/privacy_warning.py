"""Warn of private values that a push to the Hugging Face Hub would publish."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..errors import printable
from ..experiment.config import Config
from ..experiment.privacy.exposure import find_private_values
from ..experiment.xp import MANIFEST
from ..options import PUBLIC, ExportOptions
from ..release.prepare import PreparedRelease

PUBLIC_PACKAGES = {"__builtin__", "audiocraft", "builtins", "collections", "copyreg", "datetime", "dora", "flashy",
                   "functools", "julius", "numpy", "omegaconf", "pathlib", "torch", "torchaudio", "typing"}

logger = logging.getLogger(__name__)


def warn_of_private_values(prepared: PreparedRelease, options: ExportOptions) -> None:
    """Warn of private values in what goes to the Hub, if it goes there."""
    if options.hub is None:
        return
    found = [*_private_values(prepared), *([] if PUBLIC in options.patterns else _private_classes(prepared))]
    if found or not options.scrub:
        what = f"{len(found)} values that look private" if found else "its whole configuration"
        remedy = "look whether they should" if PUBLIC in options.patterns else \
            "scrub=public leaves out what nobody needs to load the model"
        logger.warning("%s goes to %s with %s: %s.", printable(prepared.manifest.name), options.hub, what, remedy)
    for line in found:
        logger.warning("published: %s", line)


def _private_values(prepared: PreparedRelease) -> Iterator[str]:
    for model in prepared.models:
        yield from _describe(model.config.values)
    codec_config = prepared.codec.content.get("xp.cfg") if prepared.codec else None
    if codec_config:
        yield from _describe(Config.parse(codec_config).values, "compression model: ")
    yield from _describe(prepared.manifest.to_dict(), f"{MANIFEST}: ")


def _private_classes(prepared: PreparedRelease) -> Iterator[str]:
    """The classes of a project that the warnings of the manifest and of the card name."""
    checkpoints = [*(model.checkpoint for model in prepared.models), prepared.codec and prepared.codec.checkpoint]
    names = {name for checkpoint in checkpoints if checkpoint for name in checkpoint.unknown_globals}
    for name in sorted(name for name in names if name.partition(".")[0] not in PUBLIC_PACKAGES):
        yield printable(f"{MANIFEST}: `warnings` = {name} (a module name)")


def _describe(values: Any, prefix: str = "") -> Iterator[str]:
    """The private values in plain data, one line each with all its kinds."""
    kinds = defaultdict(list)
    for exposure in find_private_values(values):
        kinds[exposure.key, exposure.value].append(exposure.kind)
    for (key, value), found in kinds.items():
        yield printable(f"{prefix}`{key}` = {value} ({', '.join(found)})")
