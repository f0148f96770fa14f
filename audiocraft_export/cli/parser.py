"""The verbs of the command `audiocraft-export`, one module each."""

from __future__ import annotations

import argparse
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, Callable


def add_verb(verbs: Any, name: str, do: Callable[[argparse.Namespace], int], help: str, description: str,
             examples: str) -> argparse.ArgumentParser:
    """Add a verb to a parser; gives its own parser.

    Args:
        verbs: of `add_subparsers`.
        name: of the verb.
        do: what it does; gives the exit code.
        help: what it is for, in the help of the command.
        description: the same at length, in its own help.
        examples: below that.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=help, description=fill(description, get_terminal_size().columns - 2), epilog=examples,
        allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)  # for the examples
    parser.set_defaults(verb=do)
    return parser
