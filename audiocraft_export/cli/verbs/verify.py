"""`audiocraft-export verify`: are releases what they say they are?"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ...errors import ExportError, ReleaseError, listing, printable, reason
from ...experiment.xp import MANIFEST
from ...release.manifest import Manifest
from ..output import print_err, print_error
from ..parser import add_verb
from ..targets import add_dora_dir, codec_dora_dir, dora_dir_of, open_target

if TYPE_CHECKING:
    from ...verification.file import Problem

MOST_PROBLEMS = 4  # of a file, in its line
EXAMPLES = """\
examples:
  audiocraft-export verify outputs/xps/*/export        all of a Dora folder
  audiocraft-export verify release --against 9357e12e  with that checkpoint
  audiocraft-export verify release --load              also rebuild the model
  audiocraft-export verify release/state_dict.bin      one file, of any origin
"""


def add(verbs: Any) -> None:
    """Add the verb to a parser."""
    parser = add_verb(verbs, "verify", _verify, examples=EXAMPLES, help="prove that releases are sound",
                      description="Read releases as a whole, and say of each file whether it is what it should be: "
                                  "manifest, sha256, CRC-32, keys, tensors, whether torch loads it.")
    parser.add_argument("targets", nargs="+", metavar="FOLDER|FILE", help="release folders, or files of releases")
    parser.add_argument("--against", metavar="SIG|PATH",
                        help="also compare with the checkpoint of this XP, or this file, tensor by tensor")
    parser.add_argument("--load", action="store_true",
                        help="also rebuild the models with AudioCraft's own loaders, strictly")
    add_dora_dir(parser)


def _verify(args: argparse.Namespace) -> int:
    from ...verification.release import verify
    dora_dir = dora_dir_of(args)
    wrong, files = [], 0
    for target in args.targets:
        try:
            found = verify(target)
            problems = [*found.problems, *(() if found.problems else _further(Path(target), args, dora_dir))]
        except ExportError as exc:
            print_error(exc, args.debug)
            if args.json:
                print(json.dumps({"file": target, "ok": False, "problems": [{"key": None, "what": str(exc)}]}))
            wrong.append(target)
            continue
        folder = Path(target) if os.path.isdir(target) else Path(target).parent
        names = dict.fromkeys([*found.files, *([MANIFEST] if os.path.isdir(target) else []),
                               *(problem.file for problem in problems)])
        for name in names:
            bad = [problem for problem in problems if problem.file == name]
            _show(folder / name, bad, args.json)
            wrong += [str(folder / name)] if bad else []
            files += 1
    if len(args.targets) > 1:
        print_err(f"{files} files; wrong: {printable(listing(wrong))}." if wrong else f"{files} files, nothing is wrong.")
    return 1 if wrong else 0


def _show(path: Path, problems: list[Problem], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"file": str(path), "ok": not problems,
                          "problems": [{"key": problem.key, "what": problem.what} for problem in problems]}))
    else:
        said = [f"{problem.key} {problem.what}" if problem.key else problem.what for problem in problems]
        more = [f"and {len(said) - MOST_PROBLEMS} more like these"] if len(said) > MOST_PROBLEMS else []
        wrong = "; ".join([*said[:MOST_PROBLEMS], *more])
        print(printable(f"{path}: {wrong or 'sound'}"))


def _further(path: Path, args: argparse.Namespace, dora_dir: Callable[[], Path]) -> Iterator[Problem]:
    """What is wrong beyond that: rebuilt, and beside a checkpoint."""
    if args.load:
        yield from _load_problems(path)
    if args.against is not None and (os.path.isdir(path) or path.name != MANIFEST):
        from ...verification.against_checkpoint import checkpoint_of, diff_with_checkpoint
        name = None if os.path.isfile(args.against) else checkpoint_of(path)
        xp, checkpoint = open_target(args.against, dora_dir, name)
        yield from diff_with_checkpoint(path, checkpoint, xp.folder, codec_dora_dir(xp, args, dora_dir))


def _load_problems(path: Path) -> Iterator[Problem]:
    from ...formats.registry import require_loader, verify_loads
    from ...release.families.registry import family_named
    from ...verification.file import Problem
    if not os.path.isdir(path):
        raise ReleaseError(f"--load rebuilds what a whole release folder holds, and {path} is a file: name its folder.")
    manifest = Manifest.load(path)
    family = family_named(manifest.solver)
    names = [file.name for file in manifest.files]
    require_loader(manifest.release_format, family)
    try:
        verify_loads(manifest.release_format, path, family, names)
    except ReleaseError as exc:
        yield Problem(names[0], None, f"is not rebuilt ({reason(exc)})")
