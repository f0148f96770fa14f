"""`audiocraft-export run`: export experiments."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from ... import progress
from ...errors import ExperimentError, ExportError, OptionError, printable
from ...experiment.xp import Experiment, each_xp, grid_xps
from ...options import CHOICES, ExportOptions
from ..output import print_err
from ..parser import add_verb
from ..runner import Done, Job, run_jobs
from ..targets import add_dora_dir, codec_dora_dir, dora_dir_of, find_target, open_target

if TYPE_CHECKING:
    from ...jobs.batch import Executor
    from ...release.report import ExportReport, Plan

SETTING = re.compile(r"[a-z][a-z_-]*=")
EXAMPLES = """\
examples:
  audiocraft-export run 9357e12e              one of ./outputs by its signature
  audiocraft-export run 9357 5ad2             several, by unique prefixes
  audiocraft-export run 9357 --dora-dir /xps  from another Dora folder
  audiocraft-export run 9357 -P audiocraft    from that of a training package
  audiocraft-export run old/checkpoint.th --folder release --dtype float16
  audiocraft-export run --all --jobs 2        all without a fresh release
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
    "weights": "which weights",
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
    "revision": "push to this branch of it (default: main)",
}
SHAPES: dict[str, dict[str, Any]] = {
    "card": {"action": argparse.BooleanOptionalAction}, "private": {"action": argparse.BooleanOptionalAction},
    "scrub": {"action": "append", "metavar": "PATTERN"}, "hub": {"metavar": "ORG/NAME"},
    "revision": {"metavar": "BRANCH"}, "max_shard_size": {"metavar": "SIZE"},
}


def add(verbs: Any) -> None:
    """Add the verb to a parser."""
    parser = add_verb(verbs, "run", _run, examples=EXAMPLES, help="export experiments",
                      description="Export experiments by signature, or XP folders and checkpoint files by path.")
    parser.add_argument("targets", nargs="*", metavar="SIG|PATH",
                        help="a Dora signature or a unique prefix of one, an XP folder, or a checkpoint file")
    parser.add_argument("--all", action="store_true",
                        help="all XPs of the Dora folder that have the checkpoint and no fresh release")
    parser.add_argument("--grid", metavar="NAME", help="the XPs of a grid, as the last `dora grid NAME` left them")
    parser.add_argument("--dry-run", action="store_true", help="say what would be exported, and touch no file")
    add_dora_dir(parser)
    for field in ExportOptions.of_one_export():
        valid = [value for value in CHOICES.get(field.name, ()) if value]
        shape: dict[str, Any] = SHAPES.get(field.name) or {
            "type": _value, "metavar": "{" + ",".join(valid) + "}" if valid else field.name.upper()}
        parser.add_argument(ExportOptions.flag_of(field.name), dest=field.name, default=field.default,
                            help=HELP[field.name], **shape)
    parser.add_argument("--bands", action="store_true",
                        help="the experiments are the bands of one MultiBand Diffusion, in their order: make one "
                             "release of them, in --folder")
    parser.add_argument("--jobs", type=_positive, metavar="N",
                        help="export so many at once (default: 1; with --slurm, all that Slurm lets)")
    parser.add_argument("--slurm", nargs="*", action="extend", metavar="KEY=VALUE",
                        help="export on the cluster, one task of an array an XP: partition=, time=, mem_gb=, cpus=, or "
                             "any option of sbatch")
    parser.add_argument("--chunk", type=_positive, metavar="N", help="with --slurm: one task for so many XPs")


def _run(args: argparse.Namespace) -> int:
    options = ExportOptions(**{field.name: getattr(args, field.name) for field in ExportOptions.of_one_export()})
    _take_targets_from_slurm(args)
    _refuse_what_makes_no_sense(args)
    slurm = _slurm(args)
    if _is_search(args):
        xps: Iterable[Experiment] = (
            _not_exported(args, options) if args.all else grid_xps(args.grid, dora_dir_of(args)()))
        args.targets = [str(xp.folder) for xp in xps]  # a file or folder here may be called like one of them
        if not args.targets:
            print_err(f"Nothing to export in {dora_dir_of(args)()}: each checkpoint that is there has a fresh release; to "
                "make one with other options, name its XP.")
            return 0
    if args.bands:
        job = partial(_do_bands, args.targets, dora_dir_of(args), options)
        return run_jobs([" ".join(args.targets)], [job], None, args, table=False)
    jobs = _jobs(args, options)
    return run_jobs(_names(args), jobs, slurm or _local(args, jobs), args, table=len(jobs) > 1 or _is_search(args))


def _slurm(args: argparse.Namespace) -> Optional[Executor]:
    """Where the exports are done if they are Slurm's; that there is none is said before anything is looked for."""
    if args.slurm is None:
        return None
    from ...jobs.sbatch import sbatch_options
    if args.dry_run:
        sbatch_options(args.slurm)
        return None
    from ...jobs.slurm import FOLDER, Slurm
    return Slurm(args.slurm, dora_dir_of(args)() / FOLDER, args.chunk or 1, args.jobs)


