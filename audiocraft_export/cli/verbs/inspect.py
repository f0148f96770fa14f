"""`audiocraft-export inspect`: what is in an experiment, a checkpoint, a release or a file of one."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Callable, Optional

from ...errors import ExportError, ReleaseError, listing, printable, readable_size
from ...experiment.xp import MANIFEST
from ...options import RELEASE_FOLDER, ExportOptions
from ...release.metrics import is_number, value_of
from ..limits import MAX_TENSORS
from ..output import Column, print_table, print_target_error
from ..targets import DoraDir, add_dora_dir, find_checkpoint, find_experiment

if TYPE_CHECKING:
    from ...experiment.config import Config
    from ..file_summary import FileSummary

BAR_WIDTH, CURVE_WIDTH, NAME_WIDTH = 24, 40, 12  # characters of a bar, of a curve, of the column of names
SECTIONS = (Column("section", style="bold"), Column("bytes", right=True), Column("share", right=True),
            Column("", style="cyan", drop_order=1))
TENSORS = (Column("tensor", shrink=True, tail=True), Column("dtype"), Column("shape", right=True),
           Column("bytes", right=True))
DIFFERENCES = (Column("key", style="bold"), Column("here", shrink=True), Column("there", shrink=True))
SUMMARY = "look into experiments, checkpoints and releases"
DESCRIPTION = ("Say what is in an experiment, a checkpoint, a release folder or a file of one: where its bytes are, "
               "how good it is, what a release of it would be.")
EXAMPLES = """\
examples:
  audiocraft-export inspect 9357e12e              one of ./outputs by its sig
  audiocraft-export inspect 9357e12e --diff 5ad2  and what distinguishes it
  audiocraft-export inspect release --tensors     a release, with all tensors
  audiocraft-export inspect checkpoint.th --values    also for NaN and damage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("targets", nargs="+", metavar="SIG|PATH",
                        help="a Dora signature or a unique prefix of one, an XP folder, a checkpoint file, a release "
                             "folder, or a file of one")
    add_dora_dir(parser)
    parser.add_argument("--checkpoint", metavar="NAME", help="an epoch or a name, as in checkpoint_NAME.th")
    parser.add_argument("--metric", metavar="NAME[:max]",
                        help="by which a training selects its best state, where that is not known: NAME or "
                             "STAGE.NAME, and :max if the highest is the best")
    parser.add_argument("--diff", metavar="SIG|PATH", help="show how its configuration differs from that of another")
    parser.add_argument("--tensors", action="store_true", help=f"show all tensors, not the {MAX_TENSORS} largest")
    parser.add_argument("--values", action="store_true", help="read all weights, for NaN, infinity and damage")


def execute(args: argparse.Namespace) -> int:
    """Do what the verb says; gives the exit code."""
    failed = False
    ExportOptions(metric=args.metric)
    other = cache(partial(_other_config, args))
    for target in args.targets:
        try:
            readers = _readers(target, args, args.checkpoint, args.values)
        except ExportError as exc:
            failed = True
            print_target_error(target, exc, args.json, args.debug)
            continue
        for read in readers:
            try:
                summary = read()
                _print(target, summary, [] if args.diff is None else summary.diff(other()), args)
            except ExportError as exc:
                failed = True
                print_target_error(target, exc, args.json, args.debug)
    return int(failed)


def _readers(target: str, args: argparse.Namespace, checkpoint: Optional[str] = None,
             values: bool = False) -> list[Callable[[], FileSummary]]:
    """What reads each file of a target: the checkpoint of an experiment, or all files of a release."""
    from ..file_summary import inspect, inspect_experiment, release_files
    paths = release_files(Path(target))
    if paths and checkpoint is not None:
        raise ReleaseError(f"{target} is a release: leave --checkpoint {checkpoint} out, or name its XP.")
    if paths:
        return [partial(inspect, path, values=values) for path in paths]
    dora_dir = DoraDir(args)
    xp = find_experiment(target, dora_dir)
    is_released = os.path.lexists(xp.folder / RELEASE_FOLDER / MANIFEST) and not os.path.lexists(xp.checkpoint_path())
    if checkpoint is None and not os.path.isfile(target) and (xp.is_untrained or is_released):
        return [partial(inspect_experiment, xp, args.metric)]
    return [partial(inspect, find_checkpoint(target, xp, checkpoint), xp, dora_dir.for_codec(xp), values, args.metric)]


def _other_config(args: argparse.Namespace) -> Config:
    config = next(filter(None, (read().config for read in _readers(args.diff, args))), None)
    if config is None:
        raise ReleaseError(f"{args.diff} holds no configuration to compare with: name its experiment for --diff.")
    return config


