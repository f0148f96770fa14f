"""The command `audiocraft-export`: parse, run a verb, turn errors into exit codes."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, NoReturn, Optional, Union

from ..errors import ExportError, OptionError, printable, reason
from ..version import __version__
from .completion import complete
from .output import make_streams_usable, print_err, print_error
from .verbs import convert, inspect, run, verify
from .verbs import list as list_

DESCRIPTION = "Turn checkpoints of AudioCraft or Flashy into light, verified releases."
EXAMPLES = """\
examples:
  audiocraft-export list --sort metric   which XP is good, is it exported?
  audiocraft-export inspect 9357e12e     what is in it, what is to be released?
  audiocraft-export run 9357e12e         export it
  audiocraft-export verify outputs/xps/9357e12e/export
  audiocraft-export convert outputs/xps/9357e12e/export --to safetensors
  audiocraft-export run --help           more of each

The tabulator completes signatures, grids and options, in bash and zsh:
  eval "$(register-python-argcomplete audiocraft-export)"
"""


class Parser(argparse.ArgumentParser):
    """An argument parser that reports wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message, without the usage of the command, and exit with 2."""
        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help.\n")


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """Run the command, with the arguments of the process unless others are given.

    Raises:
        SystemExit: always, with 0 (all done), 1 (something failed), 2 (wrong usage) or 130 (interrupted).
    """
    make_streams_usable()
    try:
        code = _run(argv)
        sys.stdout.flush()
    except OSError as exc:
        _report_os_error(exc)
        code = 1
    sys.exit(code)


def _run(argv: Optional[Sequence[str]]) -> Union[int, str, None]:
    debug = False
    try:
        parser = _build_parser()
        complete(parser)
        args, unknown = parser.parse_known_args(argv)
        debug = args.debug
        logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr)
        logging.getLogger("audiocraft_export").setLevel(logging.INFO)
        _take_other_targets(args, unknown)
        return int(args.verb(args))
    except ExportError as exc:
        print_error(exc, debug)
        return 2 if isinstance(exc, OptionError) else 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        return exc.code


def _take_other_targets(args: argparse.Namespace, unknown: list[str]) -> None:
    """Add targets that are not next to the first ones, which argparse does not know; refuse unknown options."""
    end = unknown.index("--") if "--" in unknown else len(unknown)
    options = [text for text in unknown[:end] if text.startswith("-")]
    if options:
        near = get_close_matches(options[0], args.flags, n=1, cutoff=0.8)
        remedy = f"did you mean {near[0]}?" if near else f"use {', '.join(args.flags)}."
        raise OptionError(f"{' '.join(unknown)} is no option of {args.name}: {remedy}")
    args.targets += [*unknown[:end], *unknown[end + 1:]]


def _build_parser() -> argparse.ArgumentParser:
    layout: Any = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}  # for the examples
    parser = Parser(prog="audiocraft-export", description=DESCRIPTION, epilog=EXAMPLES, **layout)
    parser.add_argument("--version", action="version", version=f"audiocraft-export {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, verb in (("run", run), ("list", list_), ("inspect", inspect), ("verify", verify), ("convert", convert)):
        description = fill(verb.DESCRIPTION, get_terminal_size().columns - 2)
        own = verbs.add_parser(name, help=verb.SUMMARY, description=description, epilog=verb.EXAMPLES, **layout)
        verb.add_arguments(own)
        own.add_argument("--json", action="store_true", help="one JSON object a line on stdout, nothing else")
        own.add_argument("--debug", action="store_true", help="show the traceback of an error")
        flags = [flag for flag in own._option_string_actions if flag not in ("-h", "--help", "--package")]
        own.set_defaults(verb=verb.execute, name=name, flags=flags)
    return parser


def _report_os_error(exc: OSError) -> None:
    """Say which file, or that the output, cannot be written; a reader that is gone, as in `| head`, is no mistake."""
    if exc.filename is not None:
        print_err(f"audiocraft-export: {printable(str(exc.filename))} cannot be read or written ({reason(exc)}): check "
                  "its permissions.")
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python flushes it once more at its end
    if not isinstance(exc, BrokenPipeError):
        print_err(f"audiocraft-export: the output cannot be written ({reason(exc)}): print it elsewhere.")
