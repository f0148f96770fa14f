"""`audiocraft-export verify`: are releases what they say they are?"""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ...errors import ExportError, listing, printable
from ...experiment.xp import MANIFEST
from ..limits import MAX_PROBLEMS
from ..output import print_err, print_error
from ..targets import DoraDir, add_dora_dir, open_target

Problems = Sequence[tuple[Optional[str], str]]  # each a key of a file, and what is wrong
SUMMARY = "prove that releases are sound"
DESCRIPTION = ("Read releases as a whole, and say of each file whether it is what it should be: manifest, sha256, "
               "CRC-32, keys, tensors, whether torch loads it.")
EXAMPLES = """\
examples:
  audiocraft-export verify outputs/xps/*/export        all of a Dora folder
  audiocraft-export verify release --against 9357e12e  with that checkpoint
  audiocraft-export verify release --load              also rebuild the model
  audiocraft-export verify release/state_dict.bin      one file, of any origin
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("targets", nargs="+", metavar="FOLDER|FILE", help="release folders, or files of releases")
    parser.add_argument("--against", metavar="SIG|PATH",
                        help="also compare with the checkpoint of this XP, or this file, tensor by tensor")
    parser.add_argument("--load", action="store_true",
                        help="also rebuild the models with AudioCraft's own loaders, strictly")
    parser.add_argument("--config", metavar="FILE",
                        help="with --against: the configuration of a checkpoint without one")
    add_dora_dir(parser)


def execute(args: argparse.Namespace) -> int:
    """Do what the verb says; gives the exit code."""
    dora_dir = DoraDir(args)
    wrong: list[str] = []
    count = 0
    for target in args.targets:
        try:
            files = _check(Path(target), args, dora_dir)
        except ExportError as exc:
            print_error(exc, args.debug)
            if args.json:
                _print(target, [(None, str(exc))], as_json=True)
            wrong.append(target)
            continue
        for file, (problems, nonfinite) in files.items():
            _print(file, problems, args.json, nonfinite)
        wrong += [file for file, (problems, _) in files.items() if problems]
        count += len(files)
    if len(args.targets) > 1:
        result = f"; wrong: {printable(listing(wrong))}." if wrong else ", nothing is wrong."
        print_err(f"{count} files{result}")
    return int(bool(wrong))


def _check(path: Path, args: argparse.Namespace, dora_dir: DoraDir) -> dict[str, tuple[Problems, int]]:
    """The problems and the number of NaN and infinite values of each file of a release folder, or of one file."""
    from ...verification.release import check_rebuild, verify
    found = verify(path)
    problems = [*found.problems]
    if found.ok and args.load:
        problems += check_rebuild(path)
    if found.ok and args.against is not None and (os.path.isdir(path) or path.name != MANIFEST):
        from ...verification.against_checkpoint import checkpoint_of, compare_with_checkpoint
        name = None if os.path.isfile(args.against) else checkpoint_of(path)
        xp, checkpoint = open_target(args.against, dora_dir, name, args.config)
        compared = compare_with_checkpoint(path, checkpoint, xp.folder, dora_dir.for_codec(xp))
        problems += compared.problems
        for note in compared.notes:
            print_err(f"{path}: {note}")
    folder, names = (path, [*found.files, MANIFEST]) if os.path.isdir(path) else (path.parent, found.files)
    return {str(folder / name): ([(problem.key, problem.what) for problem in problems if problem.file == name],
                                found.nonfinite_by_file.get(name, 0))
            for name in [*names, *(problem.file for problem in problems)]}


def _print(file: str, problems: Problems, as_json: bool, nonfinite: int = 0) -> None:
    if as_json:
        print(json.dumps({"file": file, "ok": not problems, "nonfinite": nonfinite,
                          "problems": [{"key": key, "what": what} for key, what in problems]}))
        return
    said = [f"{key} {what}" if key else what for key, what in problems] or ["sound"]
    if len(said) > MAX_PROBLEMS:
        said[MAX_PROBLEMS:] = [f"and {len(said) - MAX_PROBLEMS} more like these"]
    said += [f"{nonfinite} values are NaN or infinite"] if nonfinite else []
    print(printable(f"{file}: {'; '.join(said)}"))
