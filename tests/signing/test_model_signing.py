"""The package model_signing: it accepts our signatures, we accept its signatures, and both refuse the same changes."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from audiocraft_export import convert, verify
from audiocraft_export.signing.bundle import read_statement
from audiocraft_export.signing.keys import read_public_key

from .signers import write_keys

if sys.version_info < (3, 10):  # which model_signing needs; it is in the extra `dev` for all other versions
    pytest.skip("needs Python 3.10", allow_module_level=True)

import model_signing

CURVES = [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1]


def is_accepted_by_theirs(folder, public):
    """Verify as the command does without further options."""
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=["model.sig"])
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public).set_hashing_config(hashing)
    try:
        config.verify(folder, folder / "model.sig")
    except ValueError:
        return False
    return True


def sign_with_theirs(folder, private, ignored=("README.md",)):
    paths = [folder / name for name in ("model.sig", *ignored)]
    hashing = model_signing.hashing.Config().set_ignored_paths(paths=paths)
    model_signing.signing.Config().use_elliptic_key_signer(private_key=private).set_hashing_config(hashing).sign(
        folder, folder / "model.sig")


@pytest.mark.parametrize("curve", CURVES)
def test_each_accepts_the_signature_of_the_other(export, tmp_path, curve):
    private, public = write_keys(tmp_path / "own", curve)
    folder = export(sign=private, attest=True, format="safetensors", card=True).folder
    assert (folder / "README.md").exists()
    assert is_accepted_by_theirs(folder, public) and verify(folder, key=public).ok
    ours = (folder / "model.sig").read_bytes()
    sign_with_theirs(folder, private, ["README.md", "training-curve.png"])
    assert (folder / "model.sig").read_bytes() != ours
    assert is_accepted_by_theirs(folder, public) and verify(folder, key=public).ok


def test_each_accepts_the_signature_of_the_other_without_attestations(export, keys):
    folder = export(sign=None, digest=True).folder
    sign_with_theirs(folder, keys[0])
    assert is_accepted_by_theirs(folder, keys[1]) and verify(folder, key=keys[1]).ok
    assert not export().written  # their signature is valid
    (folder / "model.sig").unlink()
    assert export().signed and is_accepted_by_theirs(folder, keys[1])


def test_the_statement_of_one_release_is_theirs(export, keys):
    folder = export(digest=True).folder
    ours = read_statement(folder / "model.sig", read_public_key(keys[1]))
    sign_with_theirs(folder, keys[0])
    theirs = read_statement(folder / "model.sig", read_public_key(keys[1]))
    assert {name: ours[name] for name in ("_type", "predicateType")} == {name: theirs[name]
                                                                        for name in ("_type", "predicateType")}
    assert ours["subject"][0]["digest"] == theirs["subject"][0]["digest"]
    assert ours["predicate"]["resources"] == theirs["predicate"]["resources"]
    for each in (ours, theirs):
        del each["predicate"]["serialization"]["ignore_paths"]
    assert ours["predicate"]["serialization"] == theirs["predicate"]["serialization"]


def test_both_accept_a_converted_release(signed, keys, tmp_path):
    folder = convert(signed, "safetensors", tmp_path / "there", sign=keys[0]).folder
    assert is_accepted_by_theirs(folder, keys[1]) and verify(folder, key=keys[1]).ok


def test_theirs_refuses_what_ours_refuses(signed, keys, tmp_path):
    chance = random.Random(3)
    files = {path: path.read_bytes() for path in signed.iterdir() if path.name != "model.sig"}
    for _ in range(200):
        path = chance.choice([*files])
        at, bit = chance.randrange(len(files[path])), 1 << chance.randrange(8)
        path.write_bytes(files[path][:at] + bytes([files[path][at] ^ bit]) + files[path][at + 1:])
        assert not is_accepted_by_theirs(signed, keys[1])
        path.write_bytes(files[path])
    assert is_accepted_by_theirs(signed, keys[1])
    assert not is_accepted_by_theirs(signed, write_keys(tmp_path / "other")[1])
    for change, undo in ((lambda: (signed / "x").touch(), lambda: (signed / "x").unlink()),
                         (lambda: (signed / "state_dict.bin").rename(signed / "y"),
                          lambda: (signed / "y").rename(signed / "state_dict.bin"))):
        change()
        assert not is_accepted_by_theirs(signed, keys[1]) and not verify(signed, key=keys[1]).ok
        undo()
    assert is_accepted_by_theirs(signed, keys[1])


def test_their_command_accepts_a_release_as_documented(signed, keys):
    page = (Path(__file__).parents[2] / "docs" / "signing.md").read_text()
    words = re.search(r"^model_signing (.*)$", page, re.MULTILINE)[1]
    words = words.replace("FOLDER", str(signed)).replace("public.pem", str(keys[1])).split()
    result = subprocess.run([sys.executable, "-m", "model_signing", *words], capture_output=True, text=True)
    assert result.stdout == "Verification succeeded\n"
