"""Refuse an export that cannot succeed, before anything is made."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.plain_config import to_plain
from ..errors import CheckpointError
from ..experiment.config import Config, to_container
from ..experiment.xp import HYDRA_SETTINGS, MANIFEST, Experiment
from ..formats.registry import FORMATS, encode_release, refuse_family, require_loader
from ..formats.requirements import require_packages
from ..options import ExportOptions
from ..release.content import Content, text_bytes
from ..release.families.registry import family_of
from ..release.manifest import Manifest
from ..release.owned_files import OwnedFiles, refuse_other_experiment, refuse_training_folder
from ..release.prepare import PreparedRelease
from ..release.weights import refuse_missing_weights
from ..storage.swap import refuse_non_files
from ..storage.writer import check_writable, resolve_output


def preflight(prepared: PreparedRelease, options: ExportOptions) -> dict[str, Content]:
    """Check everything but the folder of a release before it is written, and return the content of its files by name.

    Raises:
        ExportError: if a package or a loader is missing, or the format cannot hold this model.
    """
    check_packages(options)
    if options.verify == "load":
        require_loader(options.format, prepared.family)
    return encode_release(prepared, options)


def check_before_training(xp: Experiment, cfg: Any, options: ExportOptions) -> None:
    """Check what can be known of an export before its training.

    Args:
        cfg: the experiment's configuration: OmegaConf, argparse namespace or dict.

    Raises:
        ExportError: if the export would fail at the end of the training.
    """
    check_packages(options)
    folder, home = resolve_output(options.release_folder(xp.folder).absolute()), Path(os.path.realpath(xp.folder))
    refuse_training_folder(folder, [home])
    previous = Manifest.unverified(folder)
    is_known = previous.get("sig") is not None or isinstance(previous.get("bands"), list)
    if is_known and not options.force:  # else only the checkpoint shows whose it is
        refuse_other_experiment(previous, {"sig": xp.sig}, folder, [home])
    check_writable(folder)
    if options.config is not None:
        Config.load(Path(options.config))
    try:
        config = Config(to_plain(to_container(cfg))).with_choices(xp.folder / HYDRA_SETTINGS)
    except CheckpointError:  # only the checkpoint shows whether that matters
        return
    family = family_of(config, options.family)
    refuse_missing_weights(config, options.weights)
    refuse_family(options.format, config, family)
    if options.verify == "load":
        require_loader(options.format, family)


def check_packages(options: ExportOptions) -> None:
    """Check that the packages for the format, the model card and the Hub are installed; before a training, too.

    Raises:
        ReleaseError: if one is missing or too old.
    """
    require_packages(f"format={options.format}", *FORMATS[options.format].requires)
    if options.has_card:
        require_packages("A model card (card=true, which --no-card leaves out)", "huggingface_hub", "matplotlib")
    if options.hub:
        require_packages("Pushing to the Hub", "huggingface_hub")


def check_folder(folder: Path, files: Mapping[str, Content], owned: OwnedFiles) -> None:
    """Check that files, and a manifest, may be written to a folder.

    Only the free disk space is left to the writer: a release that is up to date needs none.

    Raises:
        ReleaseError: if the folder belongs to a training, or they would replace a release of another experiment, a file
            of no release, or a folder, a pipe or the like.
    """
    refuse_training_folder(folder, owned.xp_folders)
    refuse_non_files(folder, [*files, MANIFEST])
    owned.refuse_foreign_files(folder, lambda path: _may_hold(path, files[path.name]))


def _may_hold(path: Path, content: Content) -> bool:
    """Whether a file may hold some content, as far as that is known before it is encoded."""
    data = text_bytes(content)
    return data is None or path.read_bytes() == data
