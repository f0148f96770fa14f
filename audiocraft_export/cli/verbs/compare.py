"""`audiocraft-export compare`: show experiments and releases side by side."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Optional

from ...errors import ExportError, OptionError, printable, readable_size
from ...options import ExportOptions
from ...release.metrics import DURATION, BestRule, best_value, check_metric
from ..limits import MAX_METRICS_COMPARED
from ..output import Column, print_json, print_table, print_target_error
from ..targets import DoraDir, add_dora_dir, distinct, find_path
from .inspect import differences_as_json, print_differences, read_target

if TYPE_CHECKING:
    from ...inspection.file_summary import FileSummary

Row = tuple[str, list[str]]  # its name, and a cell for each target
SUMMARY = "compare experiments and releases side by side"
DESCRIPTION = ("Compare experiments, checkpoints and releases side by side: metrics, sizes, and the configuration keys "
               "that differ.")
EXAMPLES = """\
examples (97d170e1 is the experiment of `make demo`):
  audiocraft-export compare 97d1 outputs/xps/97d170e1/export
  audiocraft-export compare SIG SIG SIG       XPs side by side
  audiocraft-export compare SIG SIG --metric accuracy:max
  audiocraft-export compare SIG SIG --json    for scripts
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare` to its parser."""
    what = parser.add_argument_group("what to compare")
    what.add_argument("targets", nargs="+", metavar="SIG|PATH",
                      help="two or more signatures of XPs (or unambiguous prefixes), XP folders, checkpoint files or "
                           "release folders")
    add_dora_dir(what)
    what.add_argument("--metric", metavar="NAME[:max]",
                      help="metric to compare, with :max if the highest is the best (default: the metric of the "
                           "solver, if known)")


def execute(args: argparse.Namespace) -> int:
    """Print the targets side by side; return the exit code."""
    args.targets = distinct(args.targets, partial(find_path, dora_dir=DoraDir(args)))
    if len(args.targets) < 2:
        raise OptionError("invalid-arguments", "compare needs at least two different targets",
                          f"name another XP, or see audiocraft-export inspect {args.targets[0]}")
    ExportOptions(metric=args.metric)
    found = {}
    for target in args.targets:
        try:
            summary = read_target(target, args)[0]()
            found[target] = summary, summary.keys()
        except ExportError as exc:
            print_target_error(target, exc, args.json, args.debug, several=True)
    if args.metric:
        check_metric(args.metric, [summary.history for summary, _ in found.values()])
    _print(found, args.json)
    return int(len(found) < len(args.targets))


def _print(found: Mapping[str, tuple[FileSummary, Mapping[str, str]]], as_json: bool) -> None:
    from ...inspection.file_summary import differing_keys
    rows = differing_keys([keys for _, keys in found.values()]) if found else []
    if as_json:
        for target, (summary, _) in found.items():
            print_json(target=target, **summary.to_compare())
        print_json(differences=differences_as_json(rows))
    elif len(found) > 1:
        columns = [Column(printable(target), shrink=True) for target in found]
        print_table([Column("", style="bold"), *columns],
                    [[name, *cells] for name, cells in _rows([summary for summary, _ in found.values()])])
        print()
        print_differences([*found], rows)


def _rows(summaries: Sequence[FileSummary]) -> Iterator[Row]:
    """Yield the rows about metrics and sizes."""
    yield "experiment", [summary.sig or "-" for summary in summaries]
    yield "solver", [summary.solver or "-" for summary in summaries]
    yield "epochs", [_text(summary.epochs) for summary in summaries]
    validated = [summary.best or {} for summary in summaries]
    bests = [each if each.get("metric") else {} for each in validated]  # otherwise the last validation
    yield "best epoch", [_text(best.get("epoch")) for best in bests]
    chosen = {best["metric"] for best in bests if best}
    others = {name for each in validated for name in each.get("valid", {})} - chosen - {DURATION}
    for metric in [*sorted(chosen), *sorted(others)][:MAX_METRICS_COMPARED]:
        if metric in chosen:
            values = [best_value(best) if best.get("metric") == metric else None for best in bests]
            yield f"{metric} best", [*map(_text, values)]
        elif chosen:
            yield f"{metric} at best epoch", [_text(best.get("valid", {}).get(metric)) for best in bests]
        yield f"{metric} last", [_text(_last(summary, metric)) for summary in summaries]
    yield "checkpoint", [_size(summary.to_compare()["checkpoint_bytes"]) for summary in summaries]
    yield "release", [str(summary.status or "-") for summary in summaries]
    yield "release size", [_size(summary.release.nbytes if summary.release else None) for summary in summaries]


def _last(summary: FileSummary, metric: str) -> Optional[float]:
    from ...inspection.xp_summary import last_value
    is_chosen = (summary.best or {}).get("metric") == metric
    return summary.last if is_chosen else last_value(BestRule(metric), summary.history)


def _text(value: Optional[float]) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _size(nbytes: Optional[int]) -> str:
    return "-" if nbytes is None else readable_size(nbytes)
