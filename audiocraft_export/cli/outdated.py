"""Select what `run --all` exports.

These are the XPs without a release, or whose release is stale, damaged, not read back, or has other options.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from ..errors import OptionError
from ..experiment.xp import Experiment, checkpoint_name, permission_error
from ..options import AUDIOCRAFT, RECORDED, ExportOptions
from .runner import UP_TO_DATE

if TYPE_CHECKING:
    from ..release.manifest import Manifest
    from ..release.report import ExportReport
    from ..release.status import ReleaseStatus

COMPARED = (*RECORDED, "digest", "source_digest")  # options that make a release outdated if they differ
OTHER_OPTIONS, NOT_TRAINED = "with other options", "not trained yet"


@dataclass
class Outdated:
    """The experiments of a Dora folder that `run --all` exports, and those that it skips."""

    options: dict[Path, Union[ExportOptions, OptionError]] = field(default_factory=dict)  # of each export, by XP folder
    keeps: bool = True  # whether to collect `kept`
    kept: list[ExportReport] = field(default_factory=list)  # the releases that are up to date
    skipped: Counter[str] = field(default_factory=lambda: Counter({UP_TO_DATE: 0, OTHER_OPTIONS: 0}))  # by reason


@dataclass(frozen=True)
class _Existing:
    """The release that an export would replace."""

    folder: Path
    status: ReleaseStatus
    has_card: bool


def find_outdated(xps: Iterable[Experiment], given: Mapping[str, Any], keeps: bool = True) -> Outdated:
    """Select the experiments to export; at most a manifest and the directory of a checkpoint are read for each.

    A release that is made again keeps its options, except for those that the command line contradicts.

    Args:
        xps: the experiments.
        given: the options on the command line.
        keeps: whether to return `Outdated.kept`, which takes several kB for each release.
    """
    found = Outdated(keeps=keeps)
    for xp in xps:
        try:
            _select(xp, given, found)
        except OptionError as exc:  # the manifest has options that are invalid
            found.options[xp.folder] = exc
    return found


def output_folder(xp_folder: Path, options: ExportOptions, several: bool) -> Path:
    """Return the release folder of an XP: with several XPs, a subfolder of `--folder`."""
    home = xp_folder.absolute()
    folder = options.release_folder(home).absolute()
    return folder / home.name if several and options.folder else folder


def _select(xp: Experiment, given: Mapping[str, Any], found: Outdated) -> None:
    """Add an experiment to the exports, or to the skipped ones."""
    from ..release import status as states
    existing = _existing_release(xp, given)
    previous = _previous_options(existing, given)
    options = _options(existing, previous, given)
    path = xp.checkpoint_path(options.checkpoint)
    is_missing = not os.path.isfile(path) and permission_error(path) is None  # the export reports missing permissions
    has_same_source = "checkpoint" not in given if is_missing else _is_identified(existing)
    manifest = existing.status.manifest
    is_read_back = is_missing or manifest is None or states.is_read_back(manifest, options)
    if existing.status.state == states.UP_TO_DATE and has_same_source and is_read_back \
            and not _differs(existing, previous, options, given):
        _keep(xp, existing, given, found)
    elif is_missing:
        is_untrained = existing.status.state == states.MISSING and xp.is_untrained
        found.skipped[NOT_TRAINED if is_untrained else f"without {path.stem}"] += 1
    else:
        found.options[xp.folder] = options


def _existing_release(xp: Experiment, given: Mapping[str, Any]) -> _Existing:
    from ..release.manifest import CARD_FILE
    from ..release.status import release_status
    folder = output_folder(xp.folder, ExportOptions(folder=given.get("folder")), several=True)
    name = checkpoint_name(given["checkpoint"]) if "checkpoint" in given else None
    return _Existing(folder, release_status(folder, xp.folder, name=name), os.path.lexists(folder / CARD_FILE))


def _is_identified(existing: _Existing) -> bool:
    """Return whether the manifest identifies the checkpoint: without that, the export compares their contents."""
    manifest = existing.status.manifest
    return manifest is not None and manifest.is_identified


def _differs(existing: _Existing, previous: ExportOptions, options: ExportOptions, given: Mapping[str, Any]) -> bool:
    """Return whether the command line asks for another release than the existing one."""
    manifest = existing.status.manifest
    return any(getattr(options, name) != getattr(previous, name) for name in COMPARED if name in given) \
        or given.get("card") is True and not existing.has_card \
        or manifest is not None and _is_unsigned(existing.folder, manifest, options)


def _previous_options(existing: _Existing, given: Mapping[str, Any]) -> ExportOptions:
    """Return the options of an existing release, as far as they are valid in the format of the new one."""
    made_with, manifest = existing.status.made_with, existing.status.manifest
    if given.get("format") == AUDIOCRAFT:
        made_with.pop("max_shard_size", None)
    options = ExportOptions.from_mapping(made_with)
    if manifest is None:
        return options
    return options.replace(digest=manifest.content_digest is not None,
                           card=False if options.has_card and not existing.has_card else None,
                           source_digest="sha256" in manifest.source)


def _options(existing: _Existing, previous: ExportOptions, given: Mapping[str, Any]) -> ExportOptions:
    """Return the options for a release that replaces an existing one, which was made with `previous`."""
    is_sharded = given.get("format", previous.format) != AUDIOCRAFT
    options = previous.replace(**{name: value for name, value in given.items()
                                  if name != "max_shard_size" or is_sharded})
    if existing.status.manifest is not None and "scrub" not in given:
        return options
    from ..pipeline.previous_scrub import keep_scrub
    return keep_scrub(existing.folder, options)


def _is_unsigned(folder: Path, manifest: Manifest, options: ExportOptions) -> bool:
    """Return whether the key of the options has not signed an existing release."""
    from ..signing.signer import Signer
    return bool(Signer.of(options).invalid_files(folder, manifest))


def _keep(xp: Experiment, existing: _Existing, given: Mapping[str, Any], found: Outdated) -> None:
    from ..release.report import ExportReport
    status = existing.status
    options = {name: value for name, value in status.options.items() if name not in given}
    found.skipped[OTHER_OPTIONS if options else UP_TO_DATE] += 1
    if not found.keeps or status.manifest is None:
        return
    path = xp.checkpoint_path(status.made_with.get("checkpoint")).absolute()
    found.kept.append(ExportReport(
        existing.folder, status.manifest, written=False, checkpoint=path if os.path.isfile(path) else None,
        xp=xp.folder.absolute(), status=replace(status, options=options)))
