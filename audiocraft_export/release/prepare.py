"""What is released of a checkpoint, in no format yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from ..checkpoint.checkpoint import Checkpoint
from ..errors import CheckpointError
from ..experiment.xp import AnyPath, Experiment
from ..options import ExportOptions
from .compression_model import CompressionModel, Lookup, find_compression_model
from .content import Content
from .families import multiband_diffusion
from .families.registry import CODEC_FILE, DIFFUSION_FAMILY, Family, describe_model, family_of
from .manifest import Manifest
from .metrics import Selection
from .model import ReleaseModel
from .provenance import build_manifest, merge_manifests, version_tag


@dataclass(frozen=True)
class PreparedRelease:
    """What a release is made of."""

    contents: Mapping[str, Content]  # of its files in the format of AudioCraft, by name
    manifest: Manifest  # without the files
    family: Family
    models: Sequence[ReleaseModel]  # the model, or one for each band
    again: Callable[[ExportOptions, Optional[Checkpoint]], "PreparedRelease"]  # of other options, or another checkpoint
    codec: Optional[CompressionModel] = None
    xp_folders: Sequence[Path] = ()  # which the experiments are in


def prepare(checkpoint: Checkpoint, xp_folder: Path, options: ExportOptions,
            dora_dir: Optional[AnyPath] = None, selection: Optional[Selection] = None) -> PreparedRelease:
    """Decide what a release of a checkpoint consists of; nothing is written, no weight is read.

    A compression model of the form `//sig/` is looked up in `dora_dir`; None is the Dora folder around `xp_folder`.
    `selection` is that of a living solver.

    Raises:
        ExportError: if it cannot be released.
    """
    family = family_of(checkpoint.config, options.family)
    model = _load_model(checkpoint, options, family)
    contents, codec = family.files(model), None
    if family.codec and options.codec == "auto":
        dora_dir = dora_dir or Experiment.from_folder(xp_folder).dora_dir
        codec = find_compression_model(checkpoint.config, Lookup(xp_folder, dora_dir, model.version, options.patterns))
        contents = {**contents, CODEC_FILE: codec.content}
    manifest = build_manifest(model, options, codec, family.notes(model), selection)

    def again(options: ExportOptions, other: Optional[Checkpoint]) -> PreparedRelease:
        return prepare(other or checkpoint, xp_folder, options, dora_dir, selection)
    return PreparedRelease(contents, manifest, family, [model], again, codec, [xp_folder])


def prepare_bands(checkpoints: Sequence[Checkpoint], options: ExportOptions) -> PreparedRelease:
    """Decide what a release of the bands of one MultiBand Diffusion, in their order, consists of.

    Raises:
        ExportError: if they are not the bands of one model, complete and in order, or cannot be released.
    """
    for checkpoint in checkpoints:
        if family_of(checkpoint.config, options.family) is not DIFFUSION_FAMILY:
            what = describe_model(checkpoint.config, options.family)
            raise CheckpointError(f"{checkpoint.where} is {what}, no band of MultiBand "
                                  "Diffusion: export it without --bands.")
    models = [_load_model(checkpoint, options, DIFFUSION_FAMILY) for checkpoint in checkpoints]
    multiband_diffusion.check(models)
    manifest = merge_manifests([build_manifest(model, options) for model in models], multiband_diffusion.notes(*models))
    return PreparedRelease(multiband_diffusion.files(*models), manifest, DIFFUSION_FAMILY, models,
                           lambda other, _: prepare_bands(checkpoints, other),
                           xp_folders=[each.file.path.parent for each in checkpoints if each.file])


def _load_model(checkpoint: Checkpoint, options: ExportOptions, family: Family) -> ReleaseModel:
    return ReleaseModel.from_checkpoint(checkpoint, version_tag(options.version), options.weights, options.dtype,
                                        options.patterns, of_audiocraft=family.audiocraft)
