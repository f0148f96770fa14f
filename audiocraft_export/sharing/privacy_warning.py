"""Warn about private values that a push to the Hugging Face Hub would publish."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ..errors import coded_warning, printable, show_warning
from ..experiment.config import Config
from ..experiment.privacy.exposure import find_private_values
from ..experiment.xp import MANIFEST
from ..options import PUBLIC, ExportOptions
from ..release.prepare import PreparedRelease

PUBLIC_PACKAGES = {"__builtin__", "audiocraft", "builtins", "collections", "copyreg", "datetime", "dora", "flashy",
                   "functools", "julius", "numpy", "omegaconf", "pathlib", "torch", "torchaudio", "typing"}

logger = logging.getLogger(__name__)


def warn_of_private_values(prepared: PreparedRelease, options: ExportOptions) -> None:
    """Log a warning for each private value that the push would publish; do nothing without the option `hub`."""
    if options.hub is None:
        return
    found = [*_private_values(prepared), *([] if PUBLIC in options.patterns else _private_classes(prepared))]
    if found or not options.scrub:
        count = len(found)
        look = "value that looks" if count == 1 else "values that look"
        what = f"{count} {look} private" if found else "the whole configuration"
        remedy = "check that they may be published" if PUBLIC in options.patterns else \
            "scrub=public removes values of known private forms"
        warning = coded_warning("private-values", f"the push to {options.hub} publishes {what}; {remedy}")
        logger.warning(show_warning(warning, prepared.manifest.name))
    for line in found:
        logger.warning("private value: %s", line)


def _private_values(prepared: PreparedRelease) -> Iterator[str]:
    """Describe the private values in the configurations and the manifest."""
    for model in prepared.models:
        yield from _describe(model.config.values)
    codec_config = prepared.codec.content.get("xp.cfg") if prepared.codec else None
    if codec_config:
        yield from _describe(Config.parse(codec_config).values, "compression model: ")
    yield from _describe(prepared.manifest.to_dict(), f"{MANIFEST}: ")


def _private_classes(prepared: PreparedRelease) -> Iterator[str]:
    """Describe the classes of a project that are named in warnings of the manifest and the card."""
    checkpoints = [*(model.checkpoint for model in prepared.models), prepared.codec and prepared.codec.checkpoint]
    names = {name for checkpoint in checkpoints if checkpoint for name in checkpoint.unknown_globals}
    for name in sorted(name for name in names if name.partition(".")[0] not in PUBLIC_PACKAGES):
        yield printable(f"{MANIFEST}: `warnings` = {name} (a module name)")


def _describe(values: Any, prefix: str = "") -> Iterator[str]:
    """Describe the private values in plain data, one line per value with all its kinds."""
    kinds = defaultdict(list)
    for exposure in find_private_values(values):
        kinds[exposure.key, exposure.value].append(exposure.kind)
    for (key, value), found in kinds.items():
        yield printable(f"{prefix}`{key}` = {value} ({', '.join(found)})")
