"""From a signature to a release: the one pipeline, and the only module that joins its rooms."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional

from .. import progress
from ..checkpoint.checkpoint import Checkpoint, open_checkpoint, open_experiment
from ..checkpoint.plain_config import to_plain
from ..errors import CheckpointError, ExperimentError, ExportError, printable
from ..experiment.config import Config, to_container
from ..experiment.xp import CHECKPOINT_FILE, AnyPath, Experiment, find_xp
from ..formats.registry import encode_release, require_loader, verify_loads
from ..options import ExportOptions
from ..release.compression_model import find_compression_model
from ..release.families import multiband_diffusion
from ..release.families.registry import CODEC_FILE, DIFFUSION, describe_model, family_of
from ..release.manifest import Content, ExportReport, Manifest, Plan, ReleaseFile, WrittenFile
from ..release.model import ReleaseModel
from ..release.prepare import PreparedRelease
from ..release.provenance import build_manifest, merge_manifests, version_tag, with_files
from ..sharing.share import require_sharing_packages, share, warn_of_private_values
from ..storage import writer
from ..storage.file_version import same_origin

logger = logging.getLogger(__name__)


def export_xp(sig: str, dora_dir: AnyPath, options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export the experiment with a Dora signature.

    Args:
        sig: the signature, or a prefix that only one experiment has.
        dora_dir: the Dora folder, which holds `xps/`.
        options: how.

    Raises:
        ExportError: if there is no such experiment, its checkpoint cannot be released, or the release
            cannot be written or does not verify.
    """
    return export_experiment(find_xp(sig, dora_dir), options)


def export_experiment(xp: Experiment, options: ExportOptions = ExportOptions(), path: Optional[Path] = None,
                      dora_dir: Optional[AnyPath] = None) -> ExportReport:
    """Export an experiment that was found.

    Args:
        xp: the experiment.
        options: how.
        path: the checkpoint, if it is not to be found by `options.checkpoint`.
        dora_dir: the Dora folder that a compression model of the form `//sig/` is in, if `xp` is not in it.

    Raises:
        ExportError: as `export_xp`.
    """
    path = path or xp.checkpoint(options.checkpoint)
    checkpoint = open_experiment(xp, path)
    return export(checkpoint, xp.folder, options.release_folder(xp.folder), options, dora_dir)


def export_checkpoint(path: AnyPath, folder: AnyPath, options: ExportOptions = ExportOptions(),
                      dora_dir: Optional[AnyPath] = None) -> ExportReport:
    """Export one checkpoint file, wherever it lies.

    Args:
        path: a training checkpoint.
        folder: where the release goes.
        options: how; `folder` and `checkpoint` of the options do not count here.
        dora_dir: the Dora folder that a compression model of the form `//sig/` is in, if `path` is not in it.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    return export(open_checkpoint(Path(path)), Path(path).absolute().parent, Path(folder), options, dora_dir)


def export_state(sources: Mapping[str, Any], cfg: Any, sig: str, xp_folder: Path,
                 options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export the state of a living solver, for which no checkpoint is on disk.

    Args:
        sources: by the name of the section, what gives its state (`flashy.state.StateDictSource`).
        cfg: the experiment's configuration: OmegaConf, argparse namespace or dict.
        sig: Dora's signature.
        xp_folder: the XP folder.
        options: how; `checkpoint` of the options does not count here.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    from ..checkpoint.torch_tensors import SolverState
    checkpoint = Checkpoint(f"the solver of XP {sig}", SolverState(sources), Config(to_plain(to_container(cfg))), "solver", sig)
    return export(checkpoint, xp_folder, options.release_folder(xp_folder), options)


def after_training(exc: ExportError, sig: str, xp_folder: Path, options: ExportOptions) -> ExportError:
    """The error to show when a training went well and its export did not: what is safe, and how to go on."""
    stored = Experiment(xp_folder, sig).checkpoints
    if not stored:
        none = isinstance(exc, ExperimentError)
        remedy = " Store checkpoints, or export from the living solver (ExportMixin)." if none else ""
        return ExportError(f"The training of XP {sig} is finished, but it stored no checkpoint and its export failed: "
                           f"{exc}{remedy}")
    if options.checkpoint is None and xp_folder / CHECKPOINT_FILE not in stored:
        names = [path.stem.partition("_")[2] for path in stored]
        options = options.replace(checkpoint=max(names, key=lambda name: int(name) if name.isdecimal() else -1))
    return ExportError(f"The training of XP {sig} is finished and its checkpoints are safe in {xp_folder}, but its "
                       f"export failed: {exc} To export it later: {command_line(xp_folder, sig, options)}")


def command_line(xp_folder: Path, sig: str, options: ExportOptions = ExportOptions()) -> str:
    """The command that exports an experiment to the default folder, ready for a shell."""
    where = [sig, "--dora-dir", str(xp_folder.parent.parent)] if xp_folder.parent.name == "xps" else [str(xp_folder)]
    return shlex.join(["audiocraft-export", "run", *where, *options.flags])


def export_bands(checkpoints: Sequence[Checkpoint], folder: Path,
                 options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export the experiments of one MultiBand Diffusion, one for each band, as one release.

    Args:
        checkpoints: one for each band, in their order.
        folder: where the release goes.
        options: how; `folder` and `checkpoint` of the options do not count here.

    Raises:
        ExportError: if they are not the bands of one model, complete and in order, or as `export_xp`.
    """
    tag = version_tag(options.version)
    for checkpoint in checkpoints:
        if family_of(checkpoint.config) is not DIFFUSION:
            raise CheckpointError(f"{checkpoint.where} is {describe_model(checkpoint.config)}, no band of MultiBand "
                                  "Diffusion: export it without --bands.")
    models = [ReleaseModel.from_checkpoint(checkpoint, tag, options.weights, options.dtype, options.patterns)
              for checkpoint in checkpoints]
    multiband_diffusion.check(models)
    drafts = [build_manifest(model, options) for model in models]
    bands = PreparedRelease(multiband_diffusion.files(*models), merge_manifests(drafts, multiband_diffusion.notes(*models)), DIFFUSION, models)
    return _release(bands, folder, options)


