"""`audiocraft-export run`: export experiments."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import Field, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from ... import progress
from ...errors import CheckpointError, ExperimentError, ExportError, OptionError, printable
from ...experiment.xp import Experiment, each_xp, grid_xps
from ...options import AUDIOCRAFT, CHOICES, EXPORT, EXPORTER, PATHS, ExportOptions
from ..outdated import find_outdated, output_folder
from ..output import print_json, print_note
from ..parser import positive
from ..passphrase import check_key
from ..runner import Job, Report, run_jobs, summary
from ..slurm import leave_or_cancel, sbatch_options
from ..targets import (
    DoraDir,
    add_dora_dir,
    distinct_experiments,
    find_checkpoint,
    find_experiment,
    find_source,
    open_target,
)

if TYPE_CHECKING:
    from ...jobs.batch import Executor
    from ...jobs.slurm import Slurm

SUMMARY = "export experiments"
DESCRIPTION = "Export experiments by signature, or by the path of an XP folder, a checkpoint or a release."
EXAMPLES = """\
examples (97d170e1 is the experiment of `make demo`):
  audiocraft-export run 97d170e1                    one XP of ./outputs
  audiocraft-export run 97d1                        the same, by a prefix
  audiocraft-export run 97d1 --dora-dir outputs     of another Dora folder
  audiocraft-export run 97d1 -P audiocraft_export.demo    of a package
  audiocraft-export run outputs/xps/97d170e1/checkpoint.th --folder release
  audiocraft-export run 97d1 --weights ema --dtype float16 --folder half
  audiocraft-export run 97d1 --format safetensors --folder shared
  audiocraft-export run --all --jobs 2      all without an up-to-date release
  audiocraft-export run --all --dry-run     show what would be written

  audiocraft-export run --grid NAME         the XPs of a Dora grid
  audiocraft-export run --all --slurm partition=NAME time=30
  audiocraft-export run --bands SIG SIG SIG SIG --folder mbd
  audiocraft-export run SIG --format transformers --push-to-hub ORG/NAME
