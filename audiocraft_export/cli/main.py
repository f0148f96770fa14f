"""Host: the command `audiocraft-export`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn, Optional, Union

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


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """Run the command; exits with 0 (all done), 1 (something could not be exported) or 2 (wrong usage).

    Args:
        argv: the arguments; None is those of the process.

    Raises:
        SystemExit: always.
    """
    make_streams_usable()
    try:
        code = _main(argv)
        sys.stdout.flush()
    except OSError as exc:
        if exc.filename is not None:  # no stream, but a file
            print_err(f"audiocraft-export: {printable(str(exc.filename))} cannot be read or written ({reason(exc)}): check "
                "its permissions.")
            sys.exit(1)
        # Nobody reads on, as in `| head`, or nobody can.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(exc, BrokenPipeError):
            print_err(f"audiocraft-export: the output cannot be written ({reason(exc)}): print it elsewhere.")
        code = 1
    sys.exit(code)


def _main(argv: Optional[Sequence[str]]) -> Union[int, str, None]:
    """Run the command; gives its exit code."""
    debug = False
    try:
        parser = _parser()
        complete(parser)
        args, unknown = parser.parse_known_args(argv)
        debug = args.debug
        logging.basicConfig(format="%(levelname)s: %(message)s", stream=sys.stderr)
        logging.getLogger("audiocraft_export").setLevel(logging.INFO)
        end = unknown.index("--") if "--" in unknown else len(unknown)
        wrong = [text for text in unknown[:end] if text.startswith("-")]
        if wrong:
            near = get_close_matches(wrong[0], args.flags, n=1, cutoff=0.8)
            which = f"did you mean {near[0]}?" if near else f"use {', '.join(args.flags)}."
            raise OptionError(f"{' '.join(unknown)} is no option of {args.name}: {which}")
        args.targets += [*unknown[:end], *unknown[end + 1:]]  # argparse takes targets together only
        return int(args.verb(args))
    except ExportError as exc:
        print_error(exc, debug)
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
    for command in (run, list_, inspect, verify, convert):
        command.add(verbs)
    for name, verb in verbs.choices.items():
        verb.add_argument("--json", action="store_true", help="one JSON object a line on stdout, nothing else")
        verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
        flags = [flag for flag in verb._option_string_actions if flag not in ("-h", "--help", "--package")]
        verb.set_defaults(name=name, flags=flags)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage around it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help.\n")
