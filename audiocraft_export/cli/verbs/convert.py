"""`audiocraft-export convert`: a release in another format, without loss."""

import argparse
from functools import partial

from ...errors import OptionError
from ...options import ExportOptions
from ..runner import run_jobs

SUMMARY = "make releases of another format of some"
DESCRIPTION = ("Convert release folders between AudioCraft's format and safetensors, without loss: what comes back has "
               "the same sha256.")
EXAMPLES = """\
examples:
  audiocraft-export convert outputs/xps/9357e12e/export --to safetensors
  audiocraft-export convert release --to audiocraft    and back, byte for byte
  audiocraft-export convert release --to safetensors --folder shared
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("targets", nargs="+", metavar="FOLDER", help="release folders")
    parser.add_argument("--to", required=True, choices=("audiocraft", "safetensors"), help="the format")
    parser.add_argument("--folder", help="where the release goes (default: the same folder, in the place of the other)")
    parser.add_argument("--max-shard-size", default=ExportOptions.max_shard_size, metavar="SIZE",
                        help="of a file of safetensors: a larger model gets several (default: 5GB)")
    parser.add_argument("--force", action="store_true", help="replace a release of another experiment in that folder")


def execute(args: argparse.Namespace) -> int:
    """Do what the verb says; gives the exit code."""
    from ...pipeline.convert import convert
    max_shard_size = ExportOptions(max_shard_size=args.max_shard_size).max_shard_size
    args.dry_run = False  # for what `run_jobs` says at the end
    several = len(args.targets) > 1
    if several and args.folder:
        raise OptionError("--folder takes one release: convert these one by one, or leave it out.")
    jobs = [partial(convert, target, args.to, args.folder, max_shard_size, args.force) for target in args.targets]
    return run_jobs(args.targets, jobs, None, args, table=several)
