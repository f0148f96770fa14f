"""Prepare the content of a release from checkpoints, before a format encodes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Optional

from ..checkpoint.checkpoint import Checkpoint
from ..errors import CheckpointError
from ..experiment.config import Config
from ..experiment.xp import AnyPath, Experiment
from ..options import ExportOptions
from .compression_model import CompressionModel, Lookup, find_compression_model
from .content import Content
from .families import multiband_diffusion
from .families.registry import CODEC_FILE, DIFFUSION_FAMILY, Family, describe_model, family_of
from .manifest import Manifest
from .metrics import BestRule
from .model import ReleaseModel
from .provenance import build_manifest, merge_manifests, version_tag

IncludesCodec = Callable[[str, Config, Family], bool]  # of the name of a format


@dataclass(frozen=True)
class PreparedRelease:
    """The content of a release; `again` prepares it with other options and, optionally, another checkpoint."""

    contents: Mapping[str, Content]  # content of each file in AudioCraft's format
    manifest: Manifest  # complete except for `files`
    family: Family
    models: Sequence[ReleaseModel]  # one model, or one for each band
    again: Callable[[ExportOptions, Optional[Checkpoint]], "PreparedRelease"]
    codec: Optional[CompressionModel] = None
    xp_folders: Sequence[Path] = ()  # the folders of the experiments


def prepare(checkpoint: Checkpoint, xp_folder: Path, options: ExportOptions,
            dora_dir: Optional[AnyPath] = None, rule: Optional[BestRule] = None, *,
            includes_codec: IncludesCodec = lambda name, config, family: True) -> PreparedRelease:
    """Prepare the release of a checkpoint; nothing is written.

    No weights are read, but those of a compression model whose name comes from the environment: an error later would
    show the name.

    Args:
        checkpoint: a checkpoint file or the state of a solver.
        xp_folder: base of relative paths in the configuration.
        options: what to release, and how.
        dora_dir: where to look for a compression model of the form `//sig/`; None is the Dora folder of `xp_folder`.
        rule: how the solver selects its best state; None derives it from the options and the configuration.
        includes_codec: returns whether a release in a format includes the compression model of a language model.

    Raises:
        ExportError: if the checkpoint cannot be released.
    """
    family = family_of(checkpoint.config, options.family)
    model = _load_model(checkpoint, options, family)
    contents, codec = family.files(model), None
    if family.needs_codec and options.codec == "auto" and includes_codec(options.format, checkpoint.config, family):
        dora_dir = dora_dir or Experiment.from_folder(xp_folder).dora_dir
        codec = find_compression_model(checkpoint.config, Lookup(xp_folder, dora_dir, model.version, options.patterns))
        contents = {**contents, CODEC_FILE: codec.content}
    manifest = _with_git(build_manifest(model, options, codec, family.notes(model), rule), xp_folder)

    def again(options: ExportOptions, other: Optional[Checkpoint]) -> PreparedRelease:
        return prepare(other or checkpoint, xp_folder, options, dora_dir, rule, includes_codec=includes_codec)
    return PreparedRelease(contents, manifest, family, [model], again, codec, [xp_folder])


def prepare_bands(checkpoints: Sequence[Checkpoint], options: ExportOptions) -> PreparedRelease:
    """Prepare one release of all bands of a MultiBand Diffusion model, given in their order.

    Raises:
        ExportError: if the checkpoints are not all bands of one model in order, or cannot be released.
    """
    for checkpoint in checkpoints:
        if family_of(checkpoint.config, options.family) is not DIFFUSION_FAMILY:
            what = describe_model(checkpoint.config, options.family)
            raise CheckpointError("family-mismatch", f"{checkpoint.where} is {what}, not a band of MultiBand Diffusion",
                                  "export it without --bands")
    models = [_load_model(checkpoint, options, DIFFUSION_FAMILY) for checkpoint in checkpoints]
    multiband_diffusion.check(models)
    contents = multiband_diffusion.files(*models)
    folders = [each.file.path.parent for each in checkpoints if each.file]
    manifests = [_with_git(build_manifest(model, options), folder) for model, folder in zip(models, folders)]
    manifest = merge_manifests(manifests, multiband_diffusion.notes(*models))
    return PreparedRelease(contents, manifest, DIFFUSION_FAMILY, models,
                           lambda other, _: prepare_bands(checkpoints, other), xp_folders=folders)


def _with_git(manifest: Manifest, xp_folder: Path) -> Manifest:
    """Add the commit of the training, if the folder is that of its experiment."""
    xp = Experiment.from_folder(xp_folder)
    if manifest.sig is None or xp.sig != manifest.sig:
        return manifest
    return replace(manifest, git=xp.git(manifest.source.get("mtime_ns")))


def _load_model(checkpoint: Checkpoint, options: ExportOptions, family: Family) -> ReleaseModel:
    return ReleaseModel.from_checkpoint(checkpoint, version_tag(options.version), options.weights, options.dtype,
                                        options.patterns, of_audiocraft=family.of_audiocraft)
