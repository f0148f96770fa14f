"""Export an experiment by its signature, a checkpoint file, the state of a living solver, or several bands."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, open_checkpoint, open_experiment
from ..checkpoint.plain_config import to_plain
from ..experiment.config import Config, to_container
from ..experiment.xp import HYDRA_SETTINGS, AnyPath, Experiment, find_xp
from ..options import ExportOptions
from ..release.metrics import Selection
from ..release.prepare import prepare, prepare_bands
from ..release.report import ExportReport, Plan
from ..sharing.privacy_warning import warn_of_private_values
from .execute import execute, plan


def export_xp(sig: str, dora_dir: AnyPath, options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export the experiment with a Dora signature, or a prefix that no other has, in the folder that holds `xps/`.

    Raises:
        ExportError: if there is none, it cannot be released, or the release cannot be written or does not verify.
    """
    return export_experiment(find_xp(sig, dora_dir), options)


def export_experiment(xp: Experiment, options: ExportOptions = ExportOptions(), path: Optional[Path] = None,
                      dora_dir: Optional[AnyPath] = None, *, selection: Optional[Selection] = None) -> ExportReport:
    """Export an experiment that was found.

    Args:
        path: the checkpoint, if it is not to be found by `options.checkpoint`.
        dora_dir: the Dora folder that a compression model of the form `//sig/` is in, if `xp` is not in it.
        selection: how a living solver selects its best state; None is as the options and the configuration say.

    Raises:
        ExportError: as `export_xp`.
    """
    checkpoint = open_experiment(xp, path or xp.checkpoint(options.checkpoint), options.config)
    return export(checkpoint, xp.folder, options.release_folder(xp.folder), options, dora_dir,
                  selection=selection)


def check_export(checkpoint: Checkpoint, xp_folder: Path, options: ExportOptions, has_room: bool = False) -> None:
    """Check all of an export but what only its written release shows; nothing is written.

    Args:
        has_room: whether there is room on the disk, and need not be.

    Raises:
        ExportError: if it cannot be done.
    """
    planned = plan(prepare(checkpoint, xp_folder, options), options.release_folder(xp_folder), options)
    planned.check_sources(has_room)


def export_checkpoint(path: AnyPath, folder: AnyPath, options: ExportOptions = ExportOptions(),
                      dora_dir: Optional[AnyPath] = None) -> ExportReport:
    """Export one checkpoint file, wherever it lies, to `folder`; that of the options, and `checkpoint`, do not count.

    A compression model of the form `//sig/` is in the Dora folder `dora_dir`, if `path` is not in it.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    checkpoint = open_checkpoint(Path(path), options.config)
    return export(checkpoint, Path(path).absolute().parent, Path(folder), options, dora_dir)


def export_state(sources: Mapping[str, Any], cfg: Any, sig: str, xp_folder: Path,
                 options: ExportOptions = ExportOptions(), *, selection: Optional[Selection] = None,
                 is_unfinished: bool = False) -> ExportReport:
    """Export the state of a living solver, for which no checkpoint is on disk.

    Args:
        sources: by the name of the section, what gives its state (`flashy.state.StateDictSource`).
        cfg: the experiment's configuration: OmegaConf, argparse namespace or dict.
        options: how; `checkpoint` does not count here.
        selection: as for `export_experiment`.
        is_unfinished: whether it may have trained since its last epoch, so that no epoch is that of its weights.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    from ..checkpoint.torch_tensors import SolverState
    config = Config(to_plain(to_container(cfg))).with_choices(xp_folder / HYDRA_SETTINGS)
    checkpoint = Checkpoint(f"the solver of XP {sig}", SolverState(sources), config, "solver", sig, sig_source="solver",
                            xp_history=Experiment(xp_folder, sig).history, is_unfinished=is_unfinished)
    return export(checkpoint, xp_folder, options.release_folder(xp_folder), options, selection=selection)


def export_bands(checkpoints: Sequence[Checkpoint], folder: Path,
                 options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export one checkpoint for each band of a MultiBand Diffusion, in their order, as one release in `folder`.

    Raises:
        ExportError: if they are not the bands of one model, complete and in order, or as `export_xp`.
    """
    return execute(plan(prepare_bands(checkpoints, options), folder, options))


def export(checkpoint: Checkpoint, xp_folder: Path, folder: Path, options: ExportOptions,
           dora_dir: Optional[AnyPath] = None, *, selection: Optional[Selection] = None,
           any_options: bool = False) -> ExportReport:
    """Export an open checkpoint to `folder`; that of the options, and `checkpoint`, do not count.

    A compression model of the form `//sig/` is looked up beside `xp_folder`, or in the Dora folder `dora_dir` instead.
    With `any_options`, an up-to-date release stays that was made with other options.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    prepared = prepare(checkpoint, xp_folder, options, dora_dir, selection)
    return execute(plan(prepared, folder, options, any_options=any_options))


def plan_export(checkpoint: Checkpoint, xp_folder: Path, folder: Path, options: ExportOptions,
                dora_dir: Optional[AnyPath] = None, *, any_options: bool = False) -> Plan:
    """What `export` would do with the same arguments; nothing is written, no weight is read unless `plan` must.

    Raises:
        ExportError: if it cannot be released.
    """
    planned = plan(prepare(checkpoint, xp_folder, options, dora_dir), folder, options, any_options=any_options)
    warn_of_private_values(planned.prepared, options)
    return planned.summary