def _print(target: str, summary: FileSummary, differences: Sequence[Sequence[str]], args: argparse.Namespace) -> None:
    limit = None if args.tensors else MAX_TENSORS
    if args.json:
        values = {"target": target, **summary.to_dict(limit)}
        if args.diff is not None:
            values["differences"] = [dict(zip(("key", "here", "there"), row)) for row in differences]
        print(json.dumps(values))
        return
    for name, text in _facts(summary):
        print(printable(f"{name:<{NAME_WIDTH}}{text}"))
    if summary.sections:
        print()
    block = "█" if _is_unicode() else "#"
    print_table(SECTIONS, [[name, readable_size(nbytes), f"{nbytes / summary.nbytes:.0%}",
                            block * round(nbytes / summary.nbytes * BAR_WIDTH)]
                           for name, nbytes in summary.sections.items()])
    if summary.tensors:
        dtypes = Counter(tensor.dtype for tensor in summary.tensors.values())
        counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common())
        print(f"\n{len(summary.tensors)} tensors ({counts}), by size:")
    print_table(TENSORS, [[name, tensor.dtype, "x".join(map(str, tensor.shape)) or "-", readable_size(tensor.nbytes)]
                          for name, tensor in summary.largest(limit)])
    if args.diff is not None:
        print("\n" + printable(f"Configuration: keys that differ from {args.diff}: {len(differences)}"))
        print_table(DIFFERENCES, differences)
    print()


def _facts(summary: FileSummary) -> Iterator[tuple[str, str]]:
    size = f", {readable_size(summary.nbytes)}" if summary.nbytes else ""
    yield summary.kind.split()[-1] if size else "folder", f"{summary.path}{size}"
    if summary.sig or summary.solver:
        yield "experiment", f"{summary.sig or 'without a signature'}, solver {summary.solver or '?'}"
    if summary.epochs is not None:
        yield "epochs", str(summary.epochs)
    yield from _release_facts(summary)
    yield from _metric_facts(summary, summary.best or {})
    if summary.nonfinite:
        yield "values", f"{summary.nonfinite} are NaN or infinite"
    for text in summary.odd:
        yield "odd", text


def _release_facts(summary: FileSummary) -> Iterator[tuple[str, str]]:
    """What the release is that this is, or what there would be in one of this, and why not."""
    manifest, plan, status = summary.manifest, summary.plan, summary.status
    has_release = status is not None and status.state != "none"
    if manifest:
        yield "weights", f"{manifest.weights_text} ({manifest.why})"
    if manifest and manifest.codec:
        known = ", ".join(f"{key} {value.get('name') if isinstance(value, dict) else value}"
                          for key, value in manifest.codec.items() if value is not None)
        where = " (AudioCraft downloads it)" if "pretrained" in manifest.codec else " (at hand)"
        yield "codec", known + where if plan else known
    if plan:
        sizes = f"{'without codec ' if summary.refused else ''}would have {plan.sizes}"
        nonfinite = status.manifest.nonfinite_in() if status and status.manifest else 0
        state = f"{status}, with {nonfinite} NaN or infinite values" if nonfinite else f"{status}"
        yield "release", f"{state} ({plan.sizes})" if plan.is_there else f"{state}; {sizes}"
    elif status and has_release:
        size = f" ({readable_size(status.manifest.nbytes)})" if status.manifest else ""
        yield "release", f"{status}{size}"
    if manifest and not plan:
        yield "made", f"{manifest.time}, by audiocraft-export {manifest.versions.get('audiocraft-export')}"
    if summary.refused:
        again = "not again" if has_release else "none"
        yield "release", f"{again}{' with the default options' if summary.nbytes else ''}: {summary.refused}"


def _metric_facts(summary: FileSummary, best: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if summary.metric:
        text = _best_value(summary, best)
        room = get_terminal_size().columns - NAME_WIDTH - len("  ") if sys.stdout.isatty() else sys.maxsize
        yield summary.metric, f"{text}  {_curve(summary.curve, room - len(text))}".rstrip()
        return
    values = [f"{name} {value:.4g}" for name, value in best.get("valid", {}).items() if is_number(value)]
    if values:
        yield "metrics", f"{listing(values)}, in epoch {best['epoch']}"


def _best_value(summary: FileSummary, best: Mapping[str, Any]) -> str:
    """The value for which the best state was selected; where that is unknown, the range of a loss."""
    if best.get("metric") == summary.metric:
        return f"best {value_of(best):.4g} in epoch {best['epoch']} of {summary.epochs}"
    values = [value for value in summary.curve if value is not None]
    return f"{min(values):.4g} to {max(values):.4g} in {summary.epochs} epochs"


def _curve(values: Sequence[Optional[float]], room: int) -> str:
    """Values as a line of blocks, several values in one block where there are more than fit."""
    if not values:
        return ""
    step = math.ceil(len(values) / max(min(room, CURVE_WIDTH), 1))
    parts = [[value for value in values[first:first + step] if value is not None]
             for first in range(0, len(values), step)]
    lowest = [min(part) / 2 if part else None for part in parts]  # half of it: the difference of any two is finite
    known = [value for value in lowest if value is not None]
    low, span = min(known), max(known) - min(known) or 1.
    blocks = "▁▂▃▄▅▆▇█" if _is_unicode() else "_.-=+*%#"
    return "".join(" " if value is None else blocks[round((value - low) / span * (len(blocks) - 1))]
                   for value in lowest)


def _is_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") == "utf8"
