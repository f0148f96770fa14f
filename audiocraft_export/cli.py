"""Host: the command `audiocraft-export`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import fields
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NoReturn, Optional, Union

from . import progress
from .errors import ExperimentError, ExportError, OptionError, printable, reason
from .options import CHOICES, ExportOptions
from .version import __version__

if TYPE_CHECKING:
    from .experiment import Experiment
    from .release import ExportReport

Result = Union["ExportReport", ExportError]
Job = Callable[[], "ExportReport"]

DESCRIPTION = "Turn training checkpoints of AudioCraft and Flashy into light, verified releases."
EXAMPLES = """\
examples:
  audiocraft-export run 9357e12e                        an XP of ./outputs, by its signature
  audiocraft-export run 9357 5ad2 --dora-dir /data/xps  by unique prefixes, from another Dora folder
  audiocraft-export run 9357e12e -P audiocraft          from the Dora folder of a training package
  audiocraft-export run runs/old/checkpoint.th --folder release --dtype float16
  audiocraft-export run --bands 3c9d 41aa 97d1 e0f2 --folder mbd   four bands of MultiBand Diffusion in one release
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

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FLAGS = [*(f"--{field.name}" for field in fields(ExportOptions)), "--bands", "--dora-dir", "-P", "--json", "--jobs",
         "--debug"]


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """Run the command; exits with 0 (all done), 1 (something could not be exported) or 2 (wrong usage).

    Args:
        argv: the arguments; None is those of the process.

    Raises:
        SystemExit: always.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may hold what the terminal's encoding does not
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _main(argv)
        sys.stdout.flush()
    except OSError as exc:  # nobody reads on, as in `| head`, or nobody can
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(exc, BrokenPipeError):
            _say(f"audiocraft-export: the output cannot be written ({reason(exc)}).")
        code = 1
    sys.exit(code)


def _main(argv: Optional[Sequence[str]]) -> Union[int, str, None]:
    """Run the command; gives its exit code."""
    debug = False
    try:
        args, unknown = _parser().parse_known_args(argv)
        debug = args.debug
        logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr)
        logging.getLogger(__package__).setLevel(logging.INFO)
        unknown = unknown[1:] if unknown[:1] == ["--"] else unknown
        targets = [text for text in unknown if not text.startswith("-")]
        if targets == unknown:  # argparse takes them together only
            args.targets += targets
        else:
            raise OptionError(f"{' '.join(unknown)} is no option of run: use {', '.join(FLAGS)}.")
        return int(args.verb(args))
    except ExportError as exc:
        _complain(exc, debug)
        return 2 if isinstance(exc, OptionError) else 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        return exc.code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="audiocraft-export", description=DESCRIPTION, epilog=EXAMPLES, allow_abbrev=False,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"audiocraft-export {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = verbs.add_parser("run", help="export experiments", allow_abbrev=False, epilog=EXAMPLES,
                           formatter_class=argparse.RawDescriptionHelpFormatter,
                           description="Export experiments by signature, or XP folders and checkpoint files by path.")
    run.set_defaults(verb=_run)
    run.add_argument("targets", nargs="+", metavar="SIG|PATH",
                     help="a Dora signature or a unique prefix of one, an XP folder, or a checkpoint file")
    where = run.add_mutually_exclusive_group()
    where.add_argument("--dora-dir", metavar="DIR", help="the Dora folder (default: that of -P, $AUDIOCRAFT_DORA_DIR, "
                                                         "that of $DORA_PACKAGE, ./outputs)")
    where.add_argument("-P", "--package", help="training package, whose main is asked for its Dora folder")
    for field in fields(ExportOptions):
        valid = [value for value in CHOICES.get(field.name, ()) if value]
        run.add_argument(f"--{field.name}", default=field.default, help=HELP[field.name], type=_value,
                         metavar="{" + ",".join(valid) + "}" if valid else field.name.upper())
    run.add_argument("--bands", action="store_true",
                     help="the experiments are the bands of one MultiBand Diffusion, in their order: make one release "
                          "of them, in --folder")
    run.add_argument("--json", action="store_true", help="one JSON object a line on stdout, nothing else")
    run.add_argument("--jobs", type=_positive, default=1, metavar="N", help="export so many at once")
    run.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _run(args: argparse.Namespace) -> int:
    options = ExportOptions(**{field.name: getattr(args, field.name) for field in fields(ExportOptions)})
    if args.bands and options.folder is None:
        raise OptionError("--bands makes one release of several experiments: say where it goes with --folder.")
    targets = [" ".join(args.targets)] if args.bands else args.targets
    jobs: list[Union[Job, ExportError]] = [_bands_job(args, options)] if args.bands else _jobs(args, options)
    failed = []
    exports = sum(map(callable, jobs))
    with progress.several(exports), _started(min(args.jobs, exports)) as start:
        for target, job in zip(targets, [start(job) if callable(job) else job for job in jobs]):
            result = _attempt(job)
            failed += [target] if isinstance(result, ExportError) else []
            with progress.aside():
                _show(target, result, args)
    if len(jobs) > 1:
        which = f"; failed: {printable(', '.join(failed))}" if failed else ""
        _say(f"{len(jobs) - len(failed)} of {len(jobs)} exported{which}.")
    return 1 if failed else 0


def _bands_job(args: argparse.Namespace, options: ExportOptions) -> Job:
    from .checkpoint import open_checkpoint, open_experiment
    from .export import export_bands
    dora_dir = _dora_dir(args)

    def job() -> ExportReport:
        found = [(target, *_find(target, dora_dir, options)) for target in args.targets]
        return export_bands([open_checkpoint(source) if os.path.isfile(target) else open_experiment(xp, source)
                             for target, xp, source in found], Path(args.folder), options)
    return job


def _jobs(args: argparse.Namespace, options: ExportOptions) -> list[Union[Job, ExportError]]:
    """What to do for each target: an export, or the error why it cannot be done."""
    dora_dir = _dora_dir(args)
    jobs: list[Union[Job, ExportError]] = []
    taken: dict[Path, tuple[str, Path]] = {}
    for target in args.targets:
        try:
            source, folder, job = _plan(target, dora_dir, _is_chosen(args), options, len(args.targets) > 1)
            other, other_source = taken.setdefault(folder, (target, source))
            if other_source != source:
                raise ExperimentError(f"{target} would overwrite the release of {other} in {folder}: export it in a "
                                      "call of its own, with its own --folder.")
            jobs.append(partial(_call, target, job))
        except ExportError as exc:
            jobs.append(exc)
    return jobs


def _plan(target: str, dora_dir: Callable[[], Path], chosen: Callable[[Path], bool], options: ExportOptions,
          many: bool) -> tuple[Path, Path, Job]:
    """The checkpoint, the release folder and the export of one target."""
    from .export import RELEASE_FOLDER, export_checkpoint, export_experiment
    xp, source = _find(target, dora_dir, options)
    home = xp.folder.absolute()
    others = dora_dir() if chosen(home) else None
    if not options.folder:
        return source, home / RELEASE_FOLDER, partial(export_experiment, xp, options, source, others)
    folder = Path(options.folder).absolute() / (home.name if many else "")
    if os.path.isfile(target):  # a file with a folder of its own may be of any experiment
        return source, folder, partial(export_checkpoint, source, folder, options, others)
    return source, folder, partial(export_experiment, xp, options.replace(folder=folder), source, others)


def _find(target: str, dora_dir: Callable[[], Path], options: ExportOptions) -> tuple[Experiment, Path]:
    """The experiment and the checkpoint that a target names."""
    from .experiment import Experiment, find_xp
    path = Path(target).absolute()
    if not target or os.sep in target and not os.path.exists(target):
        raise ExperimentError(f"There is no file or folder {target!r}: give a signature, or the path of an XP folder "
                              "or of a checkpoint.")
    if not os.path.isfile(path):
        xp = Experiment.at(path) if os.path.isdir(path) else find_xp(target, dora_dir())
        return xp, xp.checkpoint(options.checkpoint).absolute()
    if options.checkpoint is not None:
        raise ExperimentError(f"{target} is a checkpoint already: leave --checkpoint {options.checkpoint} out, or "
                              "name the XP folder.")
    return Experiment.at(path.parent), path


@contextmanager
def _started(count: int) -> Iterator[Callable[[Job], Job]]:
    """Starts exports in so many processes; a single one is done here, when it is its turn."""
    if count <= 1:
        yield lambda job: job
    else:
        from .processes import processes
        with processes(count) as start:
            yield start


def _call(target: str, export: Callable[[], ExportReport]) -> ExportReport:
    with progress.export(printable(target)):
        return export()


def _attempt(job: Union[Job, ExportError]) -> Result:
    if isinstance(job, ExportError):
        return job
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
        if args.json:
            print(json.dumps({"target": target, "error": str(result)}))
        _complain(result, args.debug)
    elif args.json:
        print(json.dumps({"target": target, **result.to_dict()}))
    else:
        print(printable(str(result)))


def _is_chosen(args: argparse.Namespace) -> Callable[[Path], bool]:
    """Whether `//sig/` of an XP folder is looked up in the Dora folder that was chosen, and not beside that folder.

    For an experiment that was copied elsewhere it is, unless a training package would have to be asked for nothing.
    """
    known = os.environ.get("AUDIOCRAFT_DORA_DIR") or not os.environ.get("DORA_PACKAGE")
    return lambda home: bool(args.dora_dir or args.package or known and home.parent.name != "xps")


def _dora_dir(args: argparse.Namespace) -> Callable[[], Path]:
    """Finds the Dora folder the first time it is needed: asking a training package takes seconds."""
    def find() -> Path:
        directory = args.dora_dir or (None if args.package else os.environ.get("AUDIOCRAFT_DORA_DIR"))
        package = args.package or os.environ.get("DORA_PACKAGE")
        if directory or not package:
            return Path(directory or "outputs")
        return _ask_package(f"{package}.{os.environ.get('DORA_MAIN_MODULE') or 'train'}")
    return lru_cache(maxsize=None)(find)


def _ask_package(module: str) -> Path:
    """The Dora folder of a training package, by the main in its module.

    Raises:
        ExportError: if the module cannot be imported, or has no main of Dora.
    """
    sys.path.insert(0, str(Path.cwd()))  # as the command `dora` does
    said = io.StringIO()
    try:
        with redirect_stdout(sys.stderr), redirect_stderr(said):
            return Path(import_module(module).main.dora.dir)
    except (Exception, SystemExit) as exc:  # importing a training package may run into anything
        why = " ".join((str(exc) if isinstance(exc, Exception) else COLOUR.sub("", said.getvalue())).split())
        raise ExportError(f"The training package cannot be asked for its Dora folder: {module} fails "
                          f"({type(exc).__name__}: {why}); name the folder with --dora-dir.") from exc


def _value(text: str) -> Optional[str]:
    return None if text == "null" else text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return int(text)


def _complain(exc: ExportError, debug: bool) -> None:
    if debug:
        logging.error("%s", exc, exc_info=exc)
    else:
        _say(f"audiocraft-export: {exc}")


def _say(text: str) -> None:
    with suppress(OSError):  # what was done is not undone because nobody can be told
        print(text, file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage around it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help.\n")
