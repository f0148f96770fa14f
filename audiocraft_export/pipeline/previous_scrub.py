"""Keep the scrub patterns of an existing release: values that it does not have must not return unnoticed."""

import logging
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, ReleaseError, coded_warning, listing, show_warning
from ..experiment.config import Config
from ..experiment.walk import items_of
from ..experiment.xp import MANIFEST
from ..formats.safetensors.layout import config_files
from ..options import ExportOptions, expand_presets
from ..release.content import Content
from ..release.manifest import Manifest
from ..release.owned_files import has_release, is_torch_file
from ..release.provenance import unmatched_warning

logger = logging.getLogger(__name__)
_FORCE = "replace the release with force=true (--force)"


def refuse_dropped_scrub(folder: Path, options: ExportOptions, contents: Mapping[str, Content],
                         can_scrub: bool = True) -> None:
    """Refuse to release values which the release in a folder was scrubbed of.

    If its manifest is damaged or missing, its patterns are unknown, and the configurations are compared instead.

    Args:
        folder: the release folder.
        options: the options of the new release.
        contents: the contents of its files in AudioCraft's format, by name.
        can_scrub: whether patterns can be added to the options, for the hint.

    Raises:
        ReleaseError: if the existing release has scrub patterns that the options lack, or lacks keys of the new
            configuration and has no valid manifest, without `force`.
    """
    if options.force or not has_release(folder):
        return
    if dropped := _dropped_patterns(folder, options):
        raise ReleaseError("scrub-dropped", f"{folder} has a release with scrub={_shown(dropped)}, and the new one "
                           "would release what was removed there", _hint(dropped, can_scrub))
    if Manifest.load_or_none(folder) is None and (lacking := [*_lacking_keys(folder, contents)]):
        raise ReleaseError("scrub-dropped", f"{folder} has a release whose configuration lacks {listing(lacking)}. Its "
                           "manifest is damaged or missing, so these keys may have been removed",
                           _hint(lacking, can_scrub))


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
    """Return the scrub patterns that removed keys of the release in a folder, also if its manifest was changed."""
    manifest = Manifest.unverified(folder)
    options, warnings = manifest.get("options"), manifest.get("warnings")
    patterns = options.get("scrub") if isinstance(options, dict) else None
    return [each for each in (patterns if isinstance(patterns, list) else []) if isinstance(each, str)
            and not (isinstance(warnings, list) and unmatched_warning(each) in warnings)]


def _lacking_keys(folder: Path, contents: Mapping[str, Content]) -> Iterator[str]:
    """Yield the keys of new configurations that those of a release lack, as patterns of `scrub`.

    Raises:
        ReleaseError: if a configuration of the release cannot be read.
    """
    try:
        released = {name: TorchFile.read(folder / name).state for name in contents
                    if is_torch_file(name) and os.path.lexists(folder / name)}
        texts = config_files(released, contents)
        for name, text in config_files(contents, contents).items():
            if name in texts:
                yield from _missing_keys(Config.parse(text).values, Config.parse(texts[name]).values)
            elif os.path.lexists(folder / name):
                yield from _missing_keys(Config.parse(text).values, Config.load(folder / name).values)
    except CheckpointError as exc:
        if exc.code != "read-failed" and not os.path.lexists(folder / MANIFEST):
            return  # nothing says that the file is of a release
        raise ReleaseError("scrub-dropped", f"{folder} has a release whose manifest is damaged or missing and whose "
                           f"configuration cannot be read, so it is unknown what was removed there: {exc.message}",
                           _FORCE) from exc


def _missing_keys(value: Any, released: Any, *path: str) -> Iterator[str]:
    known = {name: item for name, _, item in items_of(released)}
    for name, _, item in items_of(value):
        pattern = re.sub(r"[^\w-]", "*", name)  # a key may have a dot
        if name not in known:
            yield ".".join((*path, pattern))
        else:
            yield from _missing_keys(item, known[name], *path, pattern)


def _hint(patterns: list[str], can_scrub: bool) -> str:
    flags = " ".join(f"--scrub {shlex.quote(pattern)}" for pattern in patterns)
    return f"{f'add {flags} (exporter.scrub)' if can_scrub else 'choose another folder'}, or {_FORCE}"


def _shown(patterns: list[str]) -> str:
    return ",".join(patterns)