def _local(args: argparse.Namespace, jobs: Sequence[Union[Job, ExportError]]) -> Optional[Executor]:
    """Where the exports are done, if not one after the other in this process."""
    exports = sum(not isinstance(job, ExportError) for job in jobs)
    if min(args.jobs or 1, exports) <= 1:
        return None
    from ...jobs.local import Local
    return Local(args.jobs)


def _take_targets_from_slurm(args: argparse.Namespace) -> None:
    """What stands behind --slurm and is no setting is a target: argparse cannot know."""
    if args.slurm is not None:
        settings = [text for text in args.slurm if SETTING.match(text) and not os.path.exists(text)]
        args.targets += [text for text in args.slurm if text not in settings]
        args.slurm = settings


def _is_search(args: argparse.Namespace) -> bool:
    """Whether the experiments are to be found, and not named."""
    return args.all or args.grid is not None


def _refuse_what_makes_no_sense(args: argparse.Namespace) -> None:
    if bool(args.targets) + args.all + (args.grid is not None) != 1:
        raise OptionError("run exports experiments by signature or path, or --all, or those of a --grid: give one of "
                          "these.")
    if args.bands and (not args.targets or args.dry_run):
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


def _names(args: argparse.Namespace) -> list[str]:
    """What to call the targets."""
    return [Path(target).name if _is_search(args) else target for target in args.targets]


def _not_exported(args: argparse.Namespace, options: ExportOptions) -> Iterator[Experiment]:
    """The experiments that have the checkpoint, and no fresh release where it would go, whatever its options."""
    from ..xp_summary import release_status
    for xp in each_xp(dora_dir_of(args)()):
        folder = _folder_of(xp.folder, options, several=True)
        path = xp.checkpoint_path(options.checkpoint)
        name = None if options.checkpoint is None else path.name
        if os.path.isfile(path) and release_status(folder, xp.folder, name)[0] != "fresh":
            yield xp


def _do_bands(targets: Sequence[str], dora_dir: Callable[[], Path], options: ExportOptions) -> ExportReport:
    from ...pipeline.export import export_bands
    bands = [open_target(target, dora_dir, options.checkpoint)[1] for target in targets]
    return export_bands(bands, Path(str(options.folder)), options)


def _jobs(args: argparse.Namespace, options: ExportOptions) -> list[Union[Job, ExportError]]:
    """What to do for each target: an export, or the error why it cannot be done."""
    dora_dir = dora_dir_of(args)
    jobs: list[Union[Job, ExportError]] = []
    taken: dict[Path, tuple[str, Path]] = {}
    for target, name in zip(args.targets, _names(args)):
        try:
            source, folder, job = _plan(target, dora_dir, args, options)
            other, other_source = taken.setdefault(folder, (name, source))
            if other_source != source:
                raise ExperimentError(f"{name} would overwrite the release of {other} in {folder}: export it in a "
                                      "call of its own, with its own --folder.")
            jobs.append(partial(_call, name, job))
        except ExportError as exc:
            jobs.append(exc)
    return jobs


def _plan(target: str, dora_dir: Callable[[], Path], args: argparse.Namespace,
          options: ExportOptions) -> tuple[Path, Path, Job]:
    """The checkpoint, the release folder and the export of one target."""
    if _is_search(args) and not os.path.isdir(target):
        where = "the Dora folder" if args.all else f"the grid {args.grid}"
        raise ExperimentError(f"{target} is not there, though {where} has it: it was removed, or never started.")
    xp, source = find_target(target, dora_dir, options.checkpoint)
    home = xp.folder.absolute()
    others = codec_dora_dir(xp, args, dora_dir)
    folder = _folder_of(home, options, several=_is_search(args) or len(args.targets) > 1)
    own = bool(options.folder) and os.path.isfile(target)  # a file with a folder of its own may be of any experiment
    return source, folder, partial(_do, args.dry_run, own, xp, source, folder, options, others)


def _folder_of(home: Path, options: ExportOptions, several: bool) -> Path:
    """Where the release of an XP folder goes: that of one of several to a folder of its own."""
    folder = options.release_folder(home).absolute()
    return folder / home.name if several and options.folder else folder


def _do(dry: bool, own: bool, xp: Experiment, source: Path, folder: Path, options: ExportOptions,
        others: Optional[Path]) -> Union[ExportReport, Plan]:
    """Export a checkpoint, or say what would be done."""
    from ...checkpoint.checkpoint import open_checkpoint, open_experiment
    from ...pipeline.export import export, plan_export
    checkpoint = open_checkpoint(source) if own else open_experiment(xp, source)
    do = plan_export if dry else export
    return do(checkpoint, xp.folder, folder, options, others)


def _call(target: str, export: Job) -> Done:
    with progress.track(printable(target)):
        return export()


def _value(text: str) -> Optional[str]:
    return None if text == "null" else text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no positive number")
    return int(text)
