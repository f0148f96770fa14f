"""`audiocraft-export explain`: explain the code of an error or a warning."""

import argparse
import re
from shutil import get_terminal_size
from textwrap import fill

from ...error_codes import ERRORS, WARNINGS
from ...errors import OptionError, did_you_mean
from ..output import cut, print_json

SUMMARY = "explain the code of an error or a warning"
DESCRIPTION = ("Explain what the code of an error or a warning means, its usual causes and what to do. Without a code, "
               "list all codes.")
EXAMPLES = """\
examples:
  audiocraft-export explain                      list all codes
  audiocraft-export explain ambiguous-signature  the code of an error
  audiocraft-export explain nonfinite-values     the code of a warning
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain` to its parser."""
    what = parser.add_argument_group("what to explain")
    what.add_argument("targets", nargs="*", metavar="CODE",
                      help="a code, as in error[CODE] or warning[CODE] (default: list all codes)")


def execute(args: argparse.Namespace) -> int:
    """Print the explanations; return the exit code.

    Raises:
        OptionError: if a code is unknown.
    """
    known = {**ERRORS, **WARNINGS}
    codes = [*dict.fromkeys(re.sub(r"(?:error|warning)\[(.*)\]:?", r"\1", target) for target in args.targets)]
    for code in codes:
        if code not in known:
            raise OptionError("invalid-arguments", f"unknown code '{code}'",
                              did_you_mean(code, known, "run audiocraft-export explain to list all codes"))
    for code in codes or known:
        text = explanation(code)
        if args.json:
            print_json(code=code, kind="error" if code in ERRORS else "warning", text=text)
        elif args.targets:
            print(f"{code}\n\n{fill(text, min(get_terminal_size().columns, 80))}\n")
        else:
            print(cut(f"{code:<28}{text}", 80))
    return 0


def explanation(code: str) -> str:
    """Return the explanation of a code in one line."""
    return " ".join((ERRORS.get(code) or WARNINGS[code]).split())
