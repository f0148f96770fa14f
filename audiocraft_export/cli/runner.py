"""Run the job of each target, one by one or in parallel, and print the results."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Callable, Optional, Union

from .. import progress
from ..errors import ExportError, plural, show_warning, unexpected_error
from .output import print_json, print_note, print_result, print_target_error

if TYPE_CHECKING:
    from ..jobs.batch import Executor
    from ..release.report import DryRunReport, ExportReport

logger = logging.getLogger(__name__)
Report = Union["ExportReport", "DryRunReport"]
Result = Union[Report, ExportError]
Job = Callable[[], Report]
UP_TO_DATE = "up to date"
RESULTS = {"already exported": UP_TO_DATE, "already converted": UP_TO_DATE}  # other names in the summary


def run_jobs(targets: Sequence[str], jobs: Sequence[Union[Job, ExportError]], executor: Optional[Executor],
             args: argparse.Namespace, *, several: bool, skipped: Mapping[str, int] = {}, noun: str = "XP") -> int:
    """Run the jobs, print the result of each, and return the exit code.

    Args:
        targets: the names of the jobs.
        jobs: the jobs, or the errors that prevent them.
        executor: runs the jobs elsewhere; None runs them one by one in this process.
        args: the parsed arguments.
        several: whether errors name their target, and a summary is printed.
        skipped: the number of other targets by the reason to skip them.
        noun: what the summary counts.
    """
    finished: dict[int, Result] = {}
    shown = 0
    try:
        with closing(run_in_order(jobs, executor, finished)) as numbers:
            for number in numbers:
                shown = number + 1
                with progress.hide():
                    _print_result(targets[number], finished[number], args, several)
    finally:  # An interrupted run prints its finished jobs as well.
        for number in sorted(finished)[shown:]:
            _print_result(targets[number], finished[number], args, several)
        if several and finished:
            print_note(summary(_count(finished, len(targets), skipped), noun))
    return int(any(isinstance(result, ExportError) for result in finished.values()))


def summary(counts: Mapping[str, int], noun: str = "XP") -> str:
    """Return the last line of a batch: the number of targets, and of those with each result."""
    total = sum(counts.values())
    parts = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    return f"{total} {plural(total, noun)}: {parts}"


def run_in_order(jobs: Sequence[Union[Job, ExportError]], executor: Optional[Executor],
                 finished: dict[int, Result]) -> Generator[int, None, None]:
    """Run the jobs; add each result to `finished` as soon as it is known, and yield the job numbers in order."""
    finished.update((number, job) for number, job in enumerate(jobs) if isinstance(job, ExportError))
    exports = {number: job for number, job in enumerate(jobs) if not isinstance(job, ExportError)}
    numbers, next_one = [*exports], 0
    with progress.show_progress(len(exports)) as display, \
            closing(_results([*exports.values()], executor, display)) as results:
        for index, result in results:
            finished[numbers[index]] = _attempt(result)
            while next_one in finished:
                yield next_one
                next_one += 1
    yield from range(next_one, len(jobs))  # the remaining results are errors


def _results(jobs: Sequence[Job], executor: Optional[Executor],
             display: progress.Display) -> Generator[tuple[int, Job], None, None]:
    """Yield the index of each job with a function that returns its result or raises its error."""
    if executor is None or not jobs:
        yield from enumerate(jobs)
        return
    from ..jobs.batch import results
    yield from results(jobs, executor, display)


def _attempt(job: Job) -> Result:
    """Return the result of a job, or its error."""
    try:
        return job()
    except ExportError as exc:
        return exc
    except Exception as exc:  # A bug in one export must not stop the others.
        return unexpected_error(exc)


def _print_result(target: str, result: Result, args: argparse.Namespace, several: bool) -> None:
    from ..release.report import DryRunReport
    if isinstance(result, ExportError):
        print_target_error(target, result, args.json, args.debug, several)
    elif args.json:
        print_json(target=target, **result.to_dict())
    else:
        print_result(str(result))
        for warning in result.manifest.warnings if isinstance(result, DryRunReport) else ():  # An export logs its own.
            logger.warning(show_warning(warning, result.manifest.name))


def _count(finished: Mapping[int, Result], total: int, skipped: Mapping[str, int]) -> Counter[str]:
    """Return the number of targets by result, including those that were skipped or not finished."""
    found = Counter("failed" if isinstance(result, ExportError) else RESULTS.get(result.done, result.done)
                    for result in finished.values())
    counts = Counter({result: found[result] for result in ("exported", "would be exported", "converted", UP_TO_DATE)})
    counts.update(skipped)
    counts.update({"failed": found["failed"], "not finished": total - len(finished)})
    return counts
