"""Every refusal of an export that can be known beforehand, before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..experiment.xp import MANIFEST
from ..formats.registry import FORMATS, require_loader
from ..formats.requirements import require_packages
from ..options import ExportOptions
from ..release.families.registry import Family
from ..release.owned_files import OwnedFiles
from ..storage.writer import check_output


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


def check_loader(options: ExportOptions, family: Family) -> None:
    """Check that what `verify=load` rebuilds the models with is installed.

    Raises:
        ReleaseError: if it is not, or the family has no loader.
    """
    if options.verify == "load":
        require_loader(options.format, family)


def check_folder(folder: Path, files: Mapping[str, int]) -> None:
    """Check that a release can be written to a folder without replacing anything else.

    Args:
        folder: the release folder.
        files: the size of each file by its name, in bytes, without the manifest.

    Raises:
        CheckpointError: if it would replace a training checkpoint.
        ReleaseError: if something that is no file has the name of one, or the disk has less space.
    """
    OwnedFiles(files).refuse_training_checkpoints(folder)
    check_output(folder, [*files, MANIFEST], sum(files.values()))
