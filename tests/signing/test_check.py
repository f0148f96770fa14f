"""Signed releases: whatever is changed after the signing, the release is refused."""

import os
import random
import shutil
from contextlib import suppress

import pytest
from helpers import command

from audiocraft_export import inspect, verify
from audiocraft_export.errors import ReleaseError
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.signing.check import other_files, signature_problems
from audiocraft_export.signing.keys import read_public_key

from .signers import write_keys


def problems(folder, key):
    """Return the problems by the signature alone."""
    return dict(signature_problems(folder, Manifest.load(folder), read_public_key(key), {}))


def test_an_unchanged_release_is_signed(signed, keys):
    assert problems(signed, keys[1]) == {} and verify(signed, key=keys[1]).signed
    assert verify(signed).signed is None
    assert {*os.listdir(signed)} == {"state_dict.bin", "export.json", "model.sig", "provenance.intoto.json"}


def test_no_flipped_bit_of_any_file_is_accepted(signed, keys):
    key, chance, accepted = read_public_key(keys[1]), random.Random(2), []
    files = {path: path.read_bytes() for path in sorted(signed.iterdir())}
    for _ in range(300):  # 2,000 in tests/torture/signatures.py
        path = chance.choices([*files], [len(data) ** 0.5 for data in files.values()])[0]
        data, at, bit = bytearray(files[path]), chance.randrange(len(files[path])), 1 << chance.randrange(8)
        data[at] ^= bit
        path.write_bytes(data)
        with suppress(ReleaseError):  # of the manifest
            if not any(signature_problems(signed, Manifest.load(signed), key, {})):
                accepted.append((path.name, at, bit))
        path.write_bytes(files[path])
    assert accepted == [] and verify(signed, key=keys[1]).ok


@pytest.mark.parametrize(("change", "file", "says"), [
    (lambda folder: (folder / "notes.txt").write_text("x"), "notes.txt", "not listed in model.sig"),
    (lambda folder: (folder / "sub").mkdir() or (folder / "sub" / "x").touch(), "sub/x", "not listed in model.sig"),
    (lambda folder: (folder / "link").symlink_to("/etc"), "link", "not listed in model.sig"),
    (lambda folder: (folder / "state_dict.bin").rename(folder / "other.bin"), "state_dict.bin", "missing"),
    (lambda folder: (folder / "state_dict.bin").unlink(), "state_dict.bin", "missing"),
    (lambda folder: (folder / "model.sig").unlink(), "model.sig", "missing: the release is not signed"),
    (lambda folder: (folder / "state_dict.bin").rename(folder.parent / "x") and (folder / "state_dict.bin").symlink_to(
        folder.parent / "x"), "state_dict.bin", "not a regular file"),
    (lambda folder: (folder / "state_dict.bin").write_bytes(b"x"), "state_dict.bin", "sha256 differs from model.sig"),
    (lambda folder: (folder / "provenance.intoto.json").write_bytes(b"x"), "provenance.intoto.json",
     "not a valid signature"),
    (lambda folder: shutil.copy(folder / "provenance.intoto.json", folder / "model.sig"), "model.sig",
     "not a signature of files"),
    (lambda folder: shutil.copy(folder / "model.sig", folder / "provenance.intoto.json"), "provenance.intoto.json",
     "made for other files"),
])
def test_a_changed_release_is_refused(signed, keys, change, file, says):
    change(signed)
    assert says in problems(signed, keys[1])[file]
    result = verify(signed, key=keys[1])
    assert not result.ok and result.signed is False and file in {problem.file for problem in result.problems}


@pytest.mark.parametrize("key", [False, True])
def test_a_signature_alone_proves_nothing(signed, keys, key):
    with pytest.raises(ReleaseError) as refused:
        verify(signed / "model.sig", key=keys[1] if key else None)
    assert refused.value.code == "wrong-target" and f"verify {signed} --key PUBLIC.pem" in refused.value.hint


@pytest.mark.parametrize("name", ["export.json", "model.sig", "provenance.intoto.json"])
def test_a_file_about_a_release_stands_for_it(signed, name):
    folder = shutil.copytree(signed, signed.parent / "copy")
    assert inspect(folder / name).manifest == Manifest.load(signed)
    result = command("convert", folder / name, "--to", "safetensors", cwd=signed.parent)
    assert result.returncode == 0 and (folder / "model.safetensors").exists()


def test_another_key_is_refused(signed, tmp_path):
    other = write_keys(tmp_path / "other")[1]
    assert problems(signed, other) == dict.fromkeys(["model.sig", "provenance.intoto.json"], "signed with another key")


def test_a_new_manifest_with_a_right_checksum_is_refused(signed, keys, export):
    before = (signed / "model.sig").read_bytes()
    export(weights="last", sign=None)
    assert not (signed / "model.sig").exists()
    (signed / "model.sig").write_bytes(before)
    found = problems(signed, keys[1])
    assert {"export.json", "state_dict.bin"} <= {*found} and verify(signed).ok


def test_the_card_and_the_files_of_git_and_of_a_download_may_change(signed, keys):
    for name in ("README.md", "training-curve.png", ".gitattributes", ".git/config", ".cache/huggingface/x"):
        (signed / name).parent.mkdir(parents=True, exist_ok=True)
        (signed / name).write_text("x")
    assert verify(signed, key=keys[1]).ok


def test_a_single_file_and_a_release_without_a_valid_manifest_have_no_signature(signed, keys):
    with pytest.raises(Exception, match="is a file"):
        verify(signed / "state_dict.bin", key=keys[1])
    (signed / "export.json").unlink()
    assert verify(signed, key=keys[1]).signed is False


def test_other_files_are_listed_with_their_folders(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/b/c", "a/d", "e"):
        (tmp_path / name).touch()
    assert other_files(tmp_path, ["a/b", "e"]) == ["a/d"]
    assert other_files(tmp_path, ["."]) == other_files(tmp_path, [""]) == []