def plan(checkpoint: Checkpoint, xp_folder: Path, folder: Path, options: ExportOptions,
         dora_dir: Optional[AnyPath] = None) -> Plan:
    """What an export would do; nothing is written, no weight is read.

    Args:
        checkpoint: the checkpoint.
        xp_folder: the XP folder, beside which a compression model of the form `//sig/` is looked up.
        folder: the release folder.
        options: how.
        dora_dir: the Dora folder to look it up in instead.

    Raises:
        ExportError: if it cannot be released.
    """
    planned = prepare(checkpoint, xp_folder, options, dora_dir)
    require_sharing_packages(options)
    warn_of_private_values(planned, options)
    files = encode_release(planned, options)
    folder = writer.resolve_output(folder.absolute())
    existing = Manifest.load_or_none(folder)
    is_there = existing is not None and existing.is_complete(folder) and _repeats(
        existing, planned.manifest, [ReleaseFile(name, content) for name, content in files.items()])
    sizes = {name: writer.size_of(content) for name, content in files.items()}
    return Plan(folder, planned.manifest, sizes, is_there)


def export(checkpoint: Checkpoint, xp_folder: Path, folder: Path, options: ExportOptions,
           dora_dir: Optional[AnyPath] = None) -> ExportReport:
    """Export a checkpoint that is open.

    Args:
        checkpoint: the checkpoint.
        xp_folder: the XP folder, beside which a compression model of the form `//sig/` is looked up.
        folder: where the release goes.
        options: how; `folder` and `checkpoint` of the options do not count here.
        dora_dir: the Dora folder to look it up in instead.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    return _release(prepare(checkpoint, xp_folder, options, dora_dir), folder, options)


def prepare(checkpoint: Checkpoint, xp_folder: Path, options: ExportOptions,
          dora_dir: Optional[AnyPath] = None) -> PreparedRelease:
    """What a release of a checkpoint consists of; nothing is written, no weight is read.

    Args:
        checkpoint: the checkpoint.
        xp_folder: the XP folder, beside which a compression model of the form `//sig/` is looked up.
        options: how.
        dora_dir: the Dora folder to look it up in instead.

    Raises:
        ExportError: if it cannot be released.
    """
    family, codec = family_of(checkpoint.config), None
    model = ReleaseModel.from_checkpoint(checkpoint, version_tag(options.version), options.weights, options.dtype, options.patterns)
    if family.codec and options.codec == "auto":
        codec = find_compression_model(checkpoint.config, xp_folder, dora_dir or Experiment.from_folder(xp_folder).dora_dir, model.version,
                           options.patterns)
    contents = {**family.files(model), **({CODEC_FILE: codec.content} if codec else {})}
    return PreparedRelease(contents, build_manifest(model, options, codec, family.notes(model)), family, [model], codec)


def _release(draft: PreparedRelease, folder: Path, options: ExportOptions) -> ExportReport:
    folder = writer.resolve_output(folder.absolute())
    files = [ReleaseFile(name, content) for name, content in encode_release(draft, options).items()]
    writer.remove_stale_staging(folder)
    require_sharing_packages(options)
    if options.verify == "load":
        require_loader(options.format, draft.family)  # before anything is written
    name = printable(draft.manifest.name)
    with progress.track(name, passes=1 if options.verify == "none" else 2):
        report = _existing(folder, files, draft.manifest) or _written(folder, files, draft, options)
        if not report.written and options.verify == "load":
            verify_loads(options.format, folder, draft.family, [file.name for file in files])
    with progress.hide():
        for warning in report.manifest.warnings if report.written else ():
            logger.warning("%s: %s", name, printable(warning))
    return share(report, draft, options)


def _existing(folder: Path, files: Sequence[ReleaseFile], draft: Manifest) -> Optional[ExportReport]:
    """The release that is there, if an export would make that very one; a living solver's is always a new one."""
    existing = Manifest.load_or_none(folder)
    if existing is None or not _repeats(existing, draft, files):
        return None
    progress.set_total(sum(file.bytes for file in existing.files), passes=1)
    return ExportReport(folder, existing, written=False) if writer.matches_manifest(folder, existing.files) else None


def _repeats(existing: Manifest, draft: Manifest, files: Sequence[ReleaseFile]) -> bool:
    """Whether a release is one of the same sources: by its manifest, and by what is known of its files already."""
    return (draft.checkpoint or draft.bands) is not None and same_origin(existing.fingerprint, draft.fingerprint) \
        and len(existing.files) == len(files) \
        and all(old.name == new.name and _says(old, new.content) for old, new in zip(existing.files, files))


def _says(file: WrittenFile, content: Content) -> bool:
    """Whether a file has a text that comes from elsewhere, such as a tokenizer's; tensors are not read for that."""
    if not isinstance(content, (str, bytes)):
        return True
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return file.sha256 == sha256(data).hexdigest()


def _written(folder: Path, files: Sequence[ReleaseFile], draft: PreparedRelease, options: ExportOptions) -> ExportReport:
    """A new release, in the place of what of ours is there."""
    names = [file.name for file in files]
    return ExportReport(folder, writer.write_release(
        folder, files, describe=partial(with_files, draft.manifest), read_back=options.verify != "none",
        check=lambda stage: verify_loads(options.format, stage, draft.family, names) if options.verify == "load" else None))
