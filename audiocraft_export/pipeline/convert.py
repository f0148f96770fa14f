"""Convert a release to another format without loss: AudioCraft's own, or safetensors."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Optional, Union

from .. import progress
from ..checkpoint.torch_file import TorchFile
from ..errors import ReleaseError, listing, printable
from ..experiment.xp import MANIFEST, AnyPath
from ..formats.safetensors.layout import from_safetensors, to_safetensors
from ..options import AUDIOCRAFT, ExportOptions
from ..release.content import Content
from ..release.families import multiband_diffusion
from ..release.manifest import Manifest
from ..release.owned_files import OwnedFiles, is_release_file, release_file_names
from ..release.provenance import nonfinite_warning
from ..release.report import ExportReport
from ..sharing.card.update import warn_of_stale_card
from ..storage.writer import resolve_output
from ..verification.release import refuse_other_paths, verify
from .execute import write
from .preflight import check_folder, check_packages

SAFETENSORS = "safetensors"
BOTH = (AUDIOCRAFT, SAFETENSORS)


def convert(folder: AnyPath, to: str, into: Optional[AnyPath] = None,
            max_shard_size: Union[str, int] = ExportOptions.max_shard_size, force: bool = False) -> ExportReport:
    """Make a release of another format out of one: the very release that an export in that format would be.

    Args:
        to: `audiocraft` or `safetensors`.
        into: where it goes; None is the same folder, where it takes the place of the other in one step.
        max_shard_size: bytes of a file of safetensors, or as `5GB`.
        force: whether to replace a release of another experiment in `into`.

    Raises:
        ExportError: if the release is not sound or cannot be converted, or what is made of it cannot be written.
    """
    refuse_other_paths(Path(folder))
    if os.path.isfile(folder):
        raise ReleaseError(f"{folder} is a file: name the folder of a release.")
    folder = resolve_output(Path(folder).absolute())
    manifest = Manifest.load(folder)
    if manifest.release_format not in BOTH or to not in BOTH:
        raise ReleaseError(f"{folder} is in the format {manifest.release_format}, and cannot be converted to {to} "
                           f"without loss: export it again, with format={to}.")
    target = resolve_output(Path(into).absolute()) if into else folder
    has_same_shards = to == AUDIOCRAFT or manifest.options.get("max_shard_size") == max_shard_size
    check_packages(ExportOptions(format=to, card=False))
    with progress.track(printable(manifest.name), passes=2):
        files = _read_files(folder, manifest)
        if manifest.release_format == to and target == folder and has_same_shards:
            return ExportReport(folder, manifest, written=False)
        options = {name: value for name, value in manifest.options.items() if name not in ("format", "max_shard_size")}
        if to == SAFETENSORS:
            files = to_safetensors(files, manifest, max_shard_size)
            options = {**options, "format": to, "max_shard_size": max_shard_size}
        owned = OwnedFiles(files, manifest, force=force)
        check_folder(target, files, owned)
        counted = [nonfinite_warning(file, tensors) for file, tensors in manifest.nonfinite.items()]
        warnings = [text for text in manifest.warnings if text not in counted]  # those that `write` does not add again
        made = replace(manifest, files=[], nonfinite={}, warnings=warnings, options=options)
        report = write(target, files, made, owned)
    warn_of_stale_card(target)
    return report


def _read_files(folder: Path, manifest: Manifest) -> Mapping[str, Content]:
    """Read the files of a release in AudioCraft's format, once it is proved that they are sound."""
    names = release_file_names(manifest)
    progress.set_total(manifest.nbytes, passes=1)
    problems = verify(folder, by_torch=False).problems
    wrong = [str(each).rstrip(".") for each in problems if each.file in (*names, MANIFEST)]
    if wrong:
        raise ReleaseError(f"{folder} is not the release that its manifest describes ({listing(wrong, 2)}): export it "
                           "again, or see what audiocraft-export verify says.")
    if manifest.release_format == SAFETENSORS:
        files = from_safetensors(folder, names)
        if not all(is_release_file(name, manifest.sig) for name in files):
            raise ReleaseError(f"{folder} names files that no release has ({listing([*files])}): export it again.")
        return files
    return {name: _read_file(folder / name) for name in names}


def _read_file(path: Path) -> Content:
    if path.name.endswith(".yaml"):
        return path.read_bytes()
    state = TorchFile.read(path).state
    return multiband_diffusion.as_written(state) if path.name == multiband_diffusion.FILE else state
