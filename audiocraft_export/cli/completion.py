"""Complete signatures, grids, values of options and files in a shell, with argcomplete, which is optional."""

import argparse
import os

from .parser import commands


def complete(parser: argparse.ArgumentParser) -> None:
    """Print completions and exit, if the shell asks for completions and argcomplete is installed."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        return
    from .completers import complete_value
    for action in (action for own in commands(parser).values() for action in own._actions if action.choices):
        # argcomplete would describe each choice with the help of the option.
        action.completer = complete_value  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False,
                             default_completer=complete_value)  # type: ignore[arg-type]
