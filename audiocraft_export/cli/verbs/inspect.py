"""`audiocraft-export inspect`: show the contents of experiments, checkpoints and releases."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Callable, Optional

from ...errors import ExportError, OptionError, ReleaseError, listing, plural, printable, readable_size, show_warning
from ...options import ExportOptions, describe_options, with_default
from ...release.manifest import SIGNATURE, Manifest
from ...release.metrics import DURATION, best_value, check_metric, durations, is_number
from ..limits import MAX_TENSORS
from ..output import Column, duration, print_json, print_table, print_target_error
from ..targets import DoraDir, add_dora_dir, distinct, find_checkpoint, find_experiment, find_path

if TYPE_CHECKING:
    from ...inspection.file_summary import FileSummary
    from ...release.report import DryRunReport

BAR_WIDTH, CURVE_WIDTH, NAME_WIDTH = 24, 40, 12  # widths in characters; NAME_WIDTH is for labels
Differences = Sequence[tuple[str, Sequence[Optional[str]]]]  # configuration keys, with a value as JSON for each target
SECTIONS = (Column("section", style="bold"), Column("bytes", right=True), Column("share", right=True),
            Column("", style="cyan", drop_order=1))
TENSORS = (Column("tensor", shrink=True, tail=True), Column("dtype"), Column("shape", right=True),
           Column("bytes", right=True))
SUMMARY = "show the contents of experiments, checkpoints and releases"
DESCRIPTION = ("Show the contents of experiments, checkpoints and releases: command line, metrics, state and preview "
               "of the release, sections, tensors.")
EXAMPLES = """\
examples (97d170e1 is the experiment of `make demo`):
  audiocraft-export inspect 97d170e1        an XP of ./outputs
  audiocraft-export inspect 97d1 --values   look for NaN/inf
  audiocraft-export inspect 97d1 --diff outputs/xps/97d170e1/export
  audiocraft-export inspect outputs/xps/97d170e1/export --tensors
  audiocraft-export inspect outputs/xps/97d170e1/export --digest
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspect` to its parser."""
    what = parser.add_argument_group("what to inspect")
    what.add_argument("targets", nargs="+", metavar="SIG|PATH",
                      help="signature of an XP (or an unambiguous prefix), XP folder, checkpoint file, release folder, "
                           "or file in a release folder")
    what.add_argument("--checkpoint", metavar="NAME",
                      help="epoch or NAME of checkpoint_NAME.th (default: checkpoint.th)")
    add_dora_dir(what)
    shown = parser.add_argument_group("what to show")
    shown.add_argument("--metric", metavar="NAME[:max]",
                       help="metric that selects the best state, with :max if the highest is the best (default: the "
                            "metric of the solver, if known)")
    shown.add_argument("--diff", metavar="SIG|PATH", type=os.path.expanduser,
                       help="show only the configuration keys that differ from another XP")
    shown.add_argument("--tensors", action="store_true", help=f"show all tensors (default: the {MAX_TENSORS} largest)")
    shown.add_argument("--values", action="store_true",
                       help="read all weights to find NaN, infinite and corrupted values")
    shown.add_argument("--digest", action="store_true",
                       help="read the weights of a release, or those that an export would release, and show the "
                            "content digest")


def execute(args: argparse.Namespace) -> int:
    """Print a summary of each target, or its differences; return the exit code."""
    failed = False
    for name in ("metric", "tensors", "values", "digest") if args.diff is not None else ():
        if getattr(args, name):
            raise OptionError("conflicting-options", f"--{name} has no effect with --diff", f"omit --{name}")
    ExportOptions(metric=args.metric)
    other = cache(partial(_other_config, args))
    for target in distinct(args.targets, partial(find_path, dora_dir=DoraDir(args))):
        try:
            readers = read_target(target, args, args.checkpoint, values=args.values, digest=args.digest)
        except ExportError as exc:
            failed = True
            print_target_error(target, exc, args.json, args.debug, several=len(args.targets) > 1)
            continue
        for read in readers if args.diff is None else [partial(_with_config, readers)]:
            try:
                if args.diff is None:
                    _print(target, read(), args)
                else:
                    _print_diff([target, args.diff], [read().keys(), other()], args.json)
            except OptionError:  # wrong usage, with its own exit code
                raise
            except ExportError as exc:
                failed = True
                print_target_error(target, exc, args.json, args.debug, several=len(args.targets) > 1)
    return int(failed)


def _print_diff(targets: Sequence[str], configs: Sequence[Mapping[str, str]], as_json: bool) -> None:
    from ...inspection.file_summary import differing_keys
    rows = differing_keys(configs)
    if as_json:
        print_json(target=targets[0], differences=differences_as_json(rows))
    else:
        print_differences(targets, rows)


def print_differences(targets: Sequence[str], rows: Differences) -> None:
    """Print the configuration keys that differ between targets; a dash is a missing key."""
    print(f"Configuration keys that differ: {len(rows)}")
    print_table([Column("key", style="bold"), *(Column(printable(target), shrink=True) for target in targets)],
                [[key, *("-" if value is None else value for value in values)] for key, values in rows])


def differences_as_json(rows: Differences) -> list[dict[str, Any]]:
    """Return differing keys for JSON, with their values instead of JSON strings; NaN and infinity are strings."""
    return [{"key": key, "values": [value and json.loads(value, parse_constant=str) for value in values]}
            for key, values in rows]


def read_target(target: str, args: argparse.Namespace, checkpoint: Optional[str] = None, *, values: bool = False,
                digest: bool = False) -> list[Callable[[], FileSummary]]:
    """Return a function for each file of a target (a checkpoint, or the files of a release) that summarizes it."""
    from ...inspection.inspect_file import (
        inspect_experiment,
        inspect_file,
        lacks_checkpoint,
        release_files,
        with_digest,
    )
    from ...verification.weights import read_weights
    paths = release_files(Path(target))
    if paths and checkpoint is not None:
        raise ReleaseError("wrong-target", f"{target} is a release, and has no checkpoint {checkpoint}",
                           "omit --checkpoint, or name the XP")
    if paths:
        weights = cache(partial(read_weights, Path(target)))  # hashed once for all files

        def read(path: Path) -> FileSummary:
            summary = inspect_file(path, values=values)
            return with_digest(summary, weights()) if digest else summary
        return [partial(read, path) for path in paths]
    dora_dir = DoraDir(args)
    xp = find_experiment(target, dora_dir)
    if checkpoint is None and not os.path.isfile(target) and lacks_checkpoint(xp):
        return [partial(inspect_experiment, xp, args.metric, digest=digest)]
    return [partial(inspect_file, find_checkpoint(target, xp, checkpoint), xp, dora_dir.for_codec(xp), values,
                    args.metric, by_name=not os.path.isfile(target), digest=digest)]


def _other_config(args: argparse.Namespace) -> dict[str, str]:
    return _with_config(read_target(args.diff, args)).keys()


def _with_config(readers: Sequence[Callable[[], FileSummary]]) -> FileSummary:
    """Return the summary of the first file that has a configuration, or else of the first file."""
    found = [read() for read in readers]
    return next((each for each in found if each.config), found[0])


def _print(target: str, summary: FileSummary, args: argparse.Namespace) -> None:
    if args.metric:
        check_metric(args.metric, [summary.history])
    limit = None if args.tensors else MAX_TENSORS
    if args.json:
        print_json(target=target, **summary.to_dict(limit))
        return
    for name, text in _facts(summary):
        print(printable(f"{name:<{NAME_WIDTH - 1}} {text}"))
    for text in summary.warnings:
        print(show_warning(text))
    if summary.sections:
        print()
    block = "█" if _is_unicode() else "#"
    print_table(SECTIONS, [[name, readable_size(nbytes), f"{nbytes / summary.nbytes:.0%}",
                            block * round(nbytes / summary.nbytes * BAR_WIDTH)]
                           for name, nbytes in summary.sections.items()])
    if summary.tensors:
        dtypes = Counter(tensor.dtype for tensor in summary.tensors.values())
        counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common())
        print(f"\n{len(summary.tensors)} {plural(len(summary.tensors), 'tensor')} ({counts}), the largest first:")
    print_table(TENSORS, [[name, tensor.dtype, "x".join(map(str, tensor.shape)) or "-", readable_size(tensor.nbytes)]
                          for name, tensor in summary.largest(limit)])
    print()


def _facts(summary: FileSummary) -> Iterator[tuple[str, str]]:
    """Yield label and text of each line, beginning with what is looked for most often."""
    if summary.sig or summary.solver:
        bands = summary.manifest.name if summary.manifest and summary.manifest.bands else None
        yield "experiment", f"{summary.sig or bands or 'without an XP signature'}, solver {summary.solver or '?'}"
    yield from _training_facts(summary)
    yield from _metric_facts(summary, summary.best or {})
    yield from _release_facts(summary)
    if summary.nonfinite:
        yield "values", f"{summary.nonfinite} NaN/inf {plural(summary.nonfinite, 'value')}"
    if summary.content_digest:
        yield "digest", summary.content_digest + (" of an export with the default options" if summary.plan else "")
    size = f", {readable_size(summary.nbytes)}" if summary.nbytes else ""
    yield "file" if size else "folder", f"{summary.path}{size}"


def _training_facts(summary: FileSummary) -> Iterator[tuple[str, str]]:
    from ...inspection.xp_summary import planned_epochs
    if summary.overrides is not None:
        yield "overrides", " ".join(summary.overrides) or "none"
    planned = planned_epochs(summary.config.text) if summary.config and summary.xp else None
    epochs = "" if summary.epochs is None else f"{summary.epochs} of {planned} epochs" if planned \
        else f"{summary.epochs} {plural(summary.epochs, 'epoch')}"
    seconds = [each for epoch in summary.history for each in durations(epoch)]
    parts = [epochs, f"{duration(sum(seconds))} of training" if sum(seconds) >= 1 else "", _dates(summary)]
    if any(parts):
        yield "trained", ", ".join(filter(None, parts))


def _dates(summary: FileSummary) -> str:
    """Return start and end of the training, in local time."""
    if summary.started is None or summary.changed is None:
        return ""
    first, last = (f"{datetime.fromtimestamp(time):%Y-%m-%d %H:%M}" for time in (summary.started, summary.changed))
    day = first.partition(" ")[0]
    return first if first == last else f"{first} to {last.replace(f'{day} ', '')}"


def _release_facts(summary: FileSummary) -> Iterator[tuple[str, str]]:
    """Yield label and text of each line about the release that exists, or that an export would make."""
    manifest, plan, status = summary.manifest, summary.plan, summary.status
    has_release = status is not None and status.state != "none"
    count = status.nonfinite if status else None
    state = f"{status}, with {count} NaN/inf {plural(count, 'value')}" if count else f"{status}"
    if plan:
        sizes = f"{'without codec ' if summary.refused else ''}would have {plan.sizes}"
        yield "release", f"{state} ({plan.sizes})" if plan.is_current else f"{state}; {sizes}"
    elif status and has_release:
        size = f" ({readable_size(status.manifest.nbytes)})" if status.manifest else ""
        yield "release", f"{state}{size}"
    if plan and not plan.is_current and summary.release:
        yield "changes", "; ".join(_changes(summary.release, plan))
    if manifest:
        yield "weights", f"{manifest.weights_text} ({manifest.why})"
    if manifest and manifest.codec:
        known = ", ".join(f"{key} {value.get('name') if isinstance(value, dict) else value}"
                          for key, value in manifest.codec.items() if value is not None)
        where = " (AudioCraft downloads it)" if "pretrained" in manifest.codec else " (available)"
        yield "codec", known + where if plan else known
    if manifest and not plan:
        yield "made", f"{manifest.time}, by audiocraft-export {manifest.versions.get('audiocraft-export')}"
    if summary.is_signed:
        yield "signature", f"{SIGNATURE}, not checked: see verify --key"
    if summary.refused:
        again, default = " again" if has_release else "", " with the default options" if summary.nbytes else ""
        yield "release", f"cannot be made{again}{default}: {summary.refused}"


def _changes(existing: Manifest, plan: DryRunReport) -> Iterator[str]:
    """Yield what an export with the default options would change in the existing release."""
    if existing.weights_text != plan.manifest.weights_text:
        yield f"weights {existing.weights_text} -> {plan.manifest.weights_text}"
    options = [_changed_options(existing.options, plan.manifest.options),
               _changed_options(plan.manifest.options, existing.options)]
    if any(options):
        yield "options " + " -> ".join(describe_options(each) or "defaults" for each in options)
    sizes = [readable_size(sum(file.bytes for file in existing.model_files)), readable_size(plan.bytes)]
    if sizes[0] != sizes[1]:
        yield f"size {' -> '.join(sizes)}"


def _changed_options(options: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without their defaults that differ from others."""
    return {name: value for name, value in sorted(options.items())
            if value not in (with_default(others, name), with_default({}, name))}


def _metric_facts(summary: FileSummary, best: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if best.get("metric"):
        of = f" of {summary.epochs}" if summary.epochs else ""
        is_last = summary.last is None or best["epoch"] == summary.epochs
        last = "" if is_last else f", last {summary.last:.4g}"
        text = f"best {best_value(best):.4g} in epoch {best['epoch']}{of}{last}"
        room = get_terminal_size().columns - NAME_WIDTH - len("  ") if sys.stdout.isatty() else sys.maxsize
        yield best["metric"], f"{text}  {_curve(summary.curve, room - len(text))}".rstrip()
    values = [f"{name} {value:.4g}" for name, value in best.get("valid", {}).items()
              if is_number(value) and name not in (best.get("metric"), DURATION)]
    if values:
        yield "metrics", f"{listing(values)}, in epoch {best['epoch']}"


def _curve(values: Sequence[Optional[float]], room: int) -> str:
    """Draw values as a line of blocks; if they do not all fit, a block shows the lowest of several values."""
    if not values or room < 1:
        return ""
    step = math.ceil(len(values) / min(room, CURVE_WIDTH))
    parts = [[value for value in values[first:first + step] if value is not None]
             for first in range(0, len(values), step)]
    lowest = [min(part) / 2 if part else None for part in parts]  # Halved, so that all differences are finite.
    known = [value for value in lowest if value is not None]
    low, span = min(known), max(known) - min(known) or 1.
    blocks = "▁▂▃▄▅▆▇█" if _is_unicode() else "_.-=+*%#"
    return "".join(" " if value is None else blocks[round((value - low) / span * (len(blocks) - 1))]
                   for value in lowest)


def _is_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") == "utf8"
