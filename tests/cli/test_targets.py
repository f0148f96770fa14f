"""The Dora folder and the experiments that a command line names."""

import argparse
import json
import re
import shutil
from pathlib import Path

import pytest
from helpers import SIG

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.cli.targets import DoraDir, add_dora_dir, find_checkpoint, find_experiment
from audiocraft_export.experiment.xp import Experiment

from .commands import command, listed


def test_no_dora_folder_is_one_sentence(tmp_path):
    assert "is not a Dora folder" in command("list", cwd=tmp_path, code=1).stderr
    wrong = command("list", "--elsewhere", cwd=tmp_path, code=2).stderr
    assert "unknown option '--elsewhere' for 'list'" in wrong


@pytest.mark.parametrize(("target", "says"), [
    ("outputs", "outputs is a Dora folder, not an XP folder"), ("outputs/xps", "outputs: 11111111"),
    ("outputs/xps/33333333", "is a dangling symlink")])
def test_a_folder_that_is_not_an_experiment_is_described(train, tmp_path, dora_dir, target, says):
    train("11111111", [])
    export_xp("11111111", dora_dir)
    (dora_dir / "xps" / "33333333").mkdir()
    (dora_dir / "xps" / "33333333" / "checkpoint.th").symlink_to("nowhere")
    assert says in command("run", target, cwd=tmp_path, code=1).stderr


@pytest.mark.parametrize("verb", ["run", "verify", "convert --to audiocraft", "inspect"])
def test_a_folder_of_releases_names_them(train, tmp_path, dora_dir, verb):
    train("11111111", [])
    for name in ("one", "two"):
        export_xp("11111111", dora_dir, folder=tmp_path / "releases" / name)
    said = command(*verb.split(), "releases", cwd=tmp_path, code=1).stderr
    assert "error[wrong-target]: " in said and "releases/one, " in said and "releases/two\n" in said


@pytest.fixture
def experiments(train, dora_dir):
    """Two experiments, the first with a release, and a second release of it elsewhere."""
    folders = [train(sig, [f"lr={lr}"], [1.]) for lr, sig in enumerate(("11111111", "22222222"))]
    export_xp("11111111", dora_dir)
    export_xp("11111111", dora_dir, ExportOptions(folder=dora_dir.parent / "release"))
    return folders


@pytest.mark.parametrize("target", [
    "11111111", "11", "outputs/xps/11111111", "outputs/xps/11111111/checkpoint.th", "outputs/xps/11111111/export",
    "outputs/xps/11111111/export/", "outputs/xps/11111111/export/export.json",
    "outputs/xps/11111111/export/state_dict.bin", "release", "release/state_dict.bin", "release/export.json"])
@pytest.mark.parametrize("verb", ["run", "verify", "convert --to audiocraft", "inspect"])
def test_every_verb_takes_every_kind_of_target(experiments, tmp_path, verb, target):
    said = command(*verb.split(), target, cwd=tmp_path).stdout
    place = "/release" if verb != "run" and target.startswith("release") else "outputs/xps/11111111"
    assert place.lstrip("/") in said


@pytest.mark.parametrize("verb", ["run", "verify", "convert --to audiocraft", "inspect", "list"])
@pytest.mark.parametrize("place", [".", "export"])
def test_the_current_folder_is_a_target_inside_an_experiment(experiments, verb, place):
    said = command(*verb.split(), ".", cwd=experiments[0] / place).stdout
    assert "11111111" in said or "state_dict.bin: intact" in said
    assert "22222222" not in said


def test_a_damaged_release_is_made_again_from_its_experiment(experiments, tmp_path):
    path = experiments[0] / "export" / "export.json"
    path.write_text("{")
    command("run", path.parent, cwd=tmp_path)
    assert json.loads(path.read_text())["sig"] == "11111111"


