"""What a command does for each of its targets, alone or many at once, and what is said of it."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Callable, Optional, Union

from .. import progress
from ..errors import ExportError, printable, readable_size
from .limits import MAX_ERROR_LENGTH
from .output import Column, cut, print_err, print_table, print_target_error

if TYPE_CHECKING:
    from ..jobs.batch import Executor
    from ..release.report import ExportReport, Plan

logger = logging.getLogger(__name__)
Done = Union["ExportReport", "Plan"]
Result = Union[Done, ExportError]
Job = Callable[[], Done]
COLUMNS = (Column("xp", style="bold"), Column("result"), Column("weights", drop_order=1),
           Column("epochs", right=True, drop_order=2), Column("bytes", right=True),
           Column("where, or why not", shrink=True, tail=True, min_width=24, drop_order=3))


def run_jobs(targets: Sequence[str], jobs: Sequence[Union[Job, ExportError]], executor: Optional[Executor],
             args: argparse.Namespace, table: bool) -> int:
    """Do all jobs, which are called like their targets, and say what came of each; gives the exit code.

    Args:
        jobs: what to do, or why it cannot be done.
        executor: where, if not one after the other in this process.
        table: whether to say at the end what came of all.
    """
    done: dict[int, Result] = {}
    shown = 0
    try:
        with closing(run_in_order(jobs, executor, done)) as numbers:
            for number in numbers:
                shown = number + 1
                with progress.hide():
                    _print_result(targets[number], done[number], args)
    finally:  # also of what was done before somebody stopped it
        for number in sorted(done)[shown:]:
            _print_result(targets[number], done[number], args)
        if table and done:
            _print_summary(targets, done, args)
    return int(any(isinstance(result, ExportError) for result in done.values()))


def run_in_order(jobs: Sequence[Union[Job, ExportError]], executor: Optional[Executor],
                 done: dict[int, Result]) -> Generator[int, None, None]:
    """Do all jobs; gives the number of each in their order. `done` gets what came of each as soon as that is known."""
    done.update((number, job) for number, job in enumerate(jobs) if isinstance(job, ExportError))
    exports = {number: job for number, job in enumerate(jobs) if not isinstance(job, ExportError)}
    numbers, next_one = [*exports], 0
    with progress.show_progress(len(exports)) as display, \
            closing(_results([*exports.values()], executor, display)) as results:
        for index, result in results:
            done[numbers[index]] = _attempt(result)
            while next_one in done:
                yield next_one
                next_one += 1
    yield from range(next_one, len(jobs))  # where there is nothing but errors


def _results(jobs: Sequence[Job], executor: Optional[Executor],
             display: progress.Display) -> Generator[tuple[int, Job], None, None]:
    """The index of each job, and what gives its value or raises its error: here, by doing it when it is its turn."""
    if executor is None or not jobs:
        yield from enumerate(jobs)
        return
    from ..jobs.batch import results
    yield from results(jobs, executor, display)


def _attempt(job: Job) -> Result:
    try:
        return job()
    except ExportError as exc:
        return exc
    except Exception as exc:  # a mistake of ours in one target must not cost the others
        error = ExportError(f"An unexpected {type(exc).__name__} ({exc}): please report it with what --debug shows.")
        error.__cause__ = exc
        return error


def _print_result(target: str, result: Result, args: argparse.Namespace) -> None:
    if isinstance(result, ExportError):
        print_target_error(target, result, args.json, args.debug)
    elif args.json:
        print(json.dumps({"target": target, **result.to_dict()}))
    else:
        print(printable(str(result)))
        for warning in result.manifest.warnings if args.dry_run else ():  # an export logs them itself
            logger.warning("%s: %s", printable(result.manifest.name), printable(warning))


def _print_summary(targets: Sequence[str], done: Mapping[int, Result], args: argparse.Namespace) -> None:
    results = [(targets[number], result) for number, result in sorted(done.items())]
    if not args.json:
        print()
        print_table(COLUMNS, [_row(target, result) for target, result in results])
    failed = [target for target, result in results if isinstance(result, ExportError)]
    which = f"; failed: {printable(', '.join(failed))}" if failed else ""
    rest = f"; stopped before the other {len(targets) - len(done)}" if len(done) < len(targets) else ""
    print_err(f"{len(done) - len(failed)} of {len(targets)} {'can be ' if args.dry_run else ''}exported{which}{rest}.")


def _row(target: str, result: Result) -> list[str]:
    if isinstance(result, ExportError):
        return [target, "failed", "", "", "", cut(str(result), MAX_ERROR_LENGTH, tail=True)]  # its end has what to do
    manifest = result.manifest
    epochs = "?" if manifest.epoch is None else str(manifest.epoch)
    return [manifest.sig or target, result.done, manifest.weights, epochs, readable_size(result.bytes),
            str(result.folder)]
