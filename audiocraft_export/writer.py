"""Writing a release so that nothing is lost: stage, fsync, verify, rename, the manifest last."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Callable, Union

from .archive import Archive
from .errors import CheckpointError, ReleaseError, reason
from .release import MANIFEST, Manifest, ReleaseFile, WrittenFile
from .repickle import write_file

STAGE = ".export-"
_CHUNK = 1 << 20


def write_release(folder: Path, files: Sequence[ReleaseFile], stale: Collection[str],
                  describe: Callable[[list[WrittenFile]], Manifest], check: Callable[[Path], None]) -> Manifest:
    """Write a release; whatever fails, an earlier one in the same folder stays as it is.

    Args:
        folder: the release folder; made if it is not there.
        files: what to write.
        stale: names of files of the release before, which are removed if they are not written again.
        describe: makes the manifest, once the files are written.
        check: verifies the folder with the new files, before they take their final names.

    Raises:
        ReleaseError: if it cannot be written.
        ExportError: what `check` raises.
        CheckpointError: if bytes read from the checkpoint are damaged.
    """
    with _staging(folder) as stage:
        written = [_write_staged(stage / file.name, file) for file in files]
        check(stage)
        manifest = describe(written)
        text = json.dumps(manifest.to_dict(), indent=2, allow_nan=False) + "\n"
        with _durable(stage / MANIFEST) as stream:
            stream.write(text.encode("utf-8"))
        for name in [*(file.name for file in files), MANIFEST]:
            os.replace(stage / name, folder / name)
        for name in set(stale) - {file.name for file in files}:
            if os.path.isfile(folder / name):
                (folder / name).unlink()
        _fsync_folder(folder)
    return manifest


def write_single(path: Path, content: Mapping[str, Any]) -> None:
    """Write one file of a release, without a manifest; an earlier one survives any failure.

    Raises:
        ReleaseError: if it cannot be written, or what was written does not verify.
        CheckpointError: if bytes read from the checkpoint are damaged.
    """
    file = ReleaseFile(path.name, content)
    with _staging(path.parent) as stage:
        _write_staged(stage / path.name, file)
        read_back(stage, [file])
        os.replace(stage / path.name, path)
        _fsync_folder(path.parent)


def read_back(folder: Path, files: Iterable[ReleaseFile]) -> None:
    """Compare every record of written files in a folder with its CRC-32, and every text with what it should be.

    Raises:
        ReleaseError: if one differs.
    """
    try:
        for file in files:
            if isinstance(file.content, str):
                _read_text(folder / file.name, file.content)
            else:
                _read_archive(folder / file.name)
    except CheckpointError as exc:
        raise ReleaseError(f"What was written does not read back ({exc}): check the disk and export again.") from exc


def is_intact(folder: Path, manifest: Manifest) -> bool:
    """Whether the files of a release folder are those of the manifest, byte for byte."""
    return all(_sha256(folder / file.name, file.bytes) == file.sha256 for file in manifest.files)


def _write_staged(path: Path, file: ReleaseFile) -> WrittenFile:
    with _durable(path) as stream:
        hashing = _Hashing(stream)
        if isinstance(file.content, str):
            hashing.write(file.content.encode("utf-8"))
        else:
            write_file(hashing, file.content)  # type: ignore[arg-type]
    return WrittenFile(file.name, path.stat().st_size, hashing.sha256.hexdigest())


def _read_archive(path: Path) -> None:
    archive = Archive(path)
    for name in archive.names:
        archive.blob(name).checked()


def _read_text(path: Path, text: str) -> None:
    if path.read_bytes() != text.encode("utf-8"):
        raise CheckpointError(f"{path.name} holds another text")


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A new folder inside `folder`, on the same disk; both are gone after a failure if they were not there."""
    made = [parent for parent in (folder, *folder.parents) if not os.path.exists(parent)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        for parent in made:
            _fsync_folder(parent.parent)
        made = []
    except (OSError, ValueError) as exc:
        raise ReleaseError(f"The release cannot be written to {folder} ({reason(exc)}): make room, or choose "
                           "another folder.") from exc
    finally:
        for parent in made:
            _remove_empty(parent)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        pass


@contextmanager
def _durable(path: Path) -> Iterator[BinaryIO]:
    with open(path, "xb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path, nbytes: int) -> str:
    sha256 = hashlib.sha256()
    try:
        if path.stat().st_size == nbytes:
            with open(path, "rb") as stream:
                for chunk in iter(lambda: stream.read(_CHUNK), b""):
                    sha256.update(chunk)
            return sha256.hexdigest()
    except OSError:
        pass
    return ""


class _Hashing:
    """A stream that hashes what passes through."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.sha256 = hashlib.sha256()

    def write(self, data: Union[bytes, memoryview]) -> int:
        self.sha256.update(data)
        return self._stream.write(data)

    def flush(self) -> None:
        self._stream.flush()
