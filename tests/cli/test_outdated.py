"""What `run --all` exports again, with which options, and why it skips the rest."""

import json
import os
from dataclasses import replace

import pytest
import torch
from helpers import SIG, solver_state

from audiocraft_export import ExportOptions, export_xp, list_xps
from audiocraft_export.cli.outdated import find_outdated
from audiocraft_export.release.manifest import Manifest

from .commands import command


@pytest.fixture
def exported(train, dora_dir):
    """Export an XP with options, and return its folder."""
    def make(sig=SIG, **options):
        folder = train(sig, [], [1.])
        export_xp(sig, dora_dir, ExportOptions(**options))
        return folder
    return make


def train_more(folder, name="checkpoint.th"):
    """Store another state as a checkpoint of an XP."""
    torch.save(solver_state(sig=folder.name, history=[{"valid": {"ce": 1.}}] * 3, extra=torch.ones(1)), folder / name)


def options_of(folder):
    return Manifest.load(folder / "export").options


def test_an_option_on_the_command_line_is_compared_with_that_of_each_release(exported, tmp_path, dora_dir):
    same, other = exported("11111111", dtype="float16"), exported("22222222")
    result = command("run", "--all", "--dtype", "float16", cwd=tmp_path)
    assert result.stderr == "2 XPs: 1 exported, 1 up to date\n" and result.stdout.startswith("22222222 exported")
    assert options_of(same)["dtype"] == options_of(other)["dtype"] == "float16"
    assert command("run", "--all", "--dtype", "float16", cwd=tmp_path).stderr.startswith("Nothing to do in outputs. ")
    assert command("run", "--all", cwd=tmp_path).stderr == "Nothing to do in outputs. 2 XPs: 2 with other options\n"
    assert command("run", "--all", "--dtype", "null", cwd=tmp_path).stderr == "2 XPs: 2 exported\n"


