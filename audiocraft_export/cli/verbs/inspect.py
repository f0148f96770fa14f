"""`audiocraft-export inspect`: what is in an experiment, a checkpoint, a release or a file of one."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from ...errors import ExportError, ReleaseError, listing, printable, readable_size
from ...experiment.xp import CHECKPOINT_FILE, MANIFEST
from ...options import RELEASE_FOLDER
from ...release.manifest import Manifest
from ...release.metrics import is_number
from ..output import Column, print_table, print_target_error
from ..parser import add_verb
from ..targets import add_dora_dir, codec_dora_dir, dora_dir_of, find_experiment, source_of

if TYPE_CHECKING:
    from ...experiment.config import Config
    from ..file_summary import FileSummary

MOST_TENSORS, BAR, CURVE, NAME = 10, 24, 40, 12
BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
SECTIONS = (Column("section", style="bold"), Column("bytes", right=True), Column("share", right=True),
            Column("", style="cyan", goes=1))
TENSORS = (Column("tensor", gives_way=True, tail=True), Column("dtype"), Column("shape", right=True),
           Column("bytes", right=True))
DIFFERENCES = (Column("key", style="bold"), Column("here", gives_way=True), Column("there", gives_way=True))
EXAMPLES = """\
examples:
  audiocraft-export inspect 9357e12e              one of ./outputs by its sig
  audiocraft-export inspect 9357e12e --diff 5ad2  and what distinguishes it
  audiocraft-export inspect release --tensors     a release, with all tensors
  audiocraft-export inspect checkpoint.th --values    also for NaN and damage
