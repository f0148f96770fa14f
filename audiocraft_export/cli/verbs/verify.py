"""`audiocraft-export verify`: check releases against their manifest, and against their checkpoint."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from ...errors import ExportError, OptionError, listing, plural, printable, show_warning
from ...experiment.xp import CHECKPOINT_NAME, MANIFEST
from ..limits import MAX_PROBLEMS
from ..output import is_quiet, print_json, print_note, print_target_error
from ..targets import DoraDir, add_releases, distinct, find_release, find_source, open_target

if TYPE_CHECKING:
    from ...verification.weights import ReleaseWeights

Problems = Sequence[tuple[Optional[str], str]]  # each a key of a file, and a description
SUMMARY = "check that releases are intact"
DESCRIPTION = ("Read all files of releases and check each one: manifest, sha256, CRC-32, keys, tensors, and whether "
               "torch would load it.")
EXAMPLES = """\
examples (97d170e1 is the experiment of `make demo`):
  audiocraft-export verify 97d170e1                the release of an XP
  audiocraft-export verify outputs/xps/*/export    all of a Dora folder
  audiocraft-export verify outputs/xps/97d170e1/export/state_dict.bin
  audiocraft-export verify 97d1 --against 97d1     also compare with the XP
  audiocraft-export verify FOLDER --load           also load the model
  audiocraft-export verify 97d1 --same-as FOLDER   the same weights?
  audiocraft-export verify FOLDER --key pub.pem    also check its signature
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `verify` to its parser."""
    what = parser.add_argument_group("what to verify")
    add_releases(what)
    checks = parser.add_argument_group("more checks")
    checks.add_argument("--load", action="store_true",
                        help="also load the models with AudioCraft (and with transformers, for that format), and "
                             "compare them")
    checks.add_argument("--against", metavar="SIG|PATH", type=os.path.expanduser,
                        help="also compare with the checkpoint of an XP, or a checkpoint file, tensor by tensor")
    checks.add_argument("--same-as", metavar="SIG|PATH", type=os.path.expanduser,
                        help="also compare the weights with those of another release; one may have the format "
                             "audiocraft, and the other safetensors")
    checks.add_argument("--key", metavar="FILE", type=os.path.expanduser,
                        help="also check the signature with this public key, in a PEM file; a release without a "
                             "signature fails")
    checks.add_argument("--config", metavar="FILE", type=os.path.expanduser,
                        help="with --against: YAML file with the configuration, for a checkpoint without one")


def execute(args: argparse.Namespace) -> int:
    """Verify the targets; return the exit code."""
    if args.config is not None and args.against is None:
        raise OptionError("conflicting-options", "--config requires --against",
                          "add --against SIG|PATH, or omit --config")
    if args.same_as is not None and CHECKPOINT_NAME.fullmatch(os.path.basename(args.same_as)):
        raise OptionError("wrong-target", f"--same-as compares with a release, and {args.same_as} is a checkpoint",
                          f"use --against {args.same_as}")
    dora_dir = DoraDir(args)
    targets = distinct(args.targets, partial(find_release, dora_dir=dora_dir))
    other = cache(partial(_read_other, args, dora_dir))
    wrong: list[str] = []
    count = 0
    for target in targets:
        try:
            files, digest, signed = _check(find_release(target, dora_dir), args, dora_dir, other)
        except ExportError as exc:
            print_target_error(target, exc, args.json, args.debug, len(args.targets) > 1)
            wrong.append(target)
            continue
        for file, (problems, nonfinite) in files.items():
            if args.json:
                print_json(target=target, file=os.path.abspath(file), ok=not problems,
                           nonfinite=None if problems else nonfinite, content_digest=digest, signature=signed,
                           problems=[{"key": key, "message": message} for key, message in problems])
            elif problems or not is_quiet():
                print(_line(file, problems, nonfinite))
        wrong += [file for file, (problems, _) in files.items() if problems]
        count += len(files)
    if len(targets) > 1:
        result = f"; failed: {printable(listing(wrong))}." if wrong else ", all intact."
        print_note(f"{count} files checked{result}")
    return int(bool(wrong))


def _read_other(args: argparse.Namespace, dora_dir: DoraDir) -> ReleaseWeights:
    """Read the weights of the release that --same-as names."""
    from ...verification.weights import read_weights
    return read_weights(find_release(args.same_as, dora_dir))


def _check(path: Path, args: argparse.Namespace, dora_dir: DoraDir, other: Callable[[], ReleaseWeights],
           ) -> tuple[dict[str, tuple[Problems, int]], Optional[str], Optional[str]]:
    """Verify a release folder, or one file.

    Args:
        path: the folder or the file.
        args: the arguments of the command.
        dora_dir: the Dora folder, for the experiment of --against.
        other: returns the weights of the release of --same-as.

    Returns:
        The problems of each file with its count of NaN/inf values, the content digest if it was computed, and the
        result of the check of the signature if it was checked.
    """
    from ...release.owned_files import folder_of
    from ...verification.release import check_rebuild, experiment_problems, verify
    found = verify(path, key=args.key)
    problems, digest = [*(found.problems or experiment_problems(path))], None
    if found.ok and args.load:
        problems += check_rebuild(path)
    if found.ok and args.against is not None and (os.path.isdir(path) or path.name != MANIFEST):
        from ...verification.against_checkpoint import checkpoint_of, compare_with_checkpoint
        against = find_source(args.against, dora_dir)
        name = None if os.path.isfile(against) else checkpoint_of(path)
        xp, checkpoint = open_target(against, dora_dir, name, args.config)
        compared = compare_with_checkpoint(path, checkpoint, xp.folder, dora_dir.for_codec(xp))
        problems += compared.problems
        for note in compared.notes:
            print_note(show_warning(note, str(path)))
    if found.ok and args.same_as is not None:
        from ...verification.weights import compare_weights, read_weights
        weights = read_weights(path)
        problems += compare_weights(weights, other())
        digest = weights.digest
    folder = folder_of(path)
    names = [*found.files, MANIFEST] if os.path.isdir(path) else found.files
    files: dict[str, tuple[Problems, int]] = {
        str(folder / name): ([(problem.key, problem.what) for problem in problems if problem.file == name],
                             found.nonfinite_by_file.get(name, 0))
        for name in [*names, *(problem.file for problem in problems)]}
    return files, digest, None if found.signed is None else "valid" if found.signed else "invalid"


def _line(file: str, problems: Problems, nonfinite: int) -> str:
    """Return the result of a file as shown to people."""
    said = [f"{key}: {what}" if key else what for key, what in problems] or ["intact"]
    if len(said) > MAX_PROBLEMS:
        said[MAX_PROBLEMS:] = [f"and {len(said) - MAX_PROBLEMS} more"]
    said += [f"{nonfinite} NaN/inf {plural(nonfinite, 'value')}"] if nonfinite else []
    return printable(f"{file}: {'; '.join(said)}")
