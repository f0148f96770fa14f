"""Shell completion of signatures, grids, values of options and files, by argcomplete (the extra `completion`)."""

import argparse
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..errors import ExportError
from ..experiment.xp import list_grids, list_xps
from ..options import CHOICES
from .targets import DoraDir

EXPERIMENTS = {("run", "targets"), ("inspect", "targets"), ("inspect", "diff"), ("verify", "against")}
FILES = ("targets", "diff", "against", "folder", "dora_dir", "config")


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and exit, if this process was started to complete a command line and argcomplete is here."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser, default_completer=_complete_value)  # type: ignore[arg-type]


def _complete_value(prefix: str, action: argparse.Action, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    """The possible values of an argument, as far as they are known without importing a training package (seconds)."""
    argument = getattr(parsed_args, "name", ""), action.dest
    dora_dir = DoraDir(parsed_args).known if "dora_dir" in parsed_args else None
    with suppress(ExportError):
        if argument in EXPERIMENTS and dora_dir:
            yield from (xp.folder.name for xp in list_xps(dora_dir))
        if argument == ("run", "grid") and dora_dir:
            yield from list_grids(dora_dir)
    yield from filter(None, CHOICES.get(action.dest, ()))
    if action.dest in FILES and argument != ("list", "targets"):
        from argcomplete.completers import FilesCompleter
        yield from FilesCompleter()(prefix)
