"""`audiocraft-export run`: export experiments."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from ... import progress
from ...errors import ExperimentError, ExportError, OptionError, printable
from ...experiment.xp import Experiment, each_xp, grid_xps
from ...options import CHOICES, ExportOptions
from ..output import print_err
from ..runner import Done, Job, run_jobs
from ..slurm import leave_or_cancel, sbatch_options
from ..targets import DoraDir, add_dora_dir, find_checkpoint, find_experiment, open_target

if TYPE_CHECKING:
    from ...jobs.batch import Executor
    from ...jobs.slurm import Slurm

SUMMARY = "export experiments"
DESCRIPTION = "Export experiments by signature, or XP folders and checkpoint files by path."
EXAMPLES = """\
examples:
  audiocraft-export run 9357e12e              one of ./outputs by its signature
  audiocraft-export run 9357 5ad2             several, by unique prefixes
  audiocraft-export run 9357 --dora-dir /xps  from another Dora folder
  audiocraft-export run 9357 -P audiocraft    from that of a training package
  audiocraft-export run old/checkpoint.th --folder release --dtype float16
  audiocraft-export run --all --jobs 2        all without an up-to-date release
  audiocraft-export run --all --dry-run       what that would write
  audiocraft-export run --grid lr_sweep       the XPs of a Dora grid
  audiocraft-export run --all --slurm partition=debug time=30
                                              by the cluster, an array
  audiocraft-export run --bands 3c9d 41aa 97d1 e0f2 --folder mbd
                                              several bands in one release
  audiocraft-export run 9357e12e --format transformers --scrub public \\
      --push-to-hub me/my-model               and everybody can load it
"""
HELP = {
    "folder": "where the release goes (default: the folder `export` of the XP); with several XPs, one folder a "
              "signature inside it",
    "weights": "best, ema, last, or any section of the checkpoint that holds tensors (default: best)",
    "checkpoint": "an epoch or a name NAME, as in checkpoint_NAME.th (default: checkpoint.th)",
    "dtype": "of floating point tensors (default: as stored)",
    "codec": "put the compression model beside a language model, or not",
    "verify": "read the bytes back, or also rebuild the model with the library that it is for, or neither",
    "version": "AudioCraft version tag (default: the installed one)",
    "format": "for whom it is: AudioCraft's loaders, whoever reads safetensors, or transformers",
    "max_shard_size": "of a file of safetensors: a larger model gets several (default: 5GB)",
    "card": "write a model card, README.md, or not (default: for all formats but audiocraft)",
    "scrub": "leave keys of the configuration out, such as wandb or 'dataset.*.path'; public: all that nobody needs to "
             "load the model; may be given several times",
    "hub": "push the release to this repository of the Hugging Face Hub",
    "private": "make that repository private, if it is new",
    "metric": "by which the training selects its best state, where that is not known: NAME or STAGE.NAME, and :max if "
              "the highest is the best",
    "revision": "push to this branch of it (default: main)",
    "family": "release the model as one of a solver of AudioCraft (musicgen, compression, ...), or as a `general` one "
              "(default: what the configuration says)",
    "config": "YAML file with the configuration of a checkpoint that holds none, such as a bare state dict",
    "force": "replace a release of another experiment in the release folder",
}
SHAPES: dict[str, dict[str, Any]] = {
    "card": {"action": argparse.BooleanOptionalAction}, "private": {"action": argparse.BooleanOptionalAction},
    "scrub": {"action": "append", "metavar": "PATTERN"}, "force": {"action": "store_true"},
}
METAVARS = {"hub": "ORG/NAME", "revision": "BRANCH", "max_shard_size": "SIZE", "metric": "NAME[:max]", "family": "NAME",
            "weights": "SECTION[.PART]", "config": "FILE"}


@dataclass(frozen=True)
class ExportJob:
    """The export of one target, or its dry run, in whichever process it is called."""

    name: str  # of the target
    xp: Experiment
    source: Path  # the checkpoint
    folder: Path  # the release folder
    options: ExportOptions
    codec_dora_dir: Optional[Path]  # where `//sig/` is looked up, if not in the Dora folder of the experiment
    is_foreign: bool  # whether the checkpoint may be of another experiment than the folder that it lies in
    dry_run: bool
    any_options: bool = False  # whether an up-to-date release stays that was made with other options

    def __call__(self) -> Done:
        """Do it."""
        from ...checkpoint.checkpoint import open_checkpoint, open_experiment
        from ...pipeline.export import export, plan_export
        with progress.track(printable(self.name)):
            config = self.options.config
            checkpoint = open_checkpoint(self.source, config) if self.is_foreign else open_experiment(
                self.xp, self.source, config)
            do = plan_export if self.dry_run else export
            return do(checkpoint, self.xp.folder, self.folder, self.options, self.codec_dora_dir,
                      any_options=self.any_options)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb to its parser."""
    parser.add_argument("targets", nargs="*", metavar="SIG|PATH",
                        help="a Dora signature or a unique prefix of one, an XP folder, or a checkpoint file")
    parser.add_argument("--all", action="store_true",
                        help="all XPs of the Dora folder that have the checkpoint and no up-to-date release")
    parser.add_argument("--grid", metavar="NAME", help="the XPs of a grid, as the last `dora grid NAME` left them")
    parser.add_argument("--dry-run", action="store_true", help="say what would be exported, and touch no file")
    add_dora_dir(parser)
    for field in ExportOptions.of_one_export():
        choices = ",".join(filter(None, CHOICES.get(field.name, ())))
        metavar = METAVARS.get(field.name) or (f"{{{choices}}}" if choices else field.name.upper())
        parser.add_argument(ExportOptions.flag_of(field.name), dest=field.name, default=field.default,
                            help=HELP[field.name], **SHAPES.get(field.name, {"type": _value, "metavar": metavar}))
    parser.add_argument("--bands", action="store_true",
                        help="the experiments are the bands of one MultiBand Diffusion, in their order: make one "
                             "release of them, in --folder")
    parser.add_argument("--jobs", type=_positive, metavar="N",
                        help="export so many at once (default: 1; with --slurm, all that Slurm lets)")
    parser.add_argument("--slurm", nargs="*", action="extend", metavar="KEY=VALUE",
                        help="export on the cluster, one task of an array an XP: partition=, time=, mem_gb=, cpus=, or "
                             "any option of sbatch")
    parser.add_argument("--chunk", type=_positive, metavar="N", help="with --slurm: one task for so many XPs")


