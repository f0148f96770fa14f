"""Compare a written file with its parts, and say where the bytes came from."""

import os
import shutil
from pathlib import Path
from zlib import crc32

import pytest
from helpers import LARGE_STATE, SIG, flip_bit, on_disk

from audiocraft_export import ExportError, convert, export_checkpoint, export_lm, export_xp
from audiocraft_export.errors import CheckpointError
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.storage import durable_file, read_back
from audiocraft_export.storage.platform import bytes_read_from_disks
from audiocraft_export.storage.read_back import Part, compare

CONTENT = [os.urandom(size) for size in (0, 1, 700, 300_000)]
PARTS = [Part(b"head" * index, len(data), crc32(data)) for index, data in enumerate(CONTENT)] + [Part(b"the end")]
DATA = b"".join(part.frame + data for part, data in zip(PARTS, [*CONTENT, b""]))


@pytest.fixture(params=[0, 1 << 30], ids=["two threads", "one thread"])
def threads(request, monkeypatch):
    monkeypatch.setattr(read_back, "_LARGE", request.param)


def test_a_change_of_any_byte_is_found(tmp_path, threads):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    compare(path, PARTS, from_disk=True)
    for position in [*range(40), 5000, len(DATA) - 8, len(DATA) - 1]:
        data = bytearray(DATA)
        data[position] ^= 1
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match="bytes .* of file differ from what was written"):
            compare(path, PARTS, from_disk=True)


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"x", b""], ids=["shorter", "longer", "empty"])
def test_another_size_is_found(tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(CheckpointError, match=f"file has {len(data)} bytes, {len(DATA)} were written"):
        compare(tmp_path / "file", PARTS, from_disk=False)


@pytest.mark.parametrize("options", [{}, {"format": "safetensors", "card": False}, {"dtype": "float16"}],
                         ids=["audiocraft", "safetensors", "cast"])
@pytest.mark.parametrize(("verify", "expected"), [("bytes", "device"), ("cache", "cache"), ("none", "none")])
def test_the_manifest_says_where_the_files_were_read_back_from(make_xp, dora_dir, verify, expected, options):
    folder = make_xp(best_state=LARGE_STATE)
    before = bytes_read_from_disks()  # of imports, too
    report = export_xp(SIG, dora_dir, verify=verify, **options)
    read = bytes_read_from_disks() - before
    assert Manifest.load(report.folder).read_back == (expected if on_disk(folder) or verify == "none" else "cache")
    if on_disk(folder):
        assert (read >= report.manifest.nbytes) == (verify == "bytes")


def test_a_file_in_memory_is_read_back_from_the_cache(make_xp):
    path = Path("/dev/shm") / f"audiocraft-export-{os.getpid()}"
    try:
        assert export_checkpoint(make_xp() / "checkpoint.th", path).manifest.read_back == "cache"
    finally:
        shutil.rmtree(path)


def test_a_system_that_cannot_drop_pages_says_cache(make_xp, dora_dir, monkeypatch):
    make_xp()
    monkeypatch.delattr(os, "posix_fadvise")
    assert export_xp(SIG, dora_dir).manifest.read_back == "cache"


def test_a_conversion_is_read_back_from_the_device(make_xp, dora_dir, tmp_path):
    release = export_xp(make_xp().name, dora_dir, verify="none").folder
    made = convert(release, "safetensors", tmp_path / "converted")
    assert made.manifest.read_back == ("device" if on_disk(tmp_path) else "cache")


def damage_on(monkeypatch, act):
    """Damage a staged file with weights after it has left the page cache."""
    drop = read_back.drop_cache

    def damaged(descriptor):
        drop(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name in ("state_dict.bin", "model.safetensors", "staged"):
            time = path.stat().st_mtime_ns
            act(path)
            os.utime(path, ns=(time, time))
    monkeypatch.setattr(read_back, "drop_cache", damaged)


@pytest.mark.parametrize("options", [{}, {"format": "safetensors", "card": False}, {"dtype": "bfloat16"}],
                         ids=["audiocraft", "safetensors", "cast"])
def test_bytes_that_change_on_the_disk_are_found_and_the_previous_release_stays(
        make_xp, dora_dir, monkeypatch, threads, options):
    folder = make_xp(best_state=LARGE_STATE)
    export_xp(SIG, dora_dir, version="1")
    before = {path.name: path.read_bytes() for path in (folder / "export").iterdir()}
    for position in (0, 70, 1000, -1, -40):
        def change(path, position=position):
            data = bytearray(path.read_bytes())
            data[position] ^= 1
            path.write_bytes(data)
        damage_on(monkeypatch, change)
        with pytest.raises(ExportError, match="The written file differs from its content") as error:
            export_xp(SIG, dora_dir, **options)
        monkeypatch.undo()
        assert error.value.code == "read-back-failed"
        assert before == {path.name: path.read_bytes() for path in (folder / "export").iterdir()}


def test_a_drop_in_is_read_back_from_the_device(make_xp, tmp_path, monkeypatch):
    damage_on(monkeypatch, lambda path: flip_bit(path, LARGE_STATE["model"]["v"]))
    checkpoint = make_xp(best_state=LARGE_STATE) / "checkpoint.th"
    with pytest.raises(ExportError, match="The written file differs from its content"):
        export_lm(checkpoint, tmp_path / "out" / "state_dict.bin")


def test_bytes_that_arrive_wrong_in_the_cache_are_found(make_xp, dora_dir, monkeypatch):
    make_xp(best_state=LARGE_STATE)
    write = os.write

    def wrong(descriptor, data):
        changed = bytearray(data)
        if len(changed) > 1 << 16:
            changed[-1] ^= 1
        return write(descriptor, changed)
    monkeypatch.setattr(durable_file.os, "write", wrong)
    with pytest.raises(ExportError, match="The written file differs from its content") as error:
        export_xp(SIG, dora_dir, verify="cache")
    assert error.value.code == "read-back-failed"


@pytest.mark.parametrize("verify", ["bytes", "cache", "none"])
@pytest.mark.parametrize("options", [{}, {"format": "safetensors", "card": False}], ids=["audiocraft", "safetensors"])
def test_a_corrupted_checkpoint_is_named_however_files_are_read_back(make_xp, dora_dir, verify, options):
    folder = make_xp(best_state=LARGE_STATE)
    flip_bit(folder / "checkpoint.th", LARGE_STATE["model"]["v"])
    with pytest.raises(ExportError, match="its CRC-32 differs") as error:
        export_xp(SIG, dora_dir, verify=verify, **options)
    assert error.value.code == "corrupted-file" and not (folder / "export").exists()
