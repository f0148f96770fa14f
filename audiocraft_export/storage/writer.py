"""Writing a release so that nothing is lost: stage, fsync, verify, give it its place in one step."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Union

from .. import progress
from ..checkpoint.checkpoint import refuse_training_checkpoints
from ..errors import CheckpointError, ReleaseError, reason
from ..formats.audiocraft.pickler import TorchPickle
from ..formats.safetensors.file import SafetensorsFile
from ..release.families.registry import LM_FILE, OWN_NAMES
from ..release.manifest import MANIFEST, Content, Manifest, ReleaseFile, Tensors, WrittenFile
from ..release.owned_files import is_release_file
from ..signals import exit_on_sigterm
from .durable_file import open_durable
from .lazy_bytes import Sink
from .staging import fsync_folder, remove_stale, staging, staging_parent
from .swap import refuse_non_files, replace_folder

_CHUNK = 1 << 20
STAGED = LM_FILE  # what a single file is called meanwhile: what is left of it is known by that
_OVERHEAD = 1 << 16  # bytes of a release beside its tensors, at least

Nonfinite = Mapping[str, Mapping[str, int]]
_Written = Union[TorchPickle, SafetensorsFile, "RawFile"]


def write_release(folder: Path, files: Sequence[ReleaseFile],
                  describe: Callable[[list[WrittenFile], Nonfinite], Manifest],
                  read_back: bool, check: Callable[[Path], None]) -> Manifest:
    """Write a release; whatever fails, an earlier one in the same folder stays as it is.

    Args:
        folder: the release folder, as `followed` gives it; made if it is not there.
        files: what to write.
        describe: makes the manifest, once the files are written.
        read_back: whether to compare what was written with what it should be, before it takes its place.
        check: what else to verify the folder with the new files by.

    Raises:
        ReleaseError: if it cannot be written, or what was written does not read back.
        ExportError: what `check` raises.
        CheckpointError: if bytes read from the checkpoint are damaged, or a training checkpoint lies there.
    """
    names = [*(file.name for file in files), MANIFEST]
    stale = partial(_previous_files, names[:-1])
    refuse_training_checkpoints(*(folder / name for name in {*names[:-1], *stale(folder)}))
    texts = [encode(file.content) for file in files]
    nbytes = sum(text.nbytes for text in texts)
    progress.set_total(nbytes)
    with _wrap_errors(folder), exit_on_sigterm():
        refuse_non_files(folder, names)
        home = staging_parent(folder)
        _check_free_space(home, nbytes)
        with staging(home, like=folder if home == folder.parent else None) as stage:
            written = [_write_staged(stage / file.name, text, not read_back) for file, text in zip(files, texts)]
            for file, text in zip(files if read_back else (), texts):
                _read_back(stage / file.name, text)
            _refuse_foreign_files(stage, folder, [file.name for file in files])
            check(stage)
            manifest = describe(written, {file.name: text.nonfinite for file, text in zip(written, texts)})
            with open_durable(stage / MANIFEST) as stream:
                stream.write(manifest.text.encode("utf-8"))
            fsync_folder(stage)
            replace_folder(stage, folder, names, stale)
    return manifest


def write_file(path: Path, content: Mapping[str, Any]) -> Mapping[str, int]:
    """Write one file of a release, without a manifest; an earlier one survives any failure.

    Returns:
        By the dotted name of a tensor, how many of its numbers are NaN or infinite.

    Raises:
        ReleaseError: if it cannot be written, or what was written does not verify.
        CheckpointError: if bytes read from the checkpoint are damaged.
    """
    pickled = TorchPickle(content)
    progress.set_total(pickled.nbytes)
    with _wrap_errors(path), exit_on_sigterm():
        refuse_non_files(path.parent, [path.name])
        _check_free_space(path.parent, pickled.nbytes)
        with staging(path.parent) as stage:
            _write_staged(stage / STAGED, pickled, checked=False)
            _read_back(stage / STAGED, pickled)
            if os.path.exists(path):
                shutil.copymode(path, stage / STAGED)
            os.replace(stage / STAGED, path)
            fsync_folder(path.parent)
    return pickled.nonfinite


def replace_files(folder: Path, contents: Mapping[str, Union[str, bytes]]) -> None:
    """Write files of another kind into a release folder, each in the place of what has its name.

    Raises:
        ReleaseError: if they cannot be written; a file that is there survives that.
    """
    with _wrap_errors(folder), exit_on_sigterm(), staging(folder) as stage:
        refuse_non_files(folder, contents)
        for name, content in contents.items():
            _write_staged(stage / STAGED, RawFile(content), checked=True)
            os.replace(stage / STAGED, folder / name)
        fsync_folder(folder)


def resolve_output(path: Path, of: Callable[[str], bool] = os.path.isdir) -> Path:
    """Where a path leads: there is one name only for what is to be replaced.

    Args:
        path: of a release folder; or of a file, with `of=os.path.isfile`.
        of: what may be there already.

    Raises:
        ReleaseError: if something else is there, or a link to nothing: making a folder behind one would fill the
            wrong disk.
    """
    with _wrap_errors(path):
        if os.path.lexists(path) and not of(str(path)):
            kind = "no folder" if of is os.path.isdir else "no file"
            what = kind if os.path.exists(path) else "a link to nothing"
            raise ReleaseError(f"{path} is there already, and {what}: choose another place, or move it away.")
        return Path(os.path.realpath(path))


def remove_stale_staging(folder: Path) -> None:
    """Remove what exports to a folder that were killed have left."""
    remove_stale(folder.parent, folder)


def size_of(content: Content) -> int:
    """How many bytes a file of a release has, but for what its container adds."""
    return encode(content).nbytes


def matches_manifest(folder: Path, files: Iterable[WrittenFile]) -> bool:
    """Whether files of a release folder are what its manifest says, byte for byte."""
    return all(_sha256(folder / file.name, file.bytes) == file.sha256 for file in files)


def _previous_files(names: Collection[str], folder: Path) -> set[str]:
    """The files of the release in a folder that have none of some names; none of others, none that were changed."""
    existing = Manifest.load_or_none(folder)
    return {file.name for file in Manifest.unverified_files(folder) if file.name not in names
            and (file.name in OWN_NAMES or existing and is_release_file(file.name, existing.sig))
            and matches_manifest(folder, [file])}


def dump(folder: Path, contents: Mapping[str, Content]) -> None:
    """Write the files of a release for as long as they are looked at: not durably, and without a manifest.

    Raises:
        OSError: if they cannot be written.
        CheckpointError: if bytes that are read are damaged.
    """
    for name, content in contents.items():
        with open(folder / name, "xb") as stream:
            encode(content).write(stream, checked=True)


def encode(content: Content) -> _Written:
    """The encoder of one file of a release."""
    if isinstance(content, (str, bytes)):
        return RawFile(content)
    return SafetensorsFile(content) if isinstance(content, Tensors) else TorchPickle(content)


class RawFile:
    """A text or bytes, written as they are."""

    def __init__(self, content: Union[str, bytes]) -> None:
        try:
            self._data = content if isinstance(content, bytes) else content.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise CheckpointError(f"A text of the release is none in UTF-8 ({reason(exc)}): keep such characters out "
                                  "of the configuration.") from exc
        self.nbytes = len(self._data)
        self.nonfinite: dict[str, int] = {}

    def write(self, stream: Sink, checked: bool) -> None:
        stream.write(self._data)

    def read_back(self, path: Path) -> None:
        if path.read_bytes() != self._data:
            raise CheckpointError(f"{path.name} holds something else")

    def check_sources(self) -> None:
        """It comes from no file."""


def _write_staged(path: Path, content: _Written, checked: bool) -> WrittenFile:
    with open_durable(path) as file:
        content.write(file, checked)
    return WrittenFile(path.name, file.nbytes, file.sha256)


def _read_back(path: Path, content: _Written) -> None:
    """Compare all that was written with what it should be.

    Raises:
        CheckpointError: if it was read from a checkpoint that is damaged.
        ReleaseError: if it differs.
    """
    try:
        content.read_back(path)
    except CheckpointError as exc:
        content.check_sources()
        raise ReleaseError(f"What was written does not read back ({exc}): check the disk and export again.") from exc


@contextmanager
def _wrap_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as exc:
        raise ReleaseError(f"The release cannot be written to {path} ({reason(exc)}): make room, or choose another "
                           "folder.") from exc


def _check_free_space(home: Path, nbytes: int) -> None:
    disk = shutil.disk_usage(next(folder for folder in (home, *home.parents) if os.path.exists(folder)))
    if disk.total and disk.free < nbytes + _OVERHEAD:
        raise ReleaseError(f"The release takes {nbytes + _OVERHEAD} bytes, and the disk of {home} has {disk.free} free: "
                           "make room, or choose another folder.")


def _refuse_foreign_files(stage: Path, folder: Path, names: Iterable[str]) -> None:
    """Refuse to replace what is of no release: a `config.yaml` or a model that a person put there.

    What a killed export put there, without its manifest, has the same bytes.
    """
    ours = {*OWN_NAMES, *(file.name for file in Manifest.unverified_files(folder))}
    for path in (folder / name for name in names if name not in ours):
        if os.path.lexists(path) and not (os.path.isfile(path) and filecmp.cmp(stage / path.name, path, shallow=False)):
            raise ReleaseError(f"{path} is there already, and no file of a release by its manifest: move it away, or "
                               "choose another folder.")


def _sha256(path: Path, nbytes: int) -> str:
    sha256 = hashlib.sha256()
    try:
        if path.stat().st_size == nbytes:
            with open(path, "rb") as stream:
                for chunk in iter(lambda: stream.read(_CHUNK), b""):
                    sha256.update(chunk)
                    progress.advance(len(chunk))
            return sha256.hexdigest()
    except OSError:
        pass
    return ""
