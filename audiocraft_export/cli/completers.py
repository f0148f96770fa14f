"""Find the values of an argument for shell completion, by its `dest` and its metavar, whichever command has it.

Neither a training package nor torch nor omegaconf is imported at the press of a key.
"""

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice, takewhile
from pathlib import Path
from time import monotonic
from typing import Any, Callable

from ..checkpoint.tensor import holds_tensor
from ..checkpoint.torch_file import TorchFile
from ..error_codes import ERRORS, WARNINGS
from ..errors import ExportError, printable, readable_size
from ..experiment.xp import Experiment, checkpoint_option, list_grids, list_xps
from ..options import CHOICES, PRESETS
from ..release.metrics import best_value, lowest_loss, metric_names
from .limits import MAX_COMPLETION_SECONDS
from .targets import DoraDir, find_checkpoint, find_experiment
from .verbs.list import SORT_KEYS

Values = Iterable[tuple[str, str]]  # values of an argument, with descriptions, which zsh and fish show
SCHEMA = Path(__file__).with_name("schema.json")
WEIGHTS = {"best": "best state of the solver", "ema": "latest average", "last": "latest weights"}
FILES = ("PATH", "DIR", "FILE", "FOLDER")  # metavars of arguments that accept a path


def complete_value(prefix: str, action: argparse.Action, parsed_args: argparse.Namespace,
                   **_: Any) -> Mapping[str, str]:
    """Return the values of an argument with their descriptions; files only if nothing else is more likely."""
    kinds = str(action.metavar or action.dest.upper()).split("|")
    sources = [source for name, source in SOURCES.items() if name in (action.dest, *kinds)]
    choices = action.choices or filter(None, CHOICES.get(action.dest, ()))
    found = dict(choices) if isinstance(choices, Mapping) else dict.fromkeys(choices, "")
    for source in sources:
        with suppress(ExportError, OSError):
            found.update((value, printable(text)) for value, text in source(prefix, parsed_args) if value.isprintable())
    if action.dest == "targets":  # a target is not offered again, but may be compared with itself: verify SIG --against
        found = {value: text for value, text in found.items() if value not in _targets(parsed_args)}
    if (prefix or not found) and not {*kinds}.isdisjoint(FILES):
        from argcomplete.completers import FilesCompleter
        found.update(dict.fromkeys(FilesCompleter()(prefix), ""))
    return found


def _signatures(prefix: str, args: argparse.Namespace) -> Values:
    """Yield the signatures, with a description of their experiments."""
    xps = [xp for xp in _xps(args) if xp.folder.name.startswith(prefix)]
    yield from ((xp.folder.name, "") for xp in xps)
    if os.environ.get("_ARGCOMPLETE_SHELL") != "bash":  # which shows no descriptions
        yield from ((xp.folder.name, _describe(xp)) for xp in _in_time(xps))


def _describe(xp: Experiment) -> str:
    """Return solver, best metric and overrides of an experiment, as far as they are known."""
    history = xp.history
    best = lowest_loss(history).best(history)
    metric = f"{best['metric']} {best_value(best):.4g}" if best and best["metric"] else ""
    return ", ".join(filter(None, (xp.solver, metric, " ".join(map(str, xp.argv or ())))))


def _grids(_: str, args: argparse.Namespace) -> Values:
    dora_dir = DoraDir(args).known
    return ((name, "") for name in (list_grids(dora_dir) if dora_dir else ()))


def _checkpoints(_: str, args: argparse.Namespace) -> Values:
    """Yield the names and sizes of the checkpoints of the experiments on the command line."""
    for _target, xp in _named(args):
        for path in xp.checkpoints:
            name = checkpoint_option(path.name)
            if name:
                yield name, readable_size(os.path.getsize(path))


def _sections(_: str, args: argparse.Namespace) -> Values:
    """Yield the values of `--weights`, with the sections of the checkpoint of the first experiment."""
    yield from WEIGHTS.items()
    for target, xp in islice(_named(args), 1):
        path = find_checkpoint(target, xp, getattr(args, "checkpoint", None))
        for name, section in TorchFile.read(path).state.items():
            is_optimizer = isinstance(section, dict) and "param_groups" in section
            if isinstance(name, str) and name not in WEIGHTS and not is_optimizer and holds_tensor(section):
                yield name, f"section of {path.name}"


def _solvers(_: str, args: argparse.Namespace) -> Values:
    return ((xp.solver, "") for xp in _in_time(_xps(args)) if xp.solver)


def _metrics(_: str, args: argparse.Namespace) -> Values:
    """Yield the metrics of the experiments on the command line, or else of all experiments."""
    xps = [xp for _target, xp in _named(args)] or _xps(args)
    return ((name, "") for xp in _in_time(xps) for name in metric_names(xp.history))


def _sort_keys(prefix: str, args: argparse.Namespace) -> Values:
    yield from ((name, "") for name in SORT_KEYS)
    yield from _metrics(prefix, args)


def _columns(prefix: str, _: argparse.Namespace) -> Values:
    """Yield the keys of a line of `list --json` after those that are already there."""
    schema = json.loads(SCHEMA.read_text("utf-8"))
    there = prefix[:prefix.rfind(",") + 1]
    for key in schema["$defs"]["list"]["anyOf"][-1]["required"]:
        if key not in ("schema", *there.split(",")):
            yield there + key, schema["properties"][key]["description"]


def _presets(_: str, __: argparse.Namespace) -> Values:
    return ((name, ", ".join(patterns)) for name, patterns in PRESETS.items())


def _codes(_: str, __: argparse.Namespace) -> Values:
    """Yield all codes with the first sentence of their explanation."""
    return ((code, " ".join(text.split()).partition(". ")[0]) for code, text in {**ERRORS, **WARNINGS}.items())


SOURCES: Mapping[str, Callable[[str, argparse.Namespace], Values]] = {  # by the `dest` or the metavar of an argument
    "SIG": _signatures, "CODE": _codes, "grid": _grids, "checkpoint": _checkpoints, "weights": _sections,
    "solver": _solvers, "metric": _metrics, "sort": _sort_keys, "columns": _columns, "scrub": _presets,
}


def _xps(args: argparse.Namespace) -> list[Experiment]:
    dora_dir = DoraDir(args).known
    return list_xps(dora_dir) if dora_dir else []


def _targets(args: argparse.Namespace) -> list[str]:
    """Return the targets on the command line before the cursor; a verb may have none."""
    return getattr(args, "targets", None) or []


def _named(args: argparse.Namespace) -> Iterator[tuple[str, Experiment]]:
    """Yield the targets on the command line that are experiments."""
    dora_dir = DoraDir(args)
    for target in _targets(args):
        with suppress(ExportError):
            if dora_dir.known or os.path.exists(target):
                yield target, find_experiment(target, dora_dir)


def _in_time(xps: Iterable[Experiment]) -> Iterator[Experiment]:
    """Yield experiments until it has taken too long: the histories of thousands of experiments may be large."""
    end = monotonic() + MAX_COMPLETION_SECONDS
    return takewhile(lambda _: monotonic() < end, xps)
