"""The parser of the command, and of its verbs."""

import argparse
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, Callable, NoReturn

from ..errors import printable


class Parser(argparse.ArgumentParser):
    """An argument parser that reports wrong usage in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message, without the usage of the command, and exit with 2."""
        self.exit(2, f"{self.prog}: {printable(message)}; see {self.prog} --help.\n")


def add_verb(verbs: Any, name: str, do: Callable[[argparse.Namespace], int], *, summary: str, description: str,
             examples: str) -> argparse.ArgumentParser:
    """Add a verb to the result of `add_subparsers`, and return its own parser.

    Args:
        do: runs the verb; returns the exit code.
        summary: its line in the help of the command; description and examples are for its own.
    """
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=summary, description=fill(description, get_terminal_size().columns - 2), epilog=examples,
        allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)  # for the examples
    parser.set_defaults(verb=do)
    return parser