@pytest.mark.parametrize("target", ["release", "release/state_dict.bin"])
def test_a_release_without_its_experiment_gets_the_commands_that_work(experiments, tmp_path, target):
    for file in experiments[0].glob("checkpoint*"):
        file.unlink()
    error, hint = command("run", target, cwd=tmp_path, code=1).stderr.splitlines()
    assert error == f"error[wrong-target]: {target} is a release, and outputs has no XP 11111111 with a checkpoint"
    offered = re.findall(r"audiocraft-export (\w+) (\S+)", hint)
    assert [verb for verb, _ in offered] == ["verify", "inspect"]
    for verb, path in offered:
        command(verb, path, cwd=tmp_path)
    (tmp_path / "release" / "state_dict.bin").write_bytes(b"")
    assert "inspect" not in command("run", target, cwd=tmp_path, code=1).stderr
    (tmp_path / "release" / "export.json").write_text("{")
    assert "inspect" not in command("run", target, cwd=tmp_path, code=1).stderr


@pytest.mark.parametrize("verb", ["verify", "convert --to safetensors"])
def test_a_checkpoint_without_a_release_gets_the_command_that_exports_it(experiments, tmp_path, verb):
    path = "outputs/xps/22222222/checkpoint.th"
    error, hint = command(*verb.split(), path, cwd=tmp_path, code=1).stderr.splitlines()
    assert path in error and hint.startswith(f"  hint: export it first: audiocraft-export run {path}")


def test_a_release_in_the_folder_of_another_experiment_is_not_taken_for_its_own(experiments, tmp_path):
    shutil.copytree(experiments[0] / "export", experiments[1] / "export")
    assert "11111111 already exported" in command("run", experiments[1] / "export", cwd=tmp_path).stdout


@pytest.mark.parametrize(("verb", "lines"), [
    ("run", 1), ("verify", 3), ("convert --to audiocraft", 1), ("inspect", 1), ("list", 1)])
def test_targets_that_are_the_same_are_one(experiments, tmp_path, verb, lines):
    same = ["11111111", "111", "outputs/xps/11111111", "./outputs/xps/11111111/checkpoint.th", "111"]
    said = command(*verb.split(), *same, "--json", cwd=tmp_path).stdout.splitlines()
    assert len(said) == lines


def test_wrong_targets_that_are_the_same_are_one_and_do_not_hide_others(experiments, tmp_path):
    said = command("run", "nope", "nope", "11", "22", cwd=tmp_path, code=1)
    assert said.stderr.count("No XP 'nope'") == 1 and said.stdout.count(" exported: ") == 2


def test_comparing_with_a_release_compares_with_its_experiment(experiments, tmp_path):
    assert command("verify", "11", "--against", "release/state_dict.bin", cwd=tmp_path).stdout.count(": intact") == 3


@pytest.mark.parametrize(("targets", "sigs"), [
    ([], "12"), (["11111111"], "1"), (["1"], "12"), (["22"], "2"), (["11", "22"], "12"),
    (["outputs/xps/11111111"], "1"), (["outputs"], "12"), (["."], "12"), (["outputs/xps/22222222/checkpoint.th"], "2"),
    (["lr=1"], "2"), (["lr=?"], "12"), (["11", "lr=1"], ""), (["11", "22", "lr=1"], "2"),
    (["nope"], ""), (["release"], "")])
def test_list_takes_signatures_paths_and_patterns(experiments, tmp_path, targets, sigs):
    assert sorted(xp["sig"] for xp in listed(tmp_path, *targets)) == [sig * 8 for sig in sigs]


@pytest.mark.parametrize("target", ["outputs/xps/11111111", "outputs/xps/11111111/checkpoint.th", "disk/11111111",
                                    "link"])
def test_list_finds_an_experiment_that_was_moved_to_another_disk(experiments, tmp_path, target):
    (tmp_path / "disk").mkdir()
    shutil.move(tmp_path / "outputs/xps/11111111", tmp_path / "disk")
    (tmp_path / "outputs/xps/11111111").symlink_to(tmp_path / "disk" / "11111111")
    (tmp_path / "link").symlink_to("outputs/xps/11111111")
    assert [xp["sig"] for xp in listed(tmp_path, target)] == ["11111111"]