def execute(args: argparse.Namespace) -> int:
    """Do what the verb says; gives the exit code."""
    options = ExportOptions(**{field.name: getattr(args, field.name) for field in ExportOptions.of_one_export()})
    _take_targets_from_slurm(args)
    _check_usage(args)
    dora_dir = DoraDir(args)
    slurm = _slurm(args, dora_dir)  # before anything is looked for: that there is no Slurm is said at once
    if args.grid is not None:
        args.targets = [str(xp.folder) for xp in grid_xps(args.grid, dora_dir.path)]
    if args.all:
        args.targets = [str(xp.folder) for xp in each_xp(dora_dir.path) if _needs_export(xp, options)]
        if not args.targets:
            print_err(f"Nothing to export in {dora_dir.path}: each checkpoint that is there has an up-to-date release; "
                      "to make one with other options, name its XP.")
            return 0
    if args.bands:
        job = partial(_export_bands, args.targets, dora_dir, options)
        return run_jobs([" ".join(args.targets)], [job], None, args, table=False)
    # Those that were found are paths: a file or folder here may be called like one of them.
    names = [Path(target).name for target in args.targets] if _is_search(args) else args.targets
    jobs = _jobs(args, names, dora_dir, options)
    executor = slurm.run if slurm else _local(args, jobs)
    with leave_or_cancel(slurm) if slurm else nullcontext():
        return run_jobs(names, jobs, executor, args, table=len(jobs) > 1 or _is_search(args))


def _take_targets_from_slurm(args: argparse.Namespace) -> None:
    """Take for targets what stands behind --slurm and is no setting: argparse cannot know."""
    if args.slurm is not None:
        settings = [text for text in args.slurm if re.match(r"[a-z][a-z_-]*=", text) and not os.path.exists(text)]
        args.targets += [text for text in args.slurm if text not in settings]
        args.slurm = settings


