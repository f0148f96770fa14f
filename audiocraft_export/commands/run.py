"""`audiocraft-export run`: export experiments."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from .. import progress
from ..console import Column, complain_of, cut, say, show
from ..errors import ExperimentError, ExportError, OptionError, printable, readable_size
from ..experiment import Experiment, grid_xps, list_xps
from ..options import CHOICES, ExportOptions
from ..targets import add_dora_dir, dora_dir_of, find_target, open_target, others_of
from . import add_verb

if TYPE_CHECKING:
    from ..release import ExportReport, Plan

logger = logging.getLogger(__name__)
Done = Union["ExportReport", "Plan"]
Result = Union[Done, ExportError]
Job = Callable[[], Done]
MOST_WHY = 70  # characters of an error in the table
COLUMNS = (Column("xp", style="bold"), Column("result"), Column("weights", goes=1),
           Column("epochs", right=True, goes=2), Column("bytes", right=True),
           Column("where, or why not", gives_way=True, tail=True, least=24, goes=3))
EXAMPLES = """\
examples:
  audiocraft-export run 9357e12e              one of ./outputs by its signature
  audiocraft-export run 9357 5ad2             several, by unique prefixes
  audiocraft-export run 9357 --dora-dir /xps  from another Dora folder
  audiocraft-export run 9357 -P audiocraft    from that of a training package
  audiocraft-export run old/checkpoint.th --folder release --dtype float16
  audiocraft-export run --all --jobs 2        all without a fresh release
  audiocraft-export run --all --dry-run       what that would write
  audiocraft-export run --grid lr_sweep       the XPs of a Dora grid
  audiocraft-export run --bands 3c9d 41aa 97d1 e0f2 --folder mbd
                                              several bands in one release
