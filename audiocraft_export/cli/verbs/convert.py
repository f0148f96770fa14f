"""`audiocraft-export convert`: convert releases to another format without loss."""

import argparse
import os
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ...errors import OptionError
from ...options import AUDIOCRAFT, ExportOptions
from ..passphrase import check_key
from ..runner import Report, run_jobs
from ..targets import DoraDir, add_releases, distinct, find_release, folder_of_release_file

SUMMARY = "convert releases to another format"
DESCRIPTION = ("Convert release folders between AudioCraft's format and safetensors, without loss: converting "
               "back gives the same sha256.")
EXAMPLES = """\
examples (97d170e1 is the experiment of `make demo`):
  audiocraft-export convert 97d170e1 --to safetensors   the release of an XP
  audiocraft-export convert outputs/xps/97d170e1/export --to audiocraft
                                                        back, byte for byte
  audiocraft-export convert 97d1 --to safetensors --folder shared
                                                        into another folder
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert` to its parser."""
    what = parser.add_argument_group("what to convert")
    add_releases(what)
    where = parser.add_argument_group("where to")
    where.add_argument("--folder", type=os.path.expanduser,
                       help="output folder (default: replace the release in place)")
    where.add_argument("--force", action="store_true",
                       help="overwrite a release of another experiment in --folder (default: refuse)")
    form = parser.add_argument_group("format")
    form.add_argument("--to", required=True, choices=("audiocraft", "safetensors"), help="output format")
    form.add_argument("--max-shard-size", metavar="SIZE",
                      help="maximum size of a .safetensors shard (default: 5GB)")
    trust = parser.add_argument_group("trust")
    trust.add_argument("--sign", metavar="KEY", type=os.path.expanduser,
                       help="sign the new release with this private key, an EC key in a PEM file (default: no "
                            "signature)")


def execute(args: argparse.Namespace) -> int:
    """Convert the releases; return the exit code."""
    if args.max_shard_size is not None and args.to == AUDIOCRAFT:
        raise OptionError("conflicting-options", "--max-shard-size has no effect on --to audiocraft",
                          "omit --max-shard-size")
    check_key(args.sign)
    sizes = {} if args.max_shard_size is None else {"max_shard_size": args.max_shard_size}
    max_shard_size = ExportOptions(folder=args.folder, format=args.to, **sizes).max_shard_size
    dora_dir = DoraDir(args)
    args.targets = distinct(args.targets, partial(_find_folder, dora_dir=dora_dir))
    several = len(args.targets) > 1
    if several and args.folder is not None:
        raise OptionError("conflicting-options", "--folder takes a single release",
                          "convert the releases one by one, or omit --folder")
    jobs = [partial(_convert, target, dora_dir, args.to, args.folder, max_shard_size, args.force, sign=args.sign)
            for target in args.targets]
    return run_jobs(args.targets, jobs, None, args, several=several, noun="release")


def _convert(target: str, dora_dir: DoraDir, *args: Any, sign: Optional[str]) -> Report:
    from ...pipeline.convert import convert
    return convert(_find_folder(target, dora_dir), *args, sign=sign)


def _find_folder(target: str, dora_dir: DoraDir) -> Path:
    return folder_of_release_file(find_release(target, dora_dir))
