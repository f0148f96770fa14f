"""`audiocraft-export run`: the experiments to export, and dry runs."""

import argparse
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import SIG, dora, solver_state, to_format_1

from audiocraft_export import ExportOptions, export_xp, verify
from audiocraft_export.cli import output
from audiocraft_export.cli.verbs import run
from audiocraft_export.cli.verbs.run import ExportJob
from audiocraft_export.experiment.xp import Experiment

from ..commands import command


def everything(folder):
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_dry_run_prints_the_plan_and_writes_nothing(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    train("22222222", [], [1.], best_state=...)
    before = everything(tmp_path)
    result = command("run", "11111111", "22222222", "--dry-run", cwd=tmp_path, code=1)
    assert result.stdout.startswith("11111111 would be exported: best_state of epoch 1, after 1 epoch (best state of ")
    assert "state_dict.bin" in result.stdout and "use weights=last" in result.stderr
    assert result.stderr.endswith("2 XPs: 1 would be exported, 1 failed\n")
    line = json.loads(command("run", "11111111", "--dry-run", "--json", "--folder", "new", cwd=tmp_path).stdout)
    assert everything(tmp_path) == before and line["folder"] == str(tmp_path / "new")
    assert (line["result"], line["state"]) == ("would_be_exported", "none")
    report = export_xp("11111111", dora_dir)
    assert all(0 <= real.bytes - planned["bytes"] < 4096 and real.name == planned["name"]
               for real, planned in zip(report.manifest.files, line["manifest"]["files"]))
    assert line["manifest"]["tensors"] == report.manifest.tensors and line["manifest"]["why"] == report.manifest.why
    assert " already exported: " in command("run", "11111111", "--dry-run", cwd=tmp_path).stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_all_are_those_with_a_checkpoint_and_no_up_to_date_release(train, tmp_path, dora_dir, jobs):
    for sig in ("11111111", "22222222", "33333333", "44444444"):
        train(sig, [], [1.], **({"best_state": ...} if sig == "44444444" else {}))
    (dora_dir / "xps" / "55555555").mkdir()
    export_xp("11111111", dora_dir)
    state = export_xp("22222222", dora_dir).files[0]
    state.write_bytes(b"damaged")
    dry = command("run", "--all", "--dry-run", cwd=tmp_path, code=1)
    assert [line[:8] for line in dry.stdout.splitlines()[:2]] == ["22222222", "33333333"]
    result = command("run", "--all", "--jobs", jobs, cwd=tmp_path, code=1)
    assert result.stderr.endswith("5 XPs: 2 exported, 1 up to date, 1 without checkpoint, 1 failed\n")
    assert verify(state.parent).ok
    weights = ["--weights", "last"]
    assert command("run", "--all", *weights, cwd=tmp_path).stderr.endswith("5 XPs: 4 exported, 1 without checkpoint\n")
    assert command("run", "--all", cwd=tmp_path).stderr == \
        "Nothing to do in outputs. 5 XPs: 4 with other options, 1 without checkpoint\n"
    assert command("run", "--all", "--folder", "elsewhere", cwd=tmp_path, code=1).stdout.count(" exported:") == 3
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["11111111", "22222222", "33333333"]
    assert command("run", "--all", "--folder", "elsewhere", cwd=tmp_path, code=1).stderr.endswith(
        "5 XPs: 3 up to date, 1 without checkpoint, 1 failed\n")


def test_all_releases_without_an_identity_are_compared_once_and_none_is_made_again(train, tmp_path, dora_dir):
    for sig, options in (("11111111", {}), ("22222222", {"weights": "last"}), ("33333333", {"dtype": "float16"})):
        train(sig, [], [1.])
        to_format_1(export_xp(sig, dora_dir, ExportOptions(**options)).folder)
        os.utime(dora_dir / "xps" / sig / "checkpoint.th", (1e9, 1e9))
    before = [path.read_bytes() for path in sorted(dora_dir.rglob("state_dict.bin"))]
    assert command("run", "--all", "--dry-run", cwd=tmp_path).stdout.count(" already exported: ") == 3
    assert command("run", "--all", cwd=tmp_path).stdout.count(" already exported: ") == 3
    assert before == [path.read_bytes() for path in sorted(dora_dir.rglob("state_dict.bin"))]
    assert command("run", "--all", cwd=tmp_path).stderr.startswith("Nothing to do in outputs. 3 XPs: 1 up to date, 2 ")


def test_run_all_compares_the_identity_of_checkpoints(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.], extra=torch.zeros(1))
    export_xp("11111111", dora_dir)
    made = os.stat(folder / "checkpoint.th")
    torch.save({**torch.load(folder / "checkpoint.th", weights_only=False), "extra": torch.ones(1)},
               folder / "checkpoint.th")
    assert made.st_size == os.path.getsize(folder / "checkpoint.th")
    os.utime(folder / "checkpoint.th", ns=(made.st_mtime_ns, made.st_mtime_ns))
    assert " would be exported: " in command("run", "11111111", "--dry-run", cwd=tmp_path).stdout
    assert command("run", "--all", cwd=tmp_path).stderr.endswith("1 XP: 1 exported\n")