"""
SHAPES: dict[str, dict[str, Any]] = {  # of options that are neither values nor flags
    "card": {"action": argparse.BooleanOptionalAction}, "private": {"action": argparse.BooleanOptionalAction},
    "scrub": {"action": "append", "metavar": "PATTERN"},
}
METAVARS = {"hub": "ORG/NAME", "revision": "BRANCH", "max_shard_size": "SIZE", "metric": "NAME[:max]", "family": "NAME",
            "weights": "SECTION[.PART]", "config": "FILE", "sign": "KEY"}
OVERRIDE = re.compile(r"[+~]{0,2}([A-Za-z_][\w.@-]*)=(?!.*\.(?:th|ckpt|pt|pth|bin)$)(.*)", re.DOTALL)  # not a file
LATEST = ("ema", "last")  # values of --weights that do not depend on --metric
OPTIONS = {each.name: each for each in ExportOptions.export_fields()}
_MAY_BE_REPEATED = "; may be repeated"
GROUPS = {  # option groups of the help: the options by title
    "where to": ("folder", "force"),
    "weights and dtype": ("weights", "checkpoint", "dtype", "codec", "metric", "family", "config"),
    "format": ("format", "max_shard_size", "version", "verify"),
    "sharing": ("card", "scrub", "hub", "private", "revision"),
    "trust": ("digest", "source_digest", "sign", "attest"),
}


@dataclass(frozen=True)
class ExportJob:
    """The export of one target, or its dry run; it can be pickled for a worker process."""

    name: str  # name of the target
    xp: Experiment
    path: Path  # the checkpoint
    folder: Path  # the release folder
    options: ExportOptions
    codec_dora_dir: Optional[Path]  # Dora folder for compression models `//sig/`; None is that of the experiment
    is_file: bool  # whether the target is a checkpoint file
    dry_run: bool

    def __call__(self) -> Report:
        """Export, or plan the export."""
        from ...checkpoint.checkpoint import open_checkpoint, open_experiment, with_offer
        from ...pipeline.export import export, plan_export
        is_copy = self.is_file and self.options.folder  # the file may belong to another experiment
        with progress.track(printable(self.name)):
            config = self.options.config
            checkpoint = open_checkpoint(self.path, config) if is_copy else open_experiment(
                self.xp, self.path, config, by_path=self.is_file)
            do = plan_export if self.dry_run else export
            try:
                return do(checkpoint, self.xp.folder, self.folder, self.options, self.codec_dora_dir)
            except CheckpointError as exc:  # Weights are read after the checkpoint has been opened.
                if exc.code != "corrupted-file" or is_copy:
                    raise
                raise with_offer(exc, self.xp, self.path, self._can_export, self.is_file) from exc

    def _can_export(self, path: Path) -> bool:
        """Return whether another checkpoint of the experiment can be exported with the same options."""
        from ...checkpoint.checkpoint import open_own_checkpoint
        from ...pipeline.export import check_export
        try:
            checkpoint = open_own_checkpoint(self.xp, path, self.options.config)
            check_export(checkpoint, self.xp.folder, self.options, self.codec_dora_dir)
        except ExportError:
            return False
        return True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run` to its parser."""
    what = parser.add_argument_group("what to export")
    what.add_argument("targets", nargs="*", metavar="SIG|PATH",
                      help="signature of an XP (or an unambiguous prefix), XP folder, checkpoint file, or release "
                           "of an XP")
    what.add_argument("--all", action="store_true",
                      help="all XPs of the Dora folder with a checkpoint and no up-to-date release; a release that is "
                           "made again keeps its options, unless they are given here; --verify and --config are "
                           "not stored, and do not make a release outdated")
    what.add_argument("--grid", metavar="NAME", help="the XPs of a grid, as scheduled by the last `dora grid NAME`")
    what.add_argument("--bands", action="store_true",
                      help="export the XPs, in this order, as the bands of one MultiBand Diffusion model to --folder")
    what.add_argument("--dry-run", action="store_true", help="show what would be exported; write nothing")
    add_dora_dir(what)
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            text = OPTIONS[name].metadata["help"] + (_MAY_BE_REPEATED if name == "scrub" else "")
            action = group.add_argument(ExportOptions.flag_of(name), dest=name, help=text, **_shape(OPTIONS[name]))
            action.default = argparse.SUPPRESS  # so that only given options are attributes of the arguments
    many = parser.add_argument_group("running many")
    many.add_argument("--jobs", type=positive, metavar="N",
                      help="number of parallel exports (default: 1; with --slurm, no limit)")
    many.add_argument("--slurm", nargs="*", action="extend", metavar="KEY=VALUE",
                      help="run as a job array, one task per XP; settings: partition=, time=, mem_gb=, cpus=, or any "
                           "option of sbatch")
    many.add_argument("--chunk", type=positive, metavar="N", help="number of XPs per task of --slurm (default: 1)")


def execute(args: argparse.Namespace) -> int:
    """Export the targets; return the exit code."""
    given = {name: getattr(args, name) for name in OPTIONS if hasattr(args, name)}
    if given.get("scrub") == ["null"]:  # as in `_value`; argparse appends to a list
        given["scrub"] = None
    _take_targets_from_slurm(args)
    keeps_format = args.all and "format" not in given  # releases may be in any format
    _refuse_idle_options(given, keeps_format)
    options = ExportOptions.from_mapping({**given, "format": "safetensors"} if keeps_format else given)
    _check_usage(args, options)
    check_key(options.sign)
    dora_dir = DoraDir(args)
    slurm = _slurm(args, dora_dir)  # A missing Slurm is reported before the search for experiments.
    if args.bands:
        job = partial(_export_bands, args.targets, dora_dir, options)
        return run_jobs([" ".join(args.targets)], [job], None, args, several=False)
    if args.all:
        return _run_all(args, dora_dir, given, slurm)
    if args.grid is None:
        args.targets = distinct_experiments(args.targets, dora_dir)
    else:
        args.targets = [str(xp.folder) for xp in grid_xps(args.grid, dora_dir.path)]
    is_several = len(args.targets) > 1 or args.grid is not None
    return _run(args, dora_dir, [options] * len(args.targets), slurm, several=is_several)


