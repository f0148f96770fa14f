"""Export an experiment, a checkpoint file, the state of a running solver, or the bands of a diffusion model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint, open_checkpoint, open_experiment
from ..checkpoint.plain_config import to_plain
from ..experiment.config import Config, to_container
from ..experiment.dora_dir import codec_dora_dir, resolve_dora_dir
from ..experiment.xp import HYDRA_SETTINGS, AnyPath, Experiment, find_xp
from ..formats.encoders import encode
from ..formats.registry import prepare_release
from ..options import ExportOptions
from ..release.metrics import BestRule
from ..release.prepare import prepare_bands
from ..release.report import DryRunReport, ExportReport
from ..sharing.privacy_warning import warn_of_private_values
from ..storage.writer import check_writable
from .execute import execute
from .plan import plan


def export_xp(sig: str, dora_dir: Optional[AnyPath] = None, options: ExportOptions = ExportOptions(),
              **keywords: Any) -> ExportReport:
    """Export the experiment with a Dora signature.

    Args:
        sig: the signature, or an unambiguous prefix.
        dora_dir: the Dora folder, which has the subfolder `xps`; None finds it as the command does.
        options: how to export.
        keywords: options by name, such as `dtype="float16"`; they override `options`.

    Raises:
        ExportError: if an option is invalid, the experiment is not found or cannot be exported, or the release cannot
            be written or does not verify.
    """
    options = options.replace(**keywords)
    return export_experiment(find_xp(sig, resolve_dora_dir(dora_dir)), options)


def export_experiment(xp: Experiment, options: ExportOptions = ExportOptions(), *,
                      rule: Optional[BestRule] = None) -> ExportReport:
    """Export an experiment.

    Args:
        xp: the experiment.
        options: how to export.
        rule: how the solver selects its best state; None derives it from the options and the configuration.

    Raises:
        ExportError: if the experiment cannot be exported, or the release cannot be written or does not verify.
    """
    checkpoint = open_experiment(xp, xp.checkpoint(options.checkpoint), options.config)
    return export(checkpoint, xp.folder, options.release_folder(xp.folder), options, rule=rule)


def check_export(checkpoint: Checkpoint, xp_folder: Path, options: ExportOptions,
                 dora_dir: Optional[AnyPath] = None, *, check_space: bool = True) -> None:
    """Check an export as far as possible without writing anything.

    Args:
        checkpoint: the open checkpoint.
        xp_folder: the XP folder.
        options: how to export.
        dora_dir: as for `export`.
        check_space: whether to check the free disk space.

    Raises:
        ExportError: if the export cannot succeed.
    """
    prepared = prepare_release(checkpoint, xp_folder, options, dora_dir)
    planned = plan(prepared, options.release_folder(xp_folder), options)
    encoders = [encode(content) for content in planned.files.values()]
    check_writable(planned.folder, sum(encoder.nbytes for encoder in encoders) if check_space else None)
    for encoder in encoders:
        encoder.check_sources()


def export_checkpoint(path: AnyPath, folder: Optional[AnyPath] = None, options: ExportOptions = ExportOptions(),
                      dora_dir: Optional[AnyPath] = None, **keywords: Any) -> ExportReport:
    """Export a checkpoint file to a folder.

    Args:
        path: the checkpoint file, in any folder.
        folder: the release folder; None is `options.folder`, or else the subfolder `export` next to the file.
        options: how to export; `checkpoint` is ignored.
        dora_dir: the Dora folder to look up a compression model `//sig/...` in; None finds it as the command does.
        keywords: options by name, such as `dtype="float16"`; they override `options`.

    Raises:
        ExportError: if an option is invalid, the checkpoint cannot be exported, or the release cannot be written or
            does not verify.
    """
    options, home = options.replace(**keywords), Path(path).absolute().parent
    target = (options if folder is None else options.replace(folder=folder)).release_folder(home)
    codecs = codec_dora_dir(Experiment.from_folder(home), dora_dir)
    return export(open_checkpoint(Path(path), options.config), home, target, options, codecs)


def export_state(sources: Mapping[str, Any], cfg: Any, sig: str, xp_folder: Path,
                 options: ExportOptions = ExportOptions(), *, rule: Optional[BestRule] = None,
                 is_unfinished: bool = False) -> ExportReport:
    """Export the state of a running solver that has no checkpoint on disk.

    Args:
        sources: the sources of state (`flashy.state.StateDictSource`) by section.
        cfg: the configuration of the experiment: OmegaConf, argparse namespace or dict.
        sig: the signature of the experiment.
        xp_folder: the XP folder.
        options: how to export; `checkpoint` is ignored.
        rule: as for `export_experiment`.
        is_unfinished: whether the solver may have trained since its last epoch, so that the epoch of the weights is
            unknown.

    Raises:
        ExportError: if the state cannot be exported, or the release cannot be written or does not verify.
    """
    from ..checkpoint.torch_tensors import SolverState
    config = Config(to_plain(to_container(cfg))).with_choices(xp_folder / HYDRA_SETTINGS)
    checkpoint = Checkpoint(f"the solver of XP {sig}", SolverState(sources), config, "solver", sig, sig_source="solver",
                            xp_history=Experiment(xp_folder, sig).history, is_unfinished=is_unfinished)
    return export(checkpoint, xp_folder, options.release_folder(xp_folder), options, rule=rule)


def export_bands(checkpoints: Sequence[Checkpoint], folder: Path,
                 options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export the bands of a MultiBand Diffusion as one release.

    Args:
        checkpoints: the open checkpoints, one per band, in the order of the bands.
        folder: the release folder.
        options: how to export.

    Raises:
        ExportError: if the checkpoints are not all bands of one model in order, or the release cannot be written or
            does not verify.
    """
    return execute(plan(prepare_bands(checkpoints, options), folder, options))


def export(checkpoint: Checkpoint, xp_folder: Path, folder: Path, options: ExportOptions,
           dora_dir: Optional[AnyPath] = None, *, rule: Optional[BestRule] = None) -> ExportReport:
    """Export an open checkpoint to a folder.

    Args:
        checkpoint: the open checkpoint.
        xp_folder: the XP folder.
        folder: the release folder.
        options: how to export; `folder` and `checkpoint` are ignored.
        dora_dir: the Dora folder to look up a compression model `//sig/...` in; None is the one of `xp_folder`.
        rule: as for `export_experiment`.

    Raises:
        ExportError: if the checkpoint cannot be exported, or the release cannot be written or does not verify.
    """
    return execute(plan(prepare_release(checkpoint, xp_folder, options, dora_dir, rule), folder, options))


def plan_export(checkpoint: Checkpoint, xp_folder: Path, folder: Path, options: ExportOptions,
                dora_dir: Optional[AnyPath] = None) -> DryRunReport:
    """Return what `export` would do with the same arguments, without writing anything.

    Raises:
        ExportError: if the checkpoint cannot be exported.
    """
    planned = plan(prepare_release(checkpoint, xp_folder, options, dora_dir), folder, options)
    warn_of_private_values(planned.prepared, options)
    return planned.dry_run_report