def test_all_are_those_of_the_dora_folder_whatever_is_called_like_them_here(train, tmp_path):
    train("11111111", [], [1.])
    train("22222222", [], [1.])
    (tmp_path / "11111111").mkdir()
    (tmp_path / "22222222").write_text("a file")
    result = command("run", "--all", cwd=tmp_path)
    assert [line[:17] for line in result.stdout.splitlines()[:2]] == ["11111111 exported", "22222222 exported"]


def test_a_deleted_experiment_of_a_grid_is_reported(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    (dora_dir / "grids" / "sweep").mkdir(parents=True)
    for sig in ("11111111", "99999999"):
        (dora_dir / "grids" / "sweep" / sig).symlink_to(dora_dir / "xps" / sig)
    result = command("run", "--grid", "sweep", cwd=tmp_path, code=1)
    assert "xps/99999999 does not exist, although the grid sweep lists it" in result.stderr
    assert " exported:" in result.stdout


def test_all_of_an_epoch_are_those_without_a_release_of_that_epoch(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    torch.save(solver_state(sig="11111111"), folder / "checkpoint_7.th")
    export_xp("11111111", dora_dir)
    assert "1 XP: 1 exported" in command("run", "--all", "--checkpoint", "7", cwd=tmp_path).stderr
    assert "Nothing to do" in command("run", "--all", "--checkpoint", "7", cwd=tmp_path).stderr
    assert "Nothing to do" in command("run", "--all", cwd=tmp_path).stderr


def test_the_experiments_of_a_grid_are_those_that_dora_grid_left(project):
    root = project()
    (root / "proj" / "grids").mkdir()
    (root / "proj" / "grids" / "__init__.py").touch()
    (root / "proj" / "grids" / "sweep.py").write_text(
        "from dora import Explorer\n@Explorer\ndef explorer(launcher):\n"
        "    for lr in (0.25, 0.5): launcher(lr=lr)\n")
    for lr in ("0.25", "0.75"):
        assert dora("run", f"lr={lr}", cwd=root).returncode == 0
    result = dora("grid", "sweep", "--dry_run", "--init", "--no_monitor", cwd=root)
    assert result.returncode == 0, result.stderr
    links = root / "outputs" / "grids" / "sweep"  # a dry run of Dora creates no links, and there is no Slurm
    sigs = sorted(path.name for path in (root / "outputs" / "xps").iterdir())
    trained = [sig for sig in sigs if "0.75" not in (root / "outputs" / "xps" / sig / ".argv.json").read_text()]
    assert len(sigs) == 3 and len(trained) == 2 and links.is_dir()
    for sig in trained:
        (links / sig).symlink_to(root / "outputs" / "xps" / sig)
    (links / ".DS_Store").touch()
    result = command("run", "--grid", "sweep", cwd=root, code=1)
    assert result.stdout.count(" exported:") == 1 and "train the experiment first" in result.stderr
    assert "2 XPs: 1 exported, 1 failed" in result.stderr
    assert "did you mean sweep?" in command("run", "--grid", "swep", cwd=root, code=1).stderr


@pytest.mark.parametrize("argv", [["run"], ["run", "--all", SIG], ["run", "--all", "--grid", "x"],
                                  ["run", "--all", "--bands", "--folder", "x"],
                                  ["run", "--bands", "--dry-run", "--folder", "x", SIG]])
def test_a_call_of_run_that_makes_no_sense_is_wrong_usage(make_xp, tmp_path, argv):
    make_xp()
    assert command(*argv, cwd=tmp_path, code=2).stderr.count("\n") == 2  # with a hint


def test_an_export_can_be_given_to_another_process(train, tmp_path):
    folder = train("11111111", [], [1.])
    job = ExportJob("11111111", Experiment.from_folder(folder), folder / "checkpoint.th", folder / "export",
                    ExportOptions(), codec_dora_dir=None, is_file=False, dry_run=True)
    same = pickle.loads(pickle.dumps(job))
    assert same == job and str(same()) == str(job()) and not (folder / "export").exists()
    report = replace(job, dry_run=False)()
    assert report.written and report.folder == folder / "export"


@pytest.mark.parametrize(("argv", "says"), [
    (["--bands", "--folder", "x", "--slurm", "--", SIG], "--bands cannot be combined with --slurm"),
    (["--bands", SIG], "name its folder with --folder"), (["--chunk", "2", SIG], "--chunk requires --slurm"),
    (["--bands", "--folder", "x", "--jobs", "2", SIG], "--bands cannot be combined with --jobs"),
    (["--all", "--push-to-hub", "me/mine"], "export the experiments one by one"),
    (["--max-shard-size", "5GB", SIG], "--max-shard-size has no effect on --format audiocraft"),
    (["--no-private", SIG], "requires --push-to-hub"),
    (["--revision", "v1", SIG], "requires --push-to-hub"),
    (["--metric", "ce", "--weights", "last", SIG], "--metric has no effect on --weights last")])
def test_invalid_combinations_of_arguments_are_refused(tmp_path, argv, says):
    assert says in command("run", *argv, cwd=tmp_path, code=2).stderr


@pytest.mark.parametrize(("override", "hint"), [
    ("optim.lr=1e-2", "give the signature that audiocraft-export list optim.lr=1e-2 shows"),
    ("+dim=2", "give the signature that audiocraft-export list dim=2 shows"),
    ("exporter.weights=last", "did you mean --weights last?"), ("force=true", "did you mean --force?"),
    ("optim.dtype=float16", "give the signature that audiocraft-export list optim.dtype=float16 shows"),
    ("export=true", "export= is for dora run; "), ("exporter=float16", "exporter= is for dora run; ")])
def test_an_override_is_refused_before_anything_is_exported(train, tmp_path, override, hint):
    folder = train("11111111", [], [1.])
    error = command("run", "11111111", override, cwd=tmp_path, code=2).stderr
    assert f"'{override}' is an override, neither a signature nor a path\n  hint: {hint}" in error
    assert not (folder / "export").exists()


@pytest.mark.parametrize("target", ["epoch=3.ckpt", "folder/lr=1"])
def test_a_path_may_have_an_equals_sign(train, tmp_path, target):
    path = train("11111111", [], [1.]) / "checkpoint.th"
    assert "is an override" not in command("run", target, cwd=tmp_path, code=1).stderr
    (tmp_path / target).parent.mkdir(exist_ok=True)
    path.rename(tmp_path / target)
    command("run", target, "--folder", "release", cwd=tmp_path)


@pytest.mark.parametrize("name", ["family", "metric", "config", "hub", "revision", "dtype", "folder"])
def test_null_is_the_default_of_each_option_that_may_be_left_out(name):
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    assert getattr(parser.parse_args([ExportOptions.flag_of(name), "null"]), name) is None


def test_two_exports_to_one_folder_are_refused(train, tmp_path):
    folder = train("11111111", [], [1.])
    torch.save(solver_state(sig="11111111"), folder / "checkpoint_7.th")
    result = command("run", "11111111", folder / "checkpoint_7.th", "--folder", "same", cwd=tmp_path, code=2)
    assert "checkpoint_7.th and 11111111 would be exported to the same folder" in result.stderr
    assert not result.stdout and not (tmp_path / "same").exists()


def keys_of(verb, line):
    """Return the keys that a line lacks, and those that are not in the schema."""
    schema = json.loads((Path(output.__file__).parent / "schema.json").read_text())
    needed = schema["$defs"][verb]["anyOf"][0 if "error" in line else 1]["required"]
    return {*needed} - {*line}, {*line} - {*schema["properties"]}


def test_a_line_of_json_has_the_keys_of_the_schema(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    export_xp(train("22222222", [], [1.]).name, dora_dir, ExportOptions(weights="last"))
    train("33333333", [], [1.], best_state=...)
    (dora_dir / "xps" / "44444444").mkdir()
    dry, made = (command("run", "--all", "--json", *flags, cwd=tmp_path, code=1) for flags in (["--dry-run"], []))
    for result, done in ((dry, "would_be_exported"), (made, "exported")):
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert [keys_of("run", line) for line in lines] == [(set(), set())] * 3
        assert [(line["target"], line.get("result")) for line in lines] == [
            ("22222222", "already_exported"), ("11111111", done), ("33333333", None)]
        assert (lines[0]["state"], lines[0]["options"]) == ("other_options", {"weights": "last"})
        assert (lines[1]["xp"], lines[1]["checkpoint"]) == (str(folder), str(folder / "checkpoint.th"))
        assert lines[1]["checkpoint_bytes"] == os.path.getsize(folder / "checkpoint.th")
        assert lines[1]["folder"] == str(folder / "export") and lines[2]["error"]["code"] == "missing-weights"
    assert lines[1]["state"] == "up_to_date" and lines[1]["manifest"] == json.loads(
        (folder / "export" / "export.json").read_text())
    again = json.loads(command("run", "11111111", "--dtype", "float16", "--json", cwd=tmp_path).stdout)
    assert again["replaced"] == "the release made after epoch 1"


def test_the_json_of_convert_has_the_keys_of_the_schema(train, tmp_path, dora_dir):
    pytest.importorskip("safetensors")
    folder = train("11111111", [], [1.])
    export_xp("11111111", dora_dir)
    line = json.loads(command("convert", "11111111", "--to", "safetensors", "--json", cwd=tmp_path).stdout)
    assert keys_of("convert", line) == (set(), set()) and line["state"] == "other_options"
    assert line["options"] == {"format": "safetensors"} and line["checkpoint"] == str(folder / "checkpoint.th")
    line = json.loads(command("convert", folder / "export", "--to", "audiocraft", "--folder", "else", "--json",
                              cwd=tmp_path).stdout)
    assert (line["state"], line["xp"], line["folder"]) == ("up_to_date", str(folder), str(tmp_path / "else"))
    lost = json.loads(command("convert", "else", "--to", "audiocraft", "--json", cwd=tmp_path).stdout)
    assert (lost["xp"], lost["checkpoint"], lost["result"]) == (None, None, "already_converted")


@pytest.mark.parametrize("argv", [["--folder=~/there"], ["--folder", "~/there"]])
def test_the_home_folder_is_expanded_where_the_shell_does_not_do_so(train, tmp_path, argv):
    train("11111111", [])
    home = tmp_path / "home"
    command("run", "11", *argv, cwd=tmp_path, HOME=str(home))
    command("convert", "home/there", "--to", "safetensors", "--folder=~/other", cwd=tmp_path, HOME=str(home))
    assert (home / "there" / "state_dict.bin").exists() and (home / "other" / "model.safetensors").exists()