def test_a_release_that_was_not_read_back_is_made_again_and_read_back(exported, tmp_path):
    folder = exported(verify="none")
    assert command("run", "--all", "--verify", "none", cwd=tmp_path).stderr.startswith("Nothing to do in outputs. ")
    assert command("run", "--all", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    assert Manifest.load(folder / "export").read_back != "none"


def test_a_release_that_was_not_read_back_is_kept_without_its_checkpoint(exported, tmp_path):
    (exported(verify="none") / "checkpoint.th").unlink()
    assert command("run", "--all", cwd=tmp_path).stderr == "Nothing to do in outputs. 1 XP: 1 up to date\n"


def test_a_card_is_added_to_the_releases_without_one(exported, tmp_path):
    exported("11111111", card=True)
    folder = exported("22222222")
    assert command("run", "--all", "--card", cwd=tmp_path).stderr.endswith("2 XPs: 2 up to date\n")
    assert (folder / "export" / "README.md").exists()
    assert command("run", "--all", "--card", cwd=tmp_path).stderr == "Nothing to do in outputs. 2 XPs: 2 up to date\n"


@pytest.mark.parametrize("change", [train_more, lambda folder: (folder / "export" / "state_dict.bin").write_bytes(b"")],
                         ids=["stale", "damaged"])
@pytest.mark.parametrize("options", [{"dtype": "float16", "scrub": ["optim"]}, {"weights": "last", "version": "9"},
                                     {"metric": "ce:max"}], ids=str)
def test_a_release_is_made_again_with_its_options(exported, tmp_path, change, options):
    folder = exported(**options)
    before = options_of(folder)
    change(folder)
    assert command("run", "--all", cwd=tmp_path).stderr == "1 XP: 1 exported\n" and options_of(folder) == before
    change(folder)
    assert command("run", "--all", "--codec", "none", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    assert options_of(folder) == {**before, "codec": "none"}


def test_a_release_that_is_made_again_keeps_its_digests_and_stays_without_a_card(exported, tmp_path):
    folder = exported(format="safetensors", card=False, digest=True, source_digest=True)
    train_more(folder)
    assert command("run", "--all", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    manifest = Manifest.load(folder / "export")
    assert manifest.content_digest and manifest.checkpoint["sha256"] and not (folder / "export" / "README.md").exists()
    command("run", "--all", "--card", cwd=tmp_path)
    assert (folder / "export" / "README.md").exists()


def test_a_release_of_another_checkpoint_stays_one(exported, train, tmp_path, dora_dir):
    folder = train(SIG, [], [1.])
    train_more(folder, "checkpoint_3.th")
    export_xp(SIG, dora_dir, ExportOptions(checkpoint=3))
    torch.save(solver_state(sig=SIG, extra=torch.zeros(2)), folder / "checkpoint_3.th")
    assert command("run", "--all", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    assert Manifest.load(folder / "export").checkpoint["name"] == "checkpoint_3.th"
    assert command("run", "--all", "--checkpoint", "null", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    assert Manifest.load(folder / "export").checkpoint["name"] == "checkpoint.th"


def test_the_shard_size_of_another_format_is_not_kept(exported, tmp_path):
    pytest.importorskip("safetensors")
    folder = exported(format="safetensors", card=False, max_shard_size="1GB")
    assert command("run", "--all", "--format", "audiocraft", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    assert "max_shard_size" not in options_of(folder)


def test_the_scrub_of_a_release_is_kept_unless_forced(exported, tmp_path, caplog):
    folder = exported(scrub=["optim", "user"])
    train_more(folder)
    command("run", "--all", "--scrub", "optim", cwd=tmp_path)
    assert options_of(folder)["scrub"] == ["optim", "user"]
    assert "warning[scrub-kept]: " in caplog.text and "scrub=user of the previous release is kept" in caplog.text
    path = folder / "export" / "export.json"
    path.write_text(path.read_text().replace('"tensors"', '"sensors"'))  # a damaged manifest
    assert command("run", "--all", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    assert options_of(folder)["scrub"] == ["optim", "user"]
    command("run", "--all", "--scrub", "optim", "--force", cwd=tmp_path)
    assert options_of(folder)["scrub"] == ["optim"]


def test_scrub_null_means_no_patterns(exported, tmp_path, caplog):
    folder = exported(scrub=["optim"])
    assert command("run", "--all", "--scrub", "null", cwd=tmp_path).stderr.startswith("Nothing to do in outputs. ")
    assert command("run", "--all", "--scrub", "null", "--force", cwd=tmp_path).stderr == "1 XP: 1 exported\n"
    assert "scrub" not in options_of(folder)


def test_the_reasons_to_skip_an_experiment_are_counted(exported, train, dora_dir, tmp_path):
    exported("11111111"), exported("22222222", weights="last")
    (train("33333333", []) / "checkpoint.th").unlink()
    (dora_dir / "xps" / "44444444").mkdir()
    found = find_outdated(list_xps(dora_dir), {})
    assert not found.options and [(report.manifest.sig, report.status.key) for report in found.kept] == [
        ("11111111", "up_to_date"), ("22222222", "other_options")]
    assert command("run", "--all", cwd=tmp_path).stderr == "Nothing to do in outputs. " \
        "4 XPs: 1 up to date, 1 with other options, 1 not trained yet, 1 without checkpoint\n"
    assert command("run", "--all", "--checkpoint", "7", cwd=tmp_path).stderr.endswith(
        "4 XPs: 3 without checkpoint_7, 1 not trained yet\n")


def test_invalid_options_in_a_manifest_fail_one_export_only(exported, tmp_path):
    folder = exported("11111111")
    manifest = Manifest.load(folder / "export")
    (folder / "export" / "export.json").write_text(replace(
        manifest, options={**manifest.options, "dtype": "int3", "unknown": 1}).text)
    exported("22222222")
    result = command("run", "--all", cwd=tmp_path, code=1)
    assert "error[invalid-option]: 11111111: Invalid value 'int3' for dtype" in result.stderr
    assert result.stderr.endswith("2 XPs: 1 up to date, 1 failed\n")


def test_a_release_outlives_its_checkpoint(exported, tmp_path):
    os.unlink(exported() / "checkpoint.th")
    assert command("run", "--all", cwd=tmp_path).stderr == "Nothing to do in outputs. 1 XP: 1 up to date\n"
    line, = command("run", "--all", "--json", cwd=tmp_path).stdout.splitlines()
    assert json.loads(line)["checkpoint"] is None
    assert command("run", "--all", "--dtype", "float16", cwd=tmp_path).stderr.endswith("1 XP: 1 without checkpoint\n")


def test_the_shard_size_is_for_the_releases_that_have_shards(exported, tmp_path):
    sharded, plain = exported("11111111", format="safetensors", card=False), exported("22222222")
    result = command("run", "--all", "--max-shard-size", "1GB", cwd=tmp_path)
    assert result.stderr == "2 XPs: 1 exported, 1 up to date\n" and result.stdout.startswith("11111111 exported")
    (plain / "export" / "state_dict.bin").unlink()
    result = command("run", "--all", "--max-shard-size", "1GB", cwd=tmp_path)
    assert result.stderr.startswith("--max-shard-size has no effect on 1 of 1 XPs: their format is audiocraft.\n")
    assert options_of(sharded)["max_shard_size"] == "1GB" and "max_shard_size" not in options_of(plain)
    assert "Nothing to do" in command("run", "--all", "--max-shard-size", "1GB", cwd=tmp_path).stderr
    assert "invalid-option" in command("run", "--all", "--max-shard-size", "1XB", cwd=tmp_path, code=2).stderr


def test_releases_that_are_up_to_date_are_kept_in_memory_only_on_demand(exported, dora_dir):
    exported("11111111")
    found = find_outdated(list_xps(dora_dir), {}, keeps=False)
    assert not found.kept and found.skipped["up to date"] == 1
