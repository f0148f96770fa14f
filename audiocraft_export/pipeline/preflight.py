"""Refuse an export that cannot succeed, before anything is made."""

from collections.abc import Mapping
from pathlib import Path

from ..experiment.xp import MANIFEST
from ..formats.registry import FORMATS, encode_release, require_loader
from ..formats.requirements import require_packages
from ..options import ExportOptions
from ..release.content import Content
from ..release.owned_files import OwnedFiles
from ..release.prepare import PreparedRelease
from ..storage.swap import refuse_non_files


def preflight(prepared: PreparedRelease, folder: Path, options: ExportOptions) -> dict[str, Content]:
    """Check everything that can be known before a release is written, and return the content of its files by name.

    Only the free disk space is left to the writer: a release that is up to date needs none.

    Raises:
        ExportError: if a package or a loader is missing, the format cannot hold this model, or as `check_folder`.
    """
    check_packages(options)
    if options.verify == "load":
        require_loader(options.format, prepared.family)
    files = encode_release(prepared, options)
    check_folder(folder, files)
    return files


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


def check_folder(folder: Path, files: Mapping[str, Content]) -> None:
    """Check that files, and a manifest, may be written to a folder.

    Raises:
        CheckpointError: if they would replace a training checkpoint.
        ReleaseError: if they would replace a file of no release, or a folder, a pipe or the like.
    """
    owned = OwnedFiles(files)
    owned.refuse_training_checkpoints(folder)
    refuse_non_files(folder, [*files, MANIFEST])
    owned.refuse_foreign_files(folder, lambda path: _may_hold(path, files[path.name]))


def _may_hold(path: Path, content: Content) -> bool:
    """Whether a file may hold some content, as far as that is known before it is encoded."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    return not isinstance(content, bytes) or path.read_bytes() == content