@pytest.mark.parametrize("place", ["outputs", "outputs/xps", "outputs/xps/11111111", "outputs/xps/11111111/export",
                                   "outputs/grids/sweep"])
def test_the_dora_folder_is_found_from_inside(experiments, tmp_path, place):
    (tmp_path / "outputs" / "grids" / "sweep").mkdir(parents=True)
    env = {"AUDIOCRAFT_DORA_DIR": str(tmp_path / "nowhere"), "DORA_PACKAGE": "nowhere"}  # these come after it
    assert "22222222" in command("list", cwd=tmp_path / place, **env).stdout
    assert "22222222" in command("run", "22", "--dry-run", cwd=tmp_path / place, **env).stdout


def parsed(*argv):
    parser = argparse.ArgumentParser()
    add_dora_dir(parser)
    return DoraDir(parser.parse_args(argv))


def test_the_dora_folder_is_the_first_that_is_named(monkeypatch, make_xp, dora_dir):
    for name in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE"):
        monkeypatch.delenv(name, raising=False)
    assert parsed().path == parsed().known == Path("outputs")
    monkeypatch.setenv("DORA_PACKAGE", "nowhere")
    assert parsed().known is None and parsed("--dora-dir", "mine").path == Path("mine")
    with pytest.raises(ExportError, match="Cannot import nowhere.train"):
        _ = parsed().path
    monkeypatch.setenv("AUDIOCRAFT_DORA_DIR", "theirs")
    assert parsed().path == Path("theirs") and parsed("-P", "nowhere").known is None
    monkeypatch.chdir(make_xp())
    assert parsed().path == dora_dir and parsed("--dora-dir", "mine").path == Path("mine")
    assert parsed("-P", "nowhere").known is None


def test_a_compression_model_is_looked_up_elsewhere_only_for_a_copy_or_when_asked(monkeypatch, tmp_path):
    for name in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE"):
        monkeypatch.delenv(name, raising=False)
    inside, copy = (Experiment.from_folder(tmp_path / parent / "11111111") for parent in ("xps", "copies"))
    assert parsed().for_codec(inside) is None and parsed().for_codec(copy) == Path("outputs")
    assert parsed("--dora-dir", "mine").for_codec(inside) == Path("mine")
    monkeypatch.setenv("DORA_PACKAGE", "nowhere")
    assert parsed().for_codec(copy) is None  # the package is not imported in this case


def test_a_checkpoint_is_named_by_its_file_or_by_its_epoch(make_xp, dora_dir):
    folder = make_xp("11111111", "checkpoint_3.th")
    xp = find_experiment("1111", parsed("--dora-dir", str(dora_dir)))
    assert xp.folder == folder and find_checkpoint("1111", xp, "3") == folder / "checkpoint_3.th"
    file = str(folder / "checkpoint_3.th")
    assert find_checkpoint(file, xp) == folder / "checkpoint_3.th"
    with pytest.raises(ExportError, match="is a checkpoint file, and --checkpoint 3 names another"):
        find_checkpoint(file, xp, "3")


def test_a_copy_or_a_link_of_an_experiment_may_have_any_name(make_xp, dora_dir, tmp_path):
    xp = make_xp()
    backup = shutil.copytree(xp, tmp_path / "backup" / "20240512")  # eight hexadecimal digits
    xp.with_name("latest").symlink_to(SIG)
    for target in (backup, backup / "checkpoint.th", "latest"):
        result = command("run", target, cwd=tmp_path)
        assert result.returncode == 0 and result.stdout.startswith(f"{SIG} "), result.stderr
    assert command("inspect", backup, cwd=tmp_path).stdout.count("up to date") == 1
    xp.rename(xp.with_name("11111111"))
    assert "experiment-mismatch" in command("run", "1111", cwd=tmp_path, code=1).stderr