def _run_all(args: argparse.Namespace, dora_dir: DoraDir, given: Mapping[str, Any], slurm: Optional[Slurm]) -> int:
    """Export the experiments that `find_outdated` selects."""
    found = find_outdated(each_xp(dora_dir.path), given, keeps=args.json)
    for report in found.kept:
        print_json(target=str(report.xp and report.xp.name), **report.to_dict())
    if not found.options:
        is_empty = not any(found.skipped.values())
        print_note(f"Nothing to do: no XPs in {dora_dir.path}" if is_empty else
                   f"Nothing to do in {dora_dir.path}. {summary(found.skipped)}")
        return 0
    _report_unsharded([*found.options.values()], given)
    args.targets = [*map(str, found.options)]
    return _run(args, dora_dir, [*found.options.values()], slurm, several=True, skipped=found.skipped)


def _report_unsharded(options: Sequence[Union[ExportOptions, OptionError]], given: Mapping[str, Any]) -> None:
    """Report how many exports ignore --max-shard-size, because they keep a format without shards."""
    count = [getattr(each, "format", None) for each in options].count(AUDIOCRAFT) if "max_shard_size" in given else 0
    if count:
        print_note(f"--max-shard-size has no effect on {count} of {len(options)} XPs: their format is {AUDIOCRAFT}.")


def _run(args: argparse.Namespace, dora_dir: DoraDir, options: Sequence[Union[ExportOptions, OptionError]],
         slurm: Optional[Slurm], *, several: bool, skipped: Mapping[str, int] = {}) -> int:
    """Export each target with its options, here or on a cluster."""
    # XPs found by a search are passed as paths, because a file in the current folder may be named like a signature.
    names = [Path(target).name for target in args.targets] if _is_search(args) else args.targets
    jobs = _jobs(args, names, dora_dir, options)
    executor = slurm.run if slurm else _local(args, jobs)
    with leave_or_cancel(slurm) if slurm else nullcontext():
        return run_jobs(names, jobs, executor, args, several=several, skipped=skipped)


def _take_targets_from_slurm(args: argparse.Namespace) -> None:
    """Move the values of --slurm that are not KEY=VALUE to the targets; argparse cannot tell them apart."""
    if args.slurm is not None:
        settings = [text for text in args.slurm if re.match(r"[a-z][a-z_-]*=", text) and not os.path.exists(text)]
        args.targets += [text for text in args.slurm if text not in settings]
        args.slurm = settings


def _refuse_override(target: str) -> None:
    """Refuse a target that is an override of Hydra, such as `optim.lr=1` or `exporter.weights=last`."""
    match = OVERRIDE.fullmatch(target)
    if match is None or os.path.exists(target):
        return
    key, value = match.groups()
    section, _, name = key.rpartition(".")
    if name in OPTIONS and section in ("", EXPORTER):
        has_value = _shape(OPTIONS[name]).get("action", "append") == "append"
        hint = f"did you mean {ExportOptions.flag_of(name)}{f' {value}' if has_value else ''}?"
    elif key in (EXPORT, EXPORTER):
        hint = f"{key}= is for dora run; the options of this command are in audiocraft-export run --help"
    else:
        hint = f"give the signature that {shlex.join(['audiocraft-export', 'list', target.lstrip('+~')])} shows"
    raise OptionError("invalid-arguments", f"'{target}' is an override, neither a signature nor a path", hint)


def _refuse_idle_options(given: Mapping[str, Any], keeps_format: bool) -> None:
    """Refuse options that have no effect together with the others, even if they are given at their defaults."""
    if "max_shard_size" in given and not keeps_format and given.get("format", AUDIOCRAFT) == AUDIOCRAFT:
        raise OptionError("conflicting-options", "--max-shard-size has no effect on --format audiocraft",
                          "add --format safetensors, or omit --max-shard-size")
    of_hub = [f"--{name}" for name in ("private", "revision") if name in given and given.get("hub") is None]
    if of_hub:
        raise OptionError("conflicting-options", f"{of_hub[0]} requires --push-to-hub", "add --push-to-hub ORG/NAME")
    if given.get("metric") and given.get("weights") in LATEST:
        raise OptionError("conflicting-options", f"--metric has no effect on --weights {given['weights']}: it selects "
                          "the best state", "omit --metric")


