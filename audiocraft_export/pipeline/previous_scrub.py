"""Keep the scrub patterns of an existing release: values that it does not have must not return unnoticed."""

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, ReleaseError, coded_warning, listing, show_warning
from ..experiment.config import Config
from ..options import ExportOptions, expand_presets
from ..release.families.registry import OWN_NAMES
from ..release.manifest import CONFIG_FILE, Manifest
from ..release.owned_files import has_release, refuse_unreadable_release

logger = logging.getLogger(__name__)


def refuse_dropped_scrub(folder: Path, options: ExportOptions, config: Optional[Config] = None,
                         can_scrub: bool = True) -> None:
    """Refuse to release values which the release in a folder was scrubbed of.

    Args:
        folder: the release folder.
        options: the options of the new release.
        config: the configuration of the new release. If the manifest of the existing one is damaged or missing, its
            patterns are unknown, and a key that it lacks counts as a pattern.
        can_scrub: whether patterns can be added to the options, for the hint.

    Raises:
        ReleaseError: without `force`, if the existing release has scrub patterns that the options lack, or permissions
            do not allow its manifest to be read.
    """
    if options.force:
        return
    refuse_unreadable_release(folder)
    dropped = _dropped_patterns(folder, options)
    made = f"with scrub={_shown(dropped)}"
    if config is not None and _patterns(folder) is None:
        dropped = [*_missing_keys(config.values, _released_config(folder) or config.values)]
        made = f"whose manifest is damaged and whose configuration lacks {listing(dropped)}"
    if dropped:
        flags = " ".join(f"--scrub {shlex.quote(pattern)}" for pattern in dropped)
        other = f"add {flags} (exporter.scrub)" if can_scrub else "choose another folder"
        raise ReleaseError("scrub-dropped", f"{folder} has a release {made}, and the new one would release what was "
                           "removed there", f"{other}, or replace the release with force=true (--force)")


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
    return options.replace(scrub=[*dict.fromkeys([*(_patterns(folder) or ()), *options.patterns])])


def _dropped_patterns(folder: Path, options: ExportOptions) -> list[str]:
    """Return the scrub patterns of the release in a folder that an export would not apply; none with `force`."""
    applied = {*options.patterns, *expand_presets(options.patterns)}
    return [] if options.force else [pattern for pattern in _patterns(folder) or () if pattern not in applied]


def _missing_keys(values: Mapping[Any, Any], released: Mapping[Any, Any], *path: str) -> Iterator[str]:
    """Yield the dotted keys of a configuration that a released one lacks."""
    for key, value in values.items():
        if key not in released:
            yield ".".join((*path, str(key)))
        elif isinstance(value, dict) and isinstance(released[key], dict):
            yield from _missing_keys(value, released[key], *path, str(key))


def _patterns(folder: Path) -> Optional[list[str]]:
    """Return the scrub patterns of the release in a folder; None if they are unknown, because its manifest is damaged.

    A manifest whose checksum differs still has its patterns.
    """
    if not has_release(folder):
        return []
    options = Manifest.unverified(folder).get("options")
    patterns = options.get("scrub", []) if isinstance(options, dict) else None
    return [each for each in patterns if isinstance(each, str)] if isinstance(patterns, list) else None


def _released_config(folder: Path) -> Optional[Mapping[Any, Any]]:
    """Return the configuration in the files of a release; None if it cannot be read."""
    file = next((folder / name for name in OWN_NAMES if os.path.lexists(folder / name)), None)
    try:
        if file is None:
            return Config.load(folder / CONFIG_FILE).values
        text = TorchFile.read(file).state.get("xp.cfg")
        return Config.parse(text).values if isinstance(text, str) else None
    except CheckpointError:
        return None


def _shown(patterns: list[str]) -> str:
    return ",".join(patterns)
