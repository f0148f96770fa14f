"""`audiocraft-export list`: the experiments of a Dora folder, one row each."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

from ...errors import readable_size
from ...experiment.xp import list_xps
from ...options import ExportOptions
from ..limits import MAX_SIG
from ..output import Column, cut, print_err, print_table
from ..targets import DoraDir, add_dora_dir

if TYPE_CHECKING:
    from ..xp_summary import XPSummary

COLUMNS = (Column("sig", style="bold"), Column("solver", drop_order=5), Column("what", shrink=True, min_width=16),
           Column("epochs", right=True, drop_order=2), Column("best", drop_order=1),
           Column("checkpoint", right=True, drop_order=3), Column("release"), Column("age", right=True, drop_order=4))
SORT_KEYS: dict[str, Callable[[XPSummary], Any]] = {
    "age": lambda xp: -xp.changed,
    "size": lambda xp: -(xp.checkpoint or 0),
    "sig": lambda xp: xp.sig,
}
UNITS = (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
SUMMARY = "show the experiments of a Dora folder"
DESCRIPTION = ("Show the experiments of a Dora folder: how far and how good they are, and whether they are exported. "
               "Reads no checkpoint.")
EXAMPLES = """\
examples:
  audiocraft-export list                       all of ./outputs, latest first
  audiocraft-export list --solver musicgen --sort metric   the best one first
  audiocraft-export list --metric accuracy:max --sort metric   by another metric
  audiocraft-export list lr=1e-4 'dim=*' --not-exported  by their command lines
  audiocraft-export list --json | jq 'select(.release == "stale").sig'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("targets", nargs="*", metavar="PATTERN",
                        help="only those with this on their command line: a part of it, or a pattern with * and ?")
    add_dora_dir(parser)
    parser.add_argument("--solver", metavar="NAME", help="only those of this solver")
    exported = parser.add_mutually_exclusive_group()
    exported.add_argument("--exported", action="store_true", help="only those with a release, up to date or stale")
    exported.add_argument("--not-exported", action="store_true", help="only those without one, or with a damaged one")
    parser.add_argument("--metric", metavar="NAME[:max]",
                        help="show and sort by this metric of a validation, or STAGE.NAME; :max if the highest is best")
    parser.add_argument("--sort", choices=sorted([*SORT_KEYS, "metric"]), default="age",
                        help="latest, best, largest or alphabetically first (default: age)")


def execute(args: argparse.Namespace) -> int:
    """Do what the verb says; gives the exit code."""
    from ..xp_summary import summarize_xp
    dora_dir = DoraDir(args).path
    metric = ExportOptions(metric=args.metric).metric
    summaries = (summarize_xp(xp, metric) for xp in list_xps(dora_dir))
    key = partial(_by_metric, is_highest_first=(metric or "").endswith(":max"))
    found = sorted((xp for xp in summaries if _is_wanted(xp, args)), key=SORT_KEYS.get(args.sort, key))
    if args.json:
        for xp in found:
            print(json.dumps(asdict(xp)))
    elif found:
        print_table(COLUMNS, _rows(found))
    else:
        print_err(f"No experiment in {dora_dir}, or none that fits the patterns and filters: leave them out to see "
                  "all.")
    return 0


def _by_metric(xp: XPSummary, is_highest_first: bool) -> Any:
    return xp.best is None, xp.metric, -xp.best if xp.best is not None and is_highest_first else xp.best


def _is_wanted(xp: XPSummary, args: argparse.Namespace) -> bool:
    from ...release.status import STALE, UP_TO_DATE
    line, is_exported = " ".join(xp.argv or ()), xp.release in (UP_TO_DATE, STALE)
    if args.exported and not is_exported or args.not_exported and is_exported:
        return False
    return (args.solver in (None, xp.solver)
            and all(pattern in line or fnmatchcase(line, f"*{pattern}*") for pattern in args.targets))


def _rows(found: Sequence[XPSummary]) -> list[list[str]]:
    from ..xp_summary import short_names
    by_solver: dict[Optional[str], list[XPSummary]] = {}
    for xp in found:
        by_solver.setdefault(xp.solver, []).append(xp)
    names = {xp.sig: name for xps in by_solver.values()
             for xp, name in zip(xps, short_names([xp.argv or [] for xp in xps]))}
    return [_row(xp, names[xp.sig]) for xp in found]


def _row(xp: XPSummary, name: str) -> list[str]:
    from ...release.status import describe_options
    done = "?" if xp.epochs is None else str(xp.epochs)
    epochs = f"{done}/{xp.planned}" if xp.planned else done
    best = "" if xp.best is None else f"{xp.metric} {xp.best:.4g} @{xp.best_epoch}"
    size = "none" if xp.checkpoint is None else readable_size(xp.checkpoint)
    others = f" +{xp.others}" if xp.others else ""
    release = xp.release if xp.release_bytes is None else f"{xp.release} {readable_size(xp.release_bytes)}"
    release = ", ".join(filter(None, (release, describe_options(xp.release_options))))
    release += f", {xp.nonfinite} NaN/inf" if xp.nonfinite else ""
    return [cut(xp.sig, MAX_SIG), xp.solver or "?", name, epochs, best, size + others, release,
            _age(time.time() - xp.changed)]


def _age(seconds: float) -> str:
    """How long ago something was, in its largest unit."""
    unit, size = next((unit, size) for unit, size in UNITS if seconds >= size or size == 1)
    return f"{max(int(seconds / size), 0)} {unit}"