def _check_usage(args: argparse.Namespace, options: ExportOptions) -> None:
    for target in args.targets:
        _refuse_override(target)
    if [bool(args.targets), args.all, args.grid is not None].count(True) != 1:
        raise OptionError("invalid-arguments", "specify exactly one of: SIG|PATH arguments, --all, --grid NAME",
                          "see audiocraft-export run --help")
    if args.bands and (_is_search(args) or args.dry_run):
        raise OptionError("conflicting-options", "--bands cannot be combined with --all, --grid or --dry-run",
                          "name the experiments in the order of their bands")
    if args.bands and options.folder is None:
        raise OptionError("conflicting-options", "--bands makes one release of several experiments",
                          "name its folder with --folder")
    if args.bands and (args.slurm is not None or args.jobs is not None):
        flag = "--jobs" if args.slurm is None else "--slurm"
        raise OptionError("conflicting-options", f"--bands cannot be combined with {flag}", f"remove {flag}")
    if options.hub and not args.bands and (_is_search(args) or len(args.targets) > 1):
        raise OptionError("conflicting-options", "--push-to-hub names the repository of a single release",
                          "export the experiments one by one")
    if args.slurm is not None and options.sign is not None:
        raise OptionError("conflicting-options", "--sign cannot be combined with --slurm: the path of a key is not "
                          "stored in the files of a job", "export without --sign, then repeat the command with --sign "
                          "and without --slurm")
    if args.chunk and args.slurm is None:
        raise OptionError("conflicting-options", "--chunk requires --slurm", "add --slurm, or remove --chunk")


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
    """Return whether --all or --grid selects the experiments, not a list of targets."""
    return args.all or args.grid is not None


def _export_bands(targets: Sequence[str], dora_dir: DoraDir, options: ExportOptions) -> Report:
    from ...pipeline.export import export_bands
    bands = [open_target(target, dora_dir, options.checkpoint, options.config)[1] for target in targets]
    return export_bands(bands, Path(str(options.folder)), options)


def _jobs(args: argparse.Namespace, names: Sequence[str], dora_dir: DoraDir,
          options: Sequence[Union[ExportOptions, OptionError]]) -> list[Union[Job, ExportError]]:
    """Return the export of each target, or the error that prevents it.

    Raises:
        OptionError: if two checkpoints would be exported to the same folder.
    """
    jobs: list[Union[Job, ExportError]] = []
    by_folder: dict[str, ExportJob] = {}
    for target, name, chosen in zip(args.targets, names, options):
        try:
            job = _job(target, name, args, dora_dir, chosen)
            jobs.append(job)
        except ExportError as exc:
            jobs.append(exc)
            continue
        other = by_folder.setdefault(os.path.realpath(job.folder), job)
        if os.path.realpath(other.path) != os.path.realpath(job.path):
            raise OptionError("conflicting-options", f"{name} and {other.name} would be exported to the same folder "
                              f"{job.folder}", "export them in separate commands with other folders")
    return jobs


def _job(target: str, name: str, args: argparse.Namespace, dora_dir: DoraDir,
         options: Union[ExportOptions, OptionError]) -> ExportJob:
    if isinstance(options, OptionError):
        raise options
    if _is_search(args) and not os.path.isdir(target):
        where = "the Dora folder" if args.all else f"the grid {args.grid}"
        raise ExperimentError("experiment-not-found", f"{target} does not exist, although {where} lists it: it was "
                              "removed, or never started")
    target = find_source(target, dora_dir)
    xp = find_experiment(target, dora_dir)
    path = find_checkpoint(target, xp, options.checkpoint)
    folder = output_folder(xp.folder, options, several=_is_search(args) or len(args.targets) > 1)
    return ExportJob(name, xp, path, folder, options, dora_dir.for_codec(xp), dry_run=args.dry_run,
                     is_file=os.path.isfile(target))


def _shape(option: Field[Any]) -> dict[str, Any]:
    """Return the keywords of an option for `add_argument`."""
    name = option.name
    if name in SHAPES or option.default is False:
        return SHAPES.get(name, {"action": "store_true"})
    choices = ",".join(filter(None, CHOICES.get(name, ())))
    metavar = METAVARS.get(name) or (f"{{{choices}}}" if choices else name.upper())
    return {"type": _path if name in PATHS else _value, "metavar": metavar}


def _path(text: str) -> Optional[str]:
    """Convert a path; a shell does not expand `~` in `--folder=~/release`."""
    value = _value(text)
    return value and os.path.expanduser(value)


def _value(text: str) -> Optional[str]:
    """Parse the value of an option; `null` is None, as in Hydra."""
    return None if text == "null" else text
