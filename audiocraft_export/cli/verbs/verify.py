"""`audiocraft-export verify`: are releases what they say they are?"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ...errors import ExportError, listing, printable
from ...experiment.xp import MANIFEST
from ..limits import MAX_PROBLEMS
from ..output import print_err, print_error
from ..parser import add_verb
from ..targets import DoraDir, add_dora_dir, open_target

if TYPE_CHECKING:
    from ...verification.file import Problem

EXAMPLES = """\
examples:
  audiocraft-export verify outputs/xps/*/export        all of a Dora folder
  audiocraft-export verify release --against 9357e12e  with that checkpoint
  audiocraft-export verify release --load              also rebuild the model
  audiocraft-export verify release/state_dict.bin      one file, of any origin
"""


def add(verbs: Any) -> None:
    """Add the verb to a parser."""
    parser = add_verb(verbs, "verify", _verify, examples=EXAMPLES, summary="prove that releases are sound",
                      description="Read releases as a whole, and say of each file whether it is what it should be: "
                                  "manifest, sha256, CRC-32, keys, tensors, whether torch loads it.")
    parser.add_argument("targets", nargs="+", metavar="FOLDER|FILE", help="release folders, or files of releases")
    parser.add_argument("--against", metavar="SIG|PATH",
                        help="also compare with the checkpoint of this XP, or this file, tensor by tensor")
    parser.add_argument("--load", action="store_true",
                        help="also rebuild the models with AudioCraft's own loaders, strictly")
    add_dora_dir(parser)


def _verify(args: argparse.Namespace) -> int:
    dora_dir = DoraDir(args)
    wrong: list[str] = []
    count = 0
    for target in args.targets:
        try:
            files = _check(Path(target), args, dora_dir)
        except ExportError as exc:
            print_error(exc, args.debug)
            if args.json:
                _print_json(target, [(None, str(exc))])
            wrong.append(target)
            continue
        for path, problems in files.items():
            _print(path, problems, args.json)
        wrong += [str(path) for path, problems in files.items() if problems]
        count += len(files)
    if len(args.targets) > 1:
        result = f"; wrong: {printable(listing(wrong))}." if wrong else ", nothing is wrong."
        print_err(f"{count} files{result}")
    return int(bool(wrong))


def _check(path: Path, args: argparse.Namespace, dora_dir: DoraDir) -> dict[Path, list[Problem]]:
    """What is wrong with each file of a release folder, or with one file."""
    from ...verification.release import verify
    found = verify(path)
    problems = found.problems or [*_further_problems(path, args, dora_dir)]
    names = [*found.files]
    if os.path.isdir(path):
        names.append(MANIFEST)
    names += [problem.file for problem in problems]
    folder = path if os.path.isdir(path) else path.parent
    return {folder / name: [problem for problem in problems if problem.file == name] for name in names}


def _further_problems(path: Path, args: argparse.Namespace, dora_dir: DoraDir) -> Iterator[Problem]:
    """What is wrong with a sound release when it is rebuilt, and compared with a checkpoint."""
    if args.load:
        from ...verification.release import check_rebuild
        yield from check_rebuild(path)
    if args.against is not None and (os.path.isdir(path) or path.name != MANIFEST):
        from ...verification.against_checkpoint import checkpoint_of, diff_with_checkpoint
        name = None if os.path.isfile(args.against) else checkpoint_of(path)
        xp, checkpoint = open_target(args.against, dora_dir, name)
        yield from diff_with_checkpoint(path, checkpoint, xp.folder, dora_dir.for_codec(xp))


def _print(path: Path, problems: Sequence[Problem], as_json: bool) -> None:
    if as_json:
        _print_json(str(path), [(problem.key, problem.what) for problem in problems])
        return
    said = [f"{problem.key} {problem.what}" if problem.key else problem.what for problem in problems]
    if len(said) > MAX_PROBLEMS:
        said[MAX_PROBLEMS:] = [f"and {len(said) - MAX_PROBLEMS} more like these"]
    print(printable(f"{path}: {'; '.join(said) or 'sound'}"))


def _print_json(file: str, problems: Sequence[tuple[Optional[str], str]]) -> None:
    print(json.dumps({"file": file, "ok": not problems,
                      "problems": [{"key": key, "what": what} for key, what in problems]}))