"""


def add(verbs: Any) -> None:
    """Add the verb to a parser."""
    parser = add_verb(verbs, "inspect", _inspect, examples=EXAMPLES,
                      help="look into experiments, checkpoints and releases",
                      description="Say what is in an experiment, a checkpoint, a release folder or a file of one: "
                                  "where its bytes are, how good it is, what a release of it would be.")
    parser.add_argument("targets", nargs="+", metavar="SIG|PATH",
                        help="a Dora signature or a unique prefix of one, an XP folder, a checkpoint file, a release "
                             "folder, or a file of one")
    add_dora_dir(parser)
    parser.add_argument("--checkpoint", metavar="NAME", help="an epoch or a name, as in checkpoint_NAME.th")
    parser.add_argument("--diff", metavar="SIG|PATH", help="show how its configuration differs from that of another")
    parser.add_argument("--tensors", action="store_true", help=f"show all tensors, not the {MOST_TENSORS} largest")
    parser.add_argument("--values", action="store_true", help="read all weights, for NaN, infinity and damage")


def _inspect(args: argparse.Namespace) -> int:
    wrong = False
    other = lru_cache(maxsize=None)(partial(_config_of, args))
    for target in args.targets:
        for found in _found(target, args):
            try:
                if isinstance(found, ExportError):
                    raise found
                (_print_json if args.json else _print)(target, found, _differences(found, other()), args)
            except ExportError as exc:
                wrong = True
                print_target_error(target, exc, args.json, args.debug)
    return int(wrong)


def _found(target: str, args: argparse.Namespace) -> Iterator[Union[FileSummary, ExportError]]:
    """What is in each file of a target, or why that cannot be said: the others count all the same."""
    try:
        looks = _looks(target, args, args.checkpoint, args.values)
    except ExportError as exc:
        yield exc
        return
    for look in looks:
        try:
            found: Union[FileSummary, ExportError] = look()
        except ExportError as exc:
            found = exc
        yield found


def _looks(target: str, args: argparse.Namespace, checkpoint: Optional[str] = None,
           values: bool = False) -> list[Callable[[], FileSummary]]:
    """What to look into: the checkpoint of an experiment, or all files of a release."""
    from ...release.families.registry import OWN_NAMES
    from ...release.owned_files import is_torch_file, release_file_names
    from ..file_summary import SAFETENSORS, inspect, inspect_experiment
    folder = Path(target).parent if Path(target).name == MANIFEST and os.path.isfile(target) else Path(target)
    manifest = Manifest.load_or_none(folder)
    names = [name for name in release_file_names(manifest) if is_torch_file(name) or name.endswith(SAFETENSORS)] if manifest else \
        [name for name in OWN_NAMES if os.path.isfile(folder / name) and not os.path.isfile(folder / CHECKPOINT_FILE)]
    if names and checkpoint is not None:
        raise ReleaseError(f"{target} is a release: leave --checkpoint {checkpoint} out, or name its XP.")
    if names:
        return [partial(inspect, folder / name, values=values) for name in names]
    dora_dir = dora_dir_of(args)
    xp = find_experiment(target, dora_dir)
    if checkpoint is None and not os.path.isfile(target) and xp.is_untrained:
        return [partial(inspect_experiment, xp)]
    return [partial(inspect, source_of(target, xp, checkpoint), xp, codec_dora_dir(xp, args, dora_dir), values)]


def _config_of(args: argparse.Namespace) -> Optional[Config]:
    """The configuration to compare with, if there is to be one."""
    if args.diff is None:
        return None
    config = next((found.config for found in (look() for look in _looks(args.diff, args)) if found.config), None)
    if config is None:
        raise ReleaseError(f"{args.diff} holds no configuration to compare with: name its experiment for --diff.")
    return config


def _differences(found: FileSummary, other: Optional[Config]) -> list[tuple[str, str, str]]:
    from ..file_summary import differences
    if other is None:
        return []
    if found.config is None:
        raise ReleaseError(f"{found.path} holds no configuration to compare: leave --diff out.")
    return differences(found.config, other)


def _print_json(target: str, found: FileSummary, differences: Sequence[tuple[str, str, str]],
                args: argparse.Namespace) -> None:
    values = {"target": target, **found.to_dict(None if args.tensors else MOST_TENSORS)}
    if args.diff is not None:
        values["differences"] = [dict(zip(("key", "here", "there"), row)) for row in differences]
    print(json.dumps(values))


def _print(target: str, found: FileSummary, differences: Sequence[tuple[str, str, str]],
           args: argparse.Namespace) -> None:
    for name, text in _facts(found):
        print(printable(f"{name:<{NAME}}{text}"))
    if found.sections:
        print()
    print_table(SECTIONS, [[name, readable_size(nbytes), f"{nbytes / found.nbytes:.0%}", _bar(nbytes / found.nbytes)]
                    for name, nbytes in found.sections.items()])
    shown = found.largest(None if args.tensors else MOST_TENSORS)
    if shown:
        dtypes = Counter(tensor.dtype for tensor in found.tensors.values())
        counts = ", ".join(f"{count} {dtype}" for dtype, count in dtypes.most_common())
        print(f"\n{len(found.tensors)} tensors ({counts}), by size:")
        print_table(TENSORS, [[name, tensor.dtype, "x".join(map(str, tensor.shape)) or "-", readable_size(tensor.nbytes)]
                       for name, tensor in shown])
    if args.diff is not None:
        print()
        print(printable(f"Configuration: keys that differ from {args.diff}: {len(differences)}"))
        print_table(DIFFERENCES, differences)
    print()


def _facts(found: FileSummary) -> Iterator[tuple[str, str]]:
    if found.nbytes:
        yield found.kind.split()[-1], f"{found.path}, {readable_size(found.nbytes)}"
    else:
        yield "folder", str(found.path)
    if found.sig or found.solver:
        yield "experiment", f"{found.sig or 'without a signature'}, solver {found.solver or '?'}"
    if found.epochs is not None:
        yield "epochs", str(found.epochs)
    yield from _release_facts(found)
    yield from _metric_facts(found)
    for text in found.odd:
        yield "odd", text


def _release_facts(found: FileSummary) -> Iterator[tuple[str, str]]:
    manifest = found.manifest
    if manifest:
        yield "weights", f"{manifest.weights} ({manifest.why})"
        if manifest.codec:
            known = (f"{key} {value.get('name') if isinstance(value, dict) else value}"
                     for key, value in manifest.codec.items() if value is not None)
            yield "codec", f"{', '.join(known)}{_at_hand(found)}"
    if found.plan:
        from ..xp_summary import release_status
        name = None if found.path.name == CHECKPOINT_FILE else found.path.name
        state, _ = release_status(found.path.parent / RELEASE_FOLDER, found.path.parent, name)
        other = ", made with other options" if state == "fresh" and not found.plan.is_there else ""
        yield "release", f"{state}{other}; {'without codec ' if found.refused else ''}would have {found.plan.sizes}"
    elif manifest:
        yield "made", f"{manifest.time}, by audiocraft-export {manifest.versions.get('audiocraft-export')}"
    if found.refused:
        yield "release", f"none with the default options: {found.refused}" if found.nbytes else f"none: {found.refused}"


def _at_hand(found: FileSummary) -> str:
    """Whether the compression model of a release to be is there."""
    if not found.plan or not found.manifest or not found.manifest.codec:
        return ""
    return " (AudioCraft downloads it)" if "pretrained" in found.manifest.codec else " (at hand)"


def _metric_facts(found: FileSummary) -> Iterator[tuple[str, str]]:
    if not found.best:
        return
    valid, epoch = found.best["valid"], found.best["epoch"]
    if found.metric:
        text = f"best {valid[found.metric]:.4g} in epoch {epoch} of {found.epochs}"
        yield found.metric, f"{text}  {_curve(found.curve, _room() - len(text))}".rstrip()
    else:
        values = [f"{name} {value:.4g}" for name, value in valid.items() if is_number(value)]
        if values:
            yield "metrics", f"{listing(values)}, in epoch {epoch}"


def _room() -> int:
    """How many characters there are beside the names of facts."""
    return get_terminal_size().columns - NAME - 2 if sys.stdout.isatty() else sys.maxsize


def _bar(share: float) -> str:
    return ("█" if _is_unicode() else "#") * round(share * BAR)


def _curve(values: Sequence[Optional[float]], most: int = CURVE) -> str:
    """Values as a line of at most so many blocks, a few of them in one where there are many."""
    if not values:
        return ""
    blocks = BLOCKS if _is_unicode() else PLAIN_BLOCKS
    step = -(-len(values) // max(min(most, CURVE), 1))
    parts = [[value for value in values[first:first + step] if value is not None]
             for first in range(0, len(values), step)]
    lowest = [min(part) / 2 if part else None for part in parts]  # half of it: the difference of any two is finite
    known = [value for value in lowest if value is not None]
    low, span = min(known), max(known) - min(known) or 1.
    return "".join(" " if value is None else blocks[round((value - low) / span * (len(blocks) - 1))]
                   for value in lowest)


def _is_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") == "utf8"