def _check_usage(args: argparse.Namespace) -> None:
    if [bool(args.targets), args.all, args.grid is not None].count(True) != 1:
        raise OptionError("run exports experiments by signature or path, or --all, or those of a --grid: give one of "
                          "these.")
    if args.bands and (_is_search(args) or args.dry_run):
        raise OptionError("--bands takes the experiments in their order, and exports them: leave --all, --grid and "
                          "--dry-run out.")
    if args.bands and args.folder is None:
        raise OptionError("--bands makes one release of several experiments: say where it goes with --folder.")
    if args.bands and args.slurm is not None:
        raise OptionError("--bands makes one release: leave --slurm out.")
    if args.hub and not args.bands and (_is_search(args) or len(args.targets) > 1):
        raise OptionError("--push-to-hub names the repository of one release: export these experiments one by one.")
    if args.chunk and args.slurm is None:
        raise OptionError("--chunk says how many experiments one task of --slurm exports: give both.")


def _slurm(args: argparse.Namespace, dora_dir: DoraDir) -> Optional[Slurm]:
    options = None if args.slurm is None else sbatch_options(args.slurm)
    if options is None or args.dry_run:
        return None
    from ...jobs.slurm import FOLDER, Slurm
    folder = Path(options.pop("folder", dora_dir.path / FOLDER))
    return Slurm(options, folder, args.chunk or 1, args.jobs)


def _local(args: argparse.Namespace, jobs: Sequence[Union[Job, ExportError]]) -> Optional[Executor]:
    exports = sum(not isinstance(job, ExportError) for job in jobs)
    if min(args.jobs or 1, exports) <= 1:
        return None
    from ...jobs.local import run_in_workers
    return partial(run_in_workers, args.jobs)


def _is_search(args: argparse.Namespace) -> bool:
    """Whether the experiments are to be found, and not named."""
    return args.all or args.grid is not None


def _needs_export(xp: Experiment, options: ExportOptions) -> bool:
    """Whether an experiment has the checkpoint, and no up-to-date release where it would go, whatever its options.

    One that does not identify its checkpoint is compared with it by the export.
    """
    from ...release.status import UP_TO_DATE, release_status
    path, folder = xp.checkpoint_path(options.checkpoint), _release_folder(xp.folder, options, several=True)
    name = None if options.checkpoint is None else path.name
    status = release_status(folder, xp.folder, name=name)
    is_known = status.manifest is not None and status.manifest.is_identified
    return os.path.isfile(path) and not (status.state == UP_TO_DATE and is_known)


def _export_bands(targets: Sequence[str], dora_dir: DoraDir, options: ExportOptions) -> Done:
    from ...pipeline.export import export_bands
    bands = [open_target(target, dora_dir, options.checkpoint, options.config)[1] for target in targets]
    return export_bands(bands, Path(str(options.folder)), options)


def _jobs(args: argparse.Namespace, names: Sequence[str], dora_dir: DoraDir,
          options: ExportOptions) -> list[Union[Job, ExportError]]:
    """The export of each target, or the error why it cannot be done.

    Raises:
        ExperimentError: if two of them would go to the same folder.
    """
    jobs: list[Union[Job, ExportError]] = []
    by_folder: dict[str, ExportJob] = {}
    for target, name in zip(args.targets, names):
        try:
            job = _job(target, name, args, dora_dir, options)
            jobs.append(job)
        except ExportError as exc:
            jobs.append(exc)
            continue
        other = by_folder.setdefault(os.path.realpath(job.folder), job)
        if os.path.realpath(other.source) != os.path.realpath(job.source):
            raise ExperimentError(f"{name} would overwrite the release of {other.name} in {job.folder}: export it in a "
                                  "call of its own, with its own --folder.")
    return jobs


def _job(target: str, name: str, args: argparse.Namespace, dora_dir: DoraDir, options: ExportOptions) -> ExportJob:
    if _is_search(args) and not os.path.isdir(target):
        where = "the Dora folder" if args.all else f"the grid {args.grid}"
        raise ExperimentError(f"{target} is not there, though {where} has it: it was removed, or never started.")
    xp = find_experiment(target, dora_dir)
    source = find_checkpoint(target, xp, options.checkpoint)
    folder = _release_folder(xp.folder, options, several=_is_search(args) or len(args.targets) > 1)
    return ExportJob(name, xp, source, folder, options, dora_dir.for_codec(xp), dry_run=args.dry_run,
                     any_options=args.all, is_foreign=bool(options.folder) and os.path.isfile(target))


def _release_folder(xp_folder: Path, options: ExportOptions, several: bool) -> Path:
    """Where the release of an XP folder goes: that of one of several to a folder of its own."""
    home = xp_folder.absolute()
    folder = options.release_folder(home).absolute()
    return folder / home.name if several and options.folder else folder


def _value(text: str) -> Optional[str]:
    return None if text == "null" else text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return int(text)
