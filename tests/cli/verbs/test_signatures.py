"""`--sign`, `--attest` and `verify --key`."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from helpers import SIG
from signing.signers import write_keys

from audiocraft_export import export_xp
from audiocraft_export import verify as verify_release
from audiocraft_export.signing.keys import PASSPHRASE
from audiocraft_export.storage.durable_file import WrittenFile

from ..commands import command, inspected, lines


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path / "keys")


@pytest.fixture
def folder(make_xp):
    return make_xp() / "export"


def test_attestations_are_not_part_of_the_size_that_a_new_release_would_change(folder, keys, tmp_path):
    command("run", SIG, "--sign", keys[0], "--attest", "--weights", "last", cwd=tmp_path)
    shown = command("inspect", SIG, cwd=tmp_path).stdout
    assert "changes     weights model" in shown and "size" not in shown


def test_a_signed_release_is_verified_with_the_public_key(folder, keys, tmp_path):
    shown = command("run", SIG, "--sign", keys[0], "--attest", cwd=tmp_path).stdout
    assert ", signed" in shown
    found = lines("verify", SIG, "--key", keys[1], cwd=tmp_path)
    assert {line["file"].rpartition("/")[2] for line in found} == {
        "state_dict.bin", "provenance.intoto.json", "export.json", "model.sig"}
    assert {line["signature"] for line in found} == {"valid"} and all(line["ok"] for line in found)
    assert {line["signature"] for line in lines("verify", SIG, cwd=tmp_path)} == {None}
    (folder / "x").touch()
    found = lines("verify", SIG, "--key", keys[1], cwd=tmp_path, code=1)
    assert {line["signature"] for line in found} == {"invalid"} and not found[-1]["ok"]
    assert "x: not listed in model.sig" in command("verify", SIG, "--key", keys[1], cwd=tmp_path, code=1).stdout


def test_a_release_without_a_signature_fails_and_inspect_says_so(folder, keys, tmp_path):
    command("run", SIG, cwd=tmp_path)
    assert "model.sig: missing: the release is not signed" in command("verify", SIG, "--key", keys[1], cwd=tmp_path,
                                                                      code=1).stdout
    assert [line["signed"] for line in inspected(tmp_path, folder)] == [False]
    command("run", SIG, "--sign", keys[0], cwd=tmp_path)
    assert [line["signed"] for line in inspected(tmp_path, folder)] == [True]
    assert "signature   model.sig, not checked" in command("inspect", folder, cwd=tmp_path).stdout


def test_all_signs_what_the_key_has_not_signed(make_xp, folder, keys, tmp_path):
    make_xp("11111111")
    command("run", SIG, "--sign", keys[0], cwd=tmp_path)
    shown = command("run", "--all", "--sign", keys[0], cwd=tmp_path)
    assert "2 XPs: 1 exported, 1 up to date" in shown.stderr and f"{SIG} already" not in shown.stdout
    command("run", "--all", "--sign", write_keys(tmp_path / "other")[0], cwd=tmp_path)
    command("verify", SIG, "11111111", "--key", tmp_path / "other" / "public.pem", cwd=tmp_path)


def test_workers_get_the_passphrase_from_the_environment(make_xp, folder, tmp_path):
    make_xp("11111111")
    private, public = write_keys(tmp_path / "locked", passphrase="open sesame")
    jobs = ["run", "--all", "--jobs", "2", "--sign", private]
    assert "missing-passphrase" in command(*jobs, cwd=tmp_path, code=1).stderr
    command(*jobs, cwd=tmp_path, **{PASSPHRASE: "open sesame"})
    command("verify", SIG, "11111111", "--key", public, cwd=tmp_path)


def test_a_conversion_is_signed(folder, keys, tmp_path):
    command("run", SIG, cwd=tmp_path)
    command("convert", SIG, "--to", "safetensors", "--sign", keys[0], cwd=tmp_path)
    command("verify", SIG, "--key", keys[1], cwd=tmp_path)


@pytest.mark.parametrize(("argv", "code", "says"), [
    (["run", SIG, "--attest"], 2, "add --sign|set sign"), (["run", "--all", "--slurm", "--sign", "{}"], 2, "--slurm"),
    (["run", SIG, "--sign", "no.pem"], 1, "Cannot read the key no.pem"),
    (["convert", SIG, "--to", "safetensors", "--sign", "no.pem"], 1, "Cannot read the key no.pem"),
])
def test_wrong_usage_is_refused(folder, keys, tmp_path, argv, code, says):
    error = command(*(each.format(keys[0]) for each in argv), cwd=tmp_path, code=code).stderr
    assert any(each in error for each in says.split("|")) and not folder.exists()


def test_a_release_that_somebody_changed_is_exported_again_before_it_is_signed(folder, keys, tmp_path):
    report = export_xp(SIG, tmp_path / "outputs")
    original = (folder / "state_dict.bin").read_bytes()
    state = torch.load(folder / "state_dict.bin", weights_only=True)
    next(iter(state["best_state"].values())).fill_(6)
    torch.save(state, folder / "state_dict.bin")
    data = (folder / "state_dict.bin").read_bytes()
    files = [WrittenFile("state_dict.bin", len(data), sha256(data).hexdigest())]
    (folder / "export.json").write_text(replace(report.manifest, files=files, content_digest="sha256:0").text)
    command("verify", SIG, cwd=tmp_path)
    assert "would be exported" in command("run", SIG, "--sign", keys[0], "--dry-run", cwd=tmp_path).stdout
    shown = command("run", SIG, "--sign", keys[0], cwd=tmp_path).stdout
    assert f"{SIG} exported" in shown and (folder / "state_dict.bin").read_bytes() == original
    assert verify_release(folder, key=keys[1]).ok and "sha256:0\"" not in (folder / "export.json").read_text()
    assert "already exported" in command("run", SIG, "--sign", keys[0], cwd=tmp_path).stdout


def test_a_release_that_is_signed_by_a_conversion_gets_a_content_digest(folder, keys, tmp_path):
    export_xp(SIG, tmp_path / "outputs")
    assert ", signed" in command("convert", SIG, "--to", "audiocraft", "--sign", keys[0], cwd=tmp_path).stdout
    assert json.loads((folder / "export.json").read_text())["content_digest"].startswith("sha256:")
    assert verify_release(folder, key=keys[1]).ok
