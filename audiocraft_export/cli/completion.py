"""What a shell offers for a command line that was begun: signatures, grids, values of options, files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..errors import ExportError
from ..experiment.xp import list_grids, list_xps
from ..options import CHOICES
from .targets import known_dora_dir

EXPERIMENTS = {("run", "targets"), ("inspect", "targets"), ("inspect", "diff"), ("verify", "against")}
FILES = {*EXPERIMENTS, *((verb, "targets") for verb in ("verify", "convert")),
         *((verb, "folder") for verb in ("run", "convert")),
         *((verb, "dora_dir") for verb in ("run", "list", "inspect", "verify"))}


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end the process, if it is the shell that asks (`register-python-argcomplete`).

    Args:
        parser: of the command.
    """
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete
        argcomplete.autocomplete(parser, default_completer=_offered)  # type: ignore[arg-type]


def _offered(prefix: str, action: argparse.Action, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    """What an argument may be, of that which is known without asking a training package: that takes seconds."""
    what = getattr(parsed_args, "name", ""), action.dest
    dora_dir = known_dora_dir(parsed_args)
    with suppress(ExportError):
        if what in EXPERIMENTS and dora_dir:
            yield from (xp.folder.name for xp in list_xps(dora_dir))
        if what == ("run", "grid") and dora_dir:
            yield from list_grids(dora_dir)
    yield from filter(None, CHOICES.get(action.dest, ()))
    if what in FILES:
        from argcomplete.completers import FilesCompleter
        yield from FilesCompleter()(prefix)
