"""The content digest on the command line: run --digest, inspect --digest, verify --same-as."""

import json
from hashlib import sha256

import pytest
import torch
from helpers import model_state

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli.limits import MAX_PROBLEMS
from audiocraft_export.verification import weights

from ..commands import command, inspected, lines

SIG, OTHER = "11111111", "22222222"


@pytest.fixture
def release(train, dora_dir):
    train(SIG, [], [1.])
    return export_xp(SIG, dora_dir, digest=True)


def test_run_writes_both_digests_into_a_release_that_is_up_to_date(train, tmp_path, dora_dir):
    xp = train(SIG, [], [1.])
    export_xp(SIG, dora_dir)
    for argv in ([SIG], ["--all"]):
        line, = lines("run", *argv, "--digest", "--source-digest", cwd=tmp_path)
        assert line["result"] == "already_exported" and line["manifest"]["content_digest"].startswith("sha256:")
        assert line["manifest"]["checkpoint"]["sha256"] == sha256((xp / "checkpoint.th").read_bytes()).hexdigest()


@pytest.mark.parametrize("flag", ["--digest", "--source-digest"])
def test_all_completes_a_release_that_lacks_a_digest_and_no_other(train, tmp_path, dora_dir, flag):
    train(SIG, [], [1.])
    manifest = export_xp(SIG, dora_dir).folder / "export.json"
    written = []
    for _ in range(2):
        command("run", "--all", flag, cwd=tmp_path)
        written.append((manifest.stat().st_mtime_ns, "sha256:" in manifest.read_text()))
    assert written[0] == written[1] and written[0][1] == (flag == "--digest")


def test_inspect_shows_the_digest_of_a_release_in_any_format(release, tmp_path, dora_dir):
    digest = release.manifest.content_digest
    other = export_xp(SIG, dora_dir, ExportOptions(format="safetensors", card=False, folder=tmp_path / "other")).folder
    for target in (release.folder, other, other / "export.json"):
        assert {line["content_digest"] for line in inspected(tmp_path, target, "--digest")} == {digest}
        assert digest in command("inspect", target, "--digest", cwd=tmp_path).stdout
    assert {line["content_digest"] for line in inspected(tmp_path, release.folder)} == {None}
    one, codec = (inspected(tmp_path, release.folder / name, "--digest")[0]["content_digest"]
                  for name in ("state_dict.bin", "compression_state_dict.bin"))
    assert one == digest != codec  # the compression model is a reference, without tensors


def test_inspect_shows_the_digest_that_an_export_would_have(release, tmp_path):
    digest = release.manifest.content_digest
    for target in (SIG, release.folder.parent, release.folder.parent / "checkpoint.th"):
        line, = inspected(tmp_path, target, "--digest")
        assert line["content_digest"] == digest
    line, = inspected(tmp_path, SIG)
    assert line["content_digest"] is None


def test_inspect_shows_the_digest_of_a_release_whose_checkpoint_is_gone(release, tmp_path):
    (release.folder.parent / "checkpoint.th").unlink()
    line, = inspected(tmp_path, SIG, "--digest")
    assert line["kind"] == "experiment" and line["content_digest"] == release.manifest.content_digest


def test_inspect_warns_of_a_manifest_with_another_digest(release, tmp_path):
    path = release.folder / "export.json"
    values = json.loads(path.read_text())
    del values["checksum"]
    values["content_digest"] = "sha256:0"
    values["checksum"] = sha256(json.dumps(values).encode()).hexdigest()
    path.write_text(json.dumps(values, indent=2) + "\n")
    shown = command("inspect", release.folder, "--digest", cwd=tmp_path).stdout
    assert "warning[digest-mismatch]" in shown and release.manifest.content_digest in shown
    assert "digest-mismatch" not in command("inspect", release.folder, cwd=tmp_path).stdout


def test_verify_compares_two_releases(release, train, tmp_path, dora_dir):
    other = export_xp(SIG, dora_dir, ExportOptions(format="safetensors", card=False, folder=tmp_path / "other")).folder
    for target, same in ((SIG, other), (other, SIG), (release.folder, release.folder.parent)):
        assert "differ" not in command("verify", target, "--same-as", same, cwd=tmp_path).stdout
    found = lines("verify", SIG, "--same-as", other, cwd=tmp_path)
    assert {line["content_digest"] for line in found} == {release.manifest.content_digest}
    changed = {**model_state(3), "steps": torch.tensor(3)}
    train(OTHER, [], [1.], best_state={"model": changed})
    export_xp(OTHER, dora_dir)
    said = command("verify", SIG, "--same-as", OTHER, cwd=tmp_path, code=1).stdout.splitlines()
    assert "state_dict.bin: best_state.steps: values differ from " in said[0] and OTHER in said[0]
    line = lines("verify", SIG, "--same-as", OTHER, cwd=tmp_path, code=1)[0]
    assert not line["ok"] and [each["key"] for each in line["problems"]] == ["best_state.steps"]


def test_several_releases_are_compared_with_one_that_is_read_once(release, train, tmp_path, dora_dir, monkeypatch):
    train(OTHER, [], [1.])
    export_xp(OTHER, dora_dir)
    read, was = [], weights.read_weights
    monkeypatch.setattr(weights, "read_weights", lambda path: read.append(path) or was(path))
    command("verify", SIG, OTHER, "--same-as", SIG, cwd=tmp_path)
    assert len(read) == 3


def test_only_the_first_differences_are_shown(release, train, tmp_path, dora_dir):
    train(OTHER, [], [1.], best_state={"model": {f"w{index}": torch.ones(1) for index in range(30)} | {
        "steps": torch.tensor(10)}})
    export_xp(OTHER, dora_dir)
    assert f"and {32 - MAX_PROBLEMS} more" in command("verify", OTHER, "--same-as", SIG, cwd=tmp_path, code=1).stdout


@pytest.mark.parametrize(("other", "says"), [
    ("nowhere", "No XP 'nowhere'"), ("", "No such file or folder: ''"),
    ("outputs/xps/11111111/export/export.yaml", "No such file or folder")])
def test_a_comparison_without_a_release_is_not_a_success(release, tmp_path, other, says):
    if "/" in other:
        (release.folder / "export.json").rename(tmp_path / "export.json")
    assert says in command("verify", release.files[0], "--same-as", other, cwd=tmp_path, code=1).stderr


def test_a_digest_and_differences_are_not_shown_together(release, tmp_path):
    said = command("inspect", SIG, "--digest", "--diff", SIG, cwd=tmp_path, code=2).stderr
    assert "--digest has no effect with --diff" in said