"""
HELP = {
    "folder": "where the release goes (default: the folder `export` of the XP); with several XPs, one folder a "
              "signature inside it",
    "weights": "which weights",
    "checkpoint": "an epoch or a name NAME, as in checkpoint_NAME.th (default: checkpoint.th)",
    "dtype": "of floating point tensors (default: as stored)",
    "codec": "put the compression model beside a language model, or not",
    "verify": "read the bytes back, or also rebuild the model with AudioCraft, or neither",
    "version": "AudioCraft version tag (default: the installed one)",
}


def add(verbs: Any) -> None:
    """Add the verb to a parser."""
    parser = add_verb(verbs, "run", _run, examples=EXAMPLES, help="export experiments",
                      description="Export experiments by signature, or XP folders and checkpoint files by path.")
    parser.add_argument("targets", nargs="*", metavar="SIG|PATH",
                        help="a Dora signature or a unique prefix of one, an XP folder, or a checkpoint file")
    parser.add_argument("--all", action="store_true",
                        help="all XPs of the Dora folder that have the checkpoint and no fresh release")
    parser.add_argument("--grid", metavar="NAME", help="the XPs of a grid, as the last `dora grid NAME` left them")
    parser.add_argument("--dry-run", action="store_true", help="say what would be exported, and touch no file")
    add_dora_dir(parser)
    for field in ExportOptions.of_one_export():
        valid = [value for value in CHOICES.get(field.name, ()) if value]
        parser.add_argument(f"--{field.name}", default=field.default, help=HELP[field.name], type=_value,
                            metavar="{" + ",".join(valid) + "}" if valid else field.name.upper())
    parser.add_argument("--bands", action="store_true",
                        help="the experiments are the bands of one MultiBand Diffusion, in their order: make one "
                             "release of them, in --folder")
    parser.add_argument("--jobs", type=_positive, default=1, metavar="N", help="export so many at once")


def _run(args: argparse.Namespace) -> int:
    options = ExportOptions(**{field.name: getattr(args, field.name) for field in ExportOptions.of_one_export()})
    _refuse_what_makes_no_sense(args)
    if _is_search(args):
        xps = _not_exported(args, options) if args.all else grid_xps(args.grid, dora_dir_of(args)())
        args.targets = [str(xp.folder) for xp in xps]  # a file or folder here may be called like one of them
        if not xps:
            say(f"Nothing to export in {dora_dir_of(args)()}: each checkpoint that is there has a fresh release; to "
                "make one with other options, name its XP.")
            return 0
    if args.bands:
        return _do_all([" ".join(args.targets)], [_bands_job(args, options)], args)
    return _do_all(_names(args), _jobs(args, options), args)


def _do_all(targets: Sequence[str], jobs: Sequence[Union[Job, ExportError]], args: argparse.Namespace) -> int:
    """Do all jobs, and say what came of each; gives the exit code."""
    done: dict[int, Result] = {}
    shown = 0
    try:
        with closing(_in_order(jobs, args, done)) as numbers:
            for number in numbers:
                shown = number + 1
                with progress.aside():
                    _show(targets[number], done[number], args)
    finally:  # also of what was done before somebody stopped it
        for number in sorted(number for number in done if number >= shown):
            _show(targets[number], done[number], args)
        if len(jobs) > 1 or _is_search(args):
            _conclude(targets, done, args)
    return int(any(isinstance(result, ExportError) for result in done.values()))


def _is_search(args: argparse.Namespace) -> bool:
    """Whether the experiments are to be found, and not named."""
    return args.all or args.grid is not None


def _refuse_what_makes_no_sense(args: argparse.Namespace) -> None:
    if bool(args.targets) + args.all + (args.grid is not None) != 1:
        raise OptionError("run exports experiments by signature or path, or --all, or those of a --grid: give one of "
                          "these.")
    if args.bands and (not args.targets or args.dry_run):
        raise OptionError("--bands takes the experiments in their order, and exports them: leave --all, --grid and "
                          "--dry-run out.")
    if args.bands and args.folder is None:
        raise OptionError("--bands makes one release of several experiments: say where it goes with --folder.")


def _in_order(jobs: Sequence[Union[Job, ExportError]], args: argparse.Namespace,
              done: dict[int, Result]) -> Generator[int, None, None]:
    """Do all jobs; gives the number of each in their order.

    Args:
        jobs: what to do, or why it cannot be done.
        args: the arguments of the command.
        done: gets what came of each by its number, as soon as that is known.
    """
    done.update((number, job) for number, job in enumerate(jobs) if isinstance(job, ExportError))
    exports = {number: job for number, job in enumerate(jobs) if not isinstance(job, ExportError)}
    numbers, next_one = [*exports], 0
    with progress.several(len(exports)), _at_once(min(args.jobs, len(exports))) as do_all:
        for index, result in do_all([*exports.values()]):
            done[numbers[index]] = _attempt(result)
            while next_one in done:
                yield next_one
                next_one += 1
    yield from range(next_one, len(jobs))  # where there is nothing but errors


@contextmanager
def _at_once(count: int) -> Iterator[Callable[[Sequence[Job]], Iterator[tuple[int, Job]]]]:
    """Has jobs done in so many processes; a single one is done here, when it is its turn."""
    if count <= 1:
        yield lambda jobs: enumerate(jobs)
    else:
        from ..processes import processes
        with processes(count) as do_all:
            yield do_all


def _names(args: argparse.Namespace) -> list[str]:
    """What to call the targets."""
    return [Path(target).name if _is_search(args) else target for target in args.targets]


def _not_exported(args: argparse.Namespace, options: ExportOptions) -> list[Experiment]:
    """The experiments that have the checkpoint, and no fresh release where it would go, whatever its options."""
    from ..survey import release_of
    found = []
    for xp in list_xps(dora_dir_of(args)()):
        folder = _folder_of(xp.folder, options, several=True)
        path = xp.path_of(options.checkpoint)
        name = None if options.checkpoint is None else path.name
        if os.path.isfile(path) and release_of(folder, xp.folder, name)[0] != "fresh":
            found.append(xp)
    return found


def _bands_job(args: argparse.Namespace, options: ExportOptions) -> Job:
    from ..export import export_bands
    dora_dir = dora_dir_of(args)

    def job() -> ExportReport:
        bands = [open_target(target, dora_dir, options.checkpoint)[1] for target in args.targets]
        return export_bands(bands, Path(args.folder), options)
    return job


def _jobs(args: argparse.Namespace, options: ExportOptions) -> list[Union[Job, ExportError]]:
    """What to do for each target: an export, or the error why it cannot be done."""
    dora_dir = dora_dir_of(args)
    jobs: list[Union[Job, ExportError]] = []
    taken: dict[Path, tuple[str, Path]] = {}
    for target, name in zip(args.targets, _names(args)):
        try:
            source, folder, job = _plan(target, dora_dir, args, options)
            other, other_source = taken.setdefault(folder, (name, source))
            if other_source != source:
                raise ExperimentError(f"{name} would overwrite the release of {other} in {folder}: export it in a "
                                      "call of its own, with its own --folder.")
            jobs.append(partial(_call, name, job))
        except ExportError as exc:
            jobs.append(exc)
    return jobs


def _plan(target: str, dora_dir: Callable[[], Path], args: argparse.Namespace,
          options: ExportOptions) -> tuple[Path, Path, Job]:
    """The checkpoint, the release folder and the export of one target."""
    if _is_search(args) and not os.path.isdir(target):
        where = "the Dora folder" if args.all else f"the grid {args.grid}"
        raise ExperimentError(f"{target} is not there, though {where} has it: it was removed, or never started.")
    xp, source = find_target(target, dora_dir, options.checkpoint)
    home = xp.folder.absolute()
    others = others_of(xp, args, dora_dir)
    folder = _folder_of(home, options, several=_is_search(args) or len(args.targets) > 1)
    own = bool(options.folder) and os.path.isfile(target)  # a file with a folder of its own may be of any experiment
    return source, folder, partial(_do, args.dry_run, own, xp, source, folder, options, others)


def _folder_of(home: Path, options: ExportOptions, several: bool) -> Path:
    """Where the release of an XP folder goes: that of one of several to a folder of its own."""
    folder = options.release_folder(home).absolute()
    return folder / home.name if several and options.folder else folder


def _do(dry: bool, own: bool, xp: Experiment, source: Path, folder: Path, options: ExportOptions,
        others: Optional[Path]) -> Union[ExportReport, Plan]:
    """Export a checkpoint, or say what would be done."""
    from ..checkpoint import open_checkpoint, open_experiment
    from ..export import export, plan
    checkpoint = open_checkpoint(source) if own else open_experiment(xp, source)
    do = plan if dry else export
    return do(checkpoint, xp.folder, folder, options, others)


def _call(target: str, export: Job) -> Done:
    with progress.export(printable(target)):
        return export()


def _attempt(job: Job) -> Result:
    try:
        return job()
    except ExportError as exc:
        return exc
    except Exception as exc:  # a mistake of ours in one target must not cost the others
        error = ExportError(f"An unexpected {type(exc).__name__} ({exc}): please report it with what --debug shows.")
        error.__cause__ = exc
        return error


def _show(target: str, result: Result, args: argparse.Namespace) -> None:
    if isinstance(result, ExportError):
        complain_of(target, result, args.json, args.debug)
    elif args.json:
        print(json.dumps({"target": target, **result.to_dict()}))
    else:
        print(printable(str(result)))
        for warning in result.manifest.warnings if args.dry_run else ():  # an export logs them itself
            logger.warning("%s: %s", printable(result.manifest.name), printable(warning))


def _conclude(targets: Sequence[str], done: Mapping[int, Result], args: argparse.Namespace) -> None:
    """Say what came of many."""
    if done and not args.json:
        print()
        show(COLUMNS, [_row(targets[number], result) for number, result in sorted(done.items())])
    failed = [targets[number] for number, result in sorted(done.items()) if isinstance(result, ExportError)]
    which = f"; failed: {printable(', '.join(failed))}" if failed else ""
    rest = f"; stopped before the other {len(targets) - len(done)}" if len(done) < len(targets) else ""
    say(f"{len(done) - len(failed)} of {len(targets)} {'can be ' if args.dry_run else ''}exported{which}{rest}.")


def _row(target: str, result: Result) -> list[str]:
    if isinstance(result, ExportError):
        return [target, "failed", "", "", "", cut(str(result), MOST_WHY, tail=True)]  # what to do stands at its end
    manifest = result.manifest
    return [manifest.sig or target, result.done, manifest.weights, str(manifest.epoch), readable_size(result.bytes),
            str(result.folder)]


def _value(text: str) -> Optional[str]:
    return None if text == "null" else text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return int(text)
