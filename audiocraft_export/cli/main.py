"""The command `audiocraft-export`: parse the arguments, run a subcommand, turn errors into exit codes."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, NoReturn, Optional, Union

from ..errors import ExportError, OptionError, reason, unexpected_error
from ..version import __version__
from .completion import complete
from .output import make_streams_usable, print_error, print_json, print_note
from .parser import COMMAND, PROG, Parser, check_flags, short_help
from .targets import add_dora_dir
from .verbs import compare, convert, explain, inspect, run, verify
from .verbs import list as list_

DESCRIPTION = "Turn checkpoints of AudioCraft and Flashy into light, verified releases."
EXAMPLES = """\
examples (97d170e1 is the experiment of `make demo`):
  audiocraft-export list --sort metric   list the XPs, the best one first
  audiocraft-export inspect 97d170e1     show its contents, preview its release
  audiocraft-export run 97d170e1         export it
  audiocraft-export verify outputs/xps/97d170e1/export
  audiocraft-export convert outputs/xps/97d170e1/export --to safetensors
  audiocraft-export run --help           all options of a command

Options of all commands may stand before the command or after it.

Shell completion in bash and zsh, and in fish, after pip install argcomplete:
  eval "$(register-python-argcomplete audiocraft-export)"
  register-python-argcomplete --shell fish audiocraft-export | source
"""
SHORT_EXAMPLES = """\
examples (97d170e1 is the experiment of `make demo`):
  audiocraft-export list            list the experiments
  audiocraft-export run 97d170e1    export one of them
  audiocraft-export verify 97d1     check its release

audiocraft-export help COMMAND shows all options of a command.
"""
VERBS = {"run": run, "list": list_, "inspect": inspect, "compare": compare, "verify": verify, "convert": convert,
         "explain": explain}
ALIASES = {"run": ["export"], "list": ["ls"], "inspect": ["show"]}


def main(argv: Optional[Sequence[str]] = None) -> NoReturn:
    """Run the command, with the arguments of the process unless others are given.

    Raises:
        SystemExit: always, with 0 (all done), 1 (something failed), 2 (wrong usage) or 130 (interrupted).
    """
    make_streams_usable()
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _run(words)
        sys.stdout.flush()
    except OSError as exc:
        _report_os_error(exc, words)
        code = 1
    sys.exit(code)


def _run(words: Sequence[str]) -> Union[int, str, None]:
    debug = False
    try:
        parser = _build_parser()
        complete(parser)
        if not words:  # wrong usage, so that a script with an empty variable fails; uv, ruff and pip do the same
            print_note(short_help(parser, SHORT_EXAMPLES))
            return 2
        check_flags(parser, words)
        args, rest = parser.parse_known_args(words)
        debug = args.debug
        logging.basicConfig(format="%(message)s", stream=sys.stderr)
        logging.getLogger("audiocraft_export").setLevel(args.level)
        args.targets += [word for word in rest if word != "--"]  # targets that follow an option
        return int(args.verb(args))
    except ExportError as exc:
        _report(exc, words, debug)
        return 2 if isinstance(exc, OptionError) else 1
    except OSError:  # of the output, or of a file: `main` reports it
        raise
    except Exception as exc:
        _report(unexpected_error(exc), words, debug)
        return 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as exc:
        return exc.code


def _build_parser() -> Parser:
    layout: Any = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = Parser(prog=PROG, description=DESCRIPTION, epilog=EXAMPLES, **layout)
    parser.add_argument("-V", "--version", action="version", version=f"{PROG} {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar=COMMAND, required=True, parser_class=Parser)
    summaries = {}
    for name, verb in VERBS.items():
        description = fill(verb.DESCRIPTION, max(get_terminal_size().columns - 2, 1))
        own = verbs.add_parser(name, aliases=ALIASES.get(name, []), help=verb.SUMMARY, description=description,
                               epilog=verb.EXAMPLES, **layout)
        verb.add_arguments(own)
        _add_output(own, argparse.SUPPRESS, argparse.SUPPRESS)
        own.set_defaults(verb=verb.execute, name=name)
        summaries.update(dict.fromkeys([name, *ALIASES.get(name, [])], verb.SUMMARY))
    own = verbs.add_parser("help", help="show the help of a command", **layout)
    own.add_argument("command", nargs="?", metavar=COMMAND, choices={**summaries, "help": "show this help"},
                     help="a command (default: an overview)")
    own.set_defaults(verb=lambda args: parser.parse_args([*filter(None, [args.command]), "--help"]), targets=[])
    add_dora_dir(parser.add_argument_group("where the experiments are"), None)
    _add_output(parser, False, logging.INFO)
    return parser


def _add_output(parser: argparse.ArgumentParser, off: Any, level: Any) -> None:
    """Add the options for the output; those of a verb have no defaults, which would hide the options before it."""
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", default=off, help="print JSON to stdout, one object per line")
    how_much = output.add_mutually_exclusive_group()
    how_much.add_argument("-q", "--quiet", dest="level", action="store_const", const=logging.ERROR, default=level,
                          help="print only errors, and what was asked for (list, inspect, compare, explain, --json)")
    how_much.add_argument("-v", "--verbose", dest="level", action="store_const", const=logging.DEBUG, default=level,
                          help="also print which Dora folder and checkpoint are used")
    output.add_argument("--debug", action="store_true", default=off, help="show tracebacks of errors")


def _report(exc: ExportError, words: Sequence[str], debug: bool) -> None:
    """Print an error, as JSON on stdout as well if asked for."""
    if "--json" in words:
        print_json(error=exc.to_dict())
    print_error(exc, debug)


def _report_os_error(exc: OSError, words: Sequence[str]) -> None:
    """Report a file or an output that cannot be written; a closed pipe, as after `| head`, is not an error."""
    if exc.filename is not None:
        _report(ExportError("read-failed", f"cannot read or write {exc.filename}: {reason(exc)}"), words, debug=False)
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again at exit.
    if not isinstance(exc, BrokenPipeError):
        print_error(ExportError("output-failed", f"cannot write the output: {reason(exc)}"), debug=False)
