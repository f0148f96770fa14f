"""Keep the scrub patterns of an existing release: values that it does not have must not return unnoticed."""

import logging
import shlex
from pathlib import Path

from ..errors import ReleaseError, coded_warning, show_warning
from ..options import ExportOptions, expand_presets
from ..release.manifest import Manifest

logger = logging.getLogger(__name__)


def refuse_dropped_scrub(folder: Path, options: ExportOptions, can_scrub: bool = True) -> None:
    """Refuse to release values which the release in a folder was scrubbed of.

    Args:
        folder: the release folder.
        options: the options of the new release.
        can_scrub: whether patterns can be added to the options, for the hint.

    Raises:
        ReleaseError: if the existing release has scrub patterns that the options lack, without `force`.
    """
    if dropped := _dropped_patterns(folder, options):
        flags = " ".join(f"--scrub {shlex.quote(pattern)}" for pattern in dropped)
        other = f"add {flags} (exporter.scrub)" if can_scrub else "choose another folder"
        raise ReleaseError("scrub-dropped", f"{folder} has a release with scrub={_shown(dropped)}, and the new one "
                           "would release what was removed there",
                           f"{other}, or replace the release with force=true (--force)")


def keep_scrub(folder: Path, options: ExportOptions) -> ExportOptions:
    """Return `with_previous_scrub`, and log a warning if that adds patterns."""
    if dropped := _dropped_patterns(folder, options):
        logger.warning(show_warning(coded_warning(
            "scrub-kept", f"scrub={_shown(dropped)} of the previous release is kept; force=true (--force) drops it"),
            str(folder)))
    return with_previous_scrub(folder, options)


def with_previous_scrub(folder: Path, options: ExportOptions) -> ExportOptions:
    """Add the scrub patterns of the release in a folder to the options, unless `force` is set."""
    if not _dropped_patterns(folder, options):
        return options
    return options.replace(scrub=[*dict.fromkeys([*_patterns(folder), *options.patterns])])


def _dropped_patterns(folder: Path, options: ExportOptions) -> list[str]:
    """Return the scrub patterns of the release in a folder that an export would not apply; none with `force`."""
    applied = {*options.patterns, *expand_presets(options.patterns)}
    return [] if options.force else [pattern for pattern in _patterns(folder) if pattern not in applied]


def _patterns(folder: Path) -> list[str]:
    """Return the scrub patterns of the release in a folder, even if its manifest is damaged."""
    options = Manifest.unverified(folder).get("options")
    patterns = options.get("scrub") if isinstance(options, dict) else None
    return [each for each in patterns if isinstance(each, str)] if isinstance(patterns, list) else []


def _shown(patterns: list[str]) -> str:
    return ",".join(patterns)
