"""`audiocraft-export list`: list the experiments of a Dora folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from ...errors import OptionError, show_warning
from ...experiment.xp import XPS, list_xps
from ...options import ExportOptions
from ..output import print_json, print_note, print_table
from ..parser import positive
from ..targets import DoraDir, add_dora_dir, select

if TYPE_CHECKING:
    from ...inspection.xp_summary import XPSummary

SORT_KEYS = ("age", "metric", "sig", "size")
SUMMARY = "list the experiments of a Dora folder"
DESCRIPTION = ("List the experiments of a Dora folder with their epochs, best metric and release. Opens a "
               "checkpoint only if its time is not the one in the manifest of its release.")
EXAMPLES = """\
examples:
  audiocraft-export list                 all XPs of ./outputs
  audiocraft-export list --sort metric   the best one first
  audiocraft-export list --sort train.ce --limit 5    by another metric
  audiocraft-export list --solver musicgen 'dim=*' --not-exported    filters
  audiocraft-export list --columns sig,best,overrides    choose columns
  audiocraft-export list --csv           for a spreadsheet
  audiocraft-export list --json          for scripts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `list` to its parser."""
    what = parser.add_argument_group("what to list")
    what.add_argument("targets", nargs="*", metavar="SIG|PATH|PATTERN",
                      help="only XPs with these signatures, prefixes or paths, or whose overrides contain PATTERN; * "
                           "and ? are wildcards (default: all XPs)")
    what.add_argument("--solver", metavar="NAME", help="only XPs of this solver")
    exported = what.add_mutually_exclusive_group()
    exported.add_argument("--exported", action="store_true", help="only XPs with a release, up to date or stale")
    exported.add_argument("--not-exported", action="store_true",
                          help="only XPs without a release, or with a damaged one")
    what.add_argument("--limit", type=positive, metavar="N", help="only the first N XPs")
    add_dora_dir(what)
    columns = parser.add_argument_group("columns and order")
    columns.add_argument("--metric", metavar="NAME[:max]",
                         help="metric to show: NAME (of stage valid) or STAGE.NAME; :max if the highest is best "
                              "(default: the metric of the solver, if known)")
    columns.add_argument("--sort", metavar="KEY", default="age",
                         help="age, size (of the checkpoint), sig, metric (the shown one), or the NAME[:max] of any "
                              "metric; the newest, largest or best XP is first (default: age)")
    columns.add_argument("--columns", metavar="KEY,...",
                         help="columns to show, by the heads of the table or the keys of --json, such as "
                              "sig,what,last")
    columns.add_argument("--csv", action="store_true", help="print CSV, with the keys of --json as header")


def execute(args: argparse.Namespace) -> int:
    """List the experiments; return the exit code."""
    from ...inspection.xp_summary import summarize_xp
    from ...release.metrics import check_metric
    from ..xp_table import default_table, key_table, print_csv, valid_columns
    _refuse_conflicts(args)
    columns = valid_columns(args.columns)
    metric = ExportOptions(metric=args.metric if args.sort in SORT_KEYS else args.sort).metric
    dora_dir = DoraDir(args).path
    xps = list_xps(dora_dir)
    is_shown = select(args.targets, [xp.folder.name for xp in xps], dora_dir)
    found = [xp for xp in (summarize_xp(xp, metric) for xp in xps)
             if _is_wanted(xp, args) and is_shown(xp.sig, " ".join(xp.overrides or ()))]
    if metric and all(xp.best is None for xp in found):
        check_metric(metric, [xp.history for xp in xps], SORT_KEYS if args.sort not in SORT_KEYS else ())
    found = _sorted(found, args.sort, metric)[:args.limit]
    if args.json:
        for xp in found:
            print_json(**xp.to_dict())
    elif args.csv:
        print_csv(found, columns)
    elif found:
        print_table(*key_table(found, columns) if args.columns else default_table(found, args.sort))
        _print_warnings(found)
    else:
        count = len(xps)
        print_note(f"No matching experiments in {dora_dir} ({count} without filters)." if count
                   else f"No experiments in {dora_dir / XPS}.")
    return 0


def _refuse_conflicts(args: argparse.Namespace) -> None:
    """Refuse options that contradict each other.

    Raises:
        OptionError: for a second output format, columns of JSON, or two metrics.
    """
    if args.json and (args.csv or args.columns):
        other = "--csv" if args.csv else "--columns"
        hint = "omit one of them" if args.csv else "omit --columns: lines of JSON have all keys; or use --csv"
        raise OptionError("conflicting-options", f"--json and {other} cannot be used together", hint)
    if args.metric and args.sort not in (*SORT_KEYS, args.metric):
        raise OptionError("conflicting-options", f"--metric {args.metric} shows another metric than --sort {args.sort}",
                          "omit --metric, or sort by metric")


def _sorted(found: Sequence[XPSummary], key: str, metric: Optional[str]) -> list[XPSummary]:
    """Sort by a key: the newest, largest or best first; experiments without a value last."""
    if key == "age":
        return sorted(found, key=lambda xp: -xp.changed)
    if key == "size":
        return sorted(found, key=lambda xp: -(xp.checkpoint_bytes or 0))
    if key == "sig":
        return sorted(found, key=lambda xp: xp.sig)
    sign = -1 if (metric or "").endswith(":max") else 1
    return sorted(found, key=lambda xp: (xp.best is None, xp.metric or "", sign * (xp.best or 0)))


def _is_wanted(xp: XPSummary, args: argparse.Namespace) -> bool:
    is_exported = xp.state in ("up_to_date", "other_options", "stale")
    if args.exported and not is_exported or args.not_exported and is_exported:
        return False
    return args.solver in (None, xp.solver)


def _print_warnings(found: Sequence[XPSummary]) -> None:
    for xp in found:
        for warning in xp.warnings:
            print_note(show_warning(warning, xp.sig))
