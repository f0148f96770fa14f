"""`audiocraft-export list`, `inspect`, `run` and `verify`, as they are typed."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch
from helpers import SIG, dora, load, model_state, on_terminal, only_xp, solver_state, with_cfg

from audiocraft_export import ExportOptions, export_checkpoint, export_xp, verify
from audiocraft_export.cli import main as cli
from audiocraft_export.cli.runner import run_in_order
from audiocraft_export.cli.xp_summary import short_names
from audiocraft_export.jobs.local import Local
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.storage.durable_file import WrittenFile

PRETRAINED = "//pretrained/facebook/encodec_32khz"


def command(*argv, cwd, code=0, **env):
    """What a command prints; in this process, which has imported torch already, unless the environment decides."""
    argv = [*map(str, argv)]
    if env or "--jobs" in argv:
        result = subprocess.run([sys.executable, "-m", "audiocraft_export", *argv], cwd=cwd, text=True,
                                capture_output=True, timeout=60, env={**os.environ, **env})
    else:
        result = in_process(argv, cwd)
    assert result.returncode == code and "Traceback" not in result.stderr, result.stderr
    return result


def in_process(argv, cwd):
    out, err, here = io.StringIO(), io.StringIO(), os.getcwd()
    os.chdir(cwd)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main(argv)
    finally:
        os.chdir(here)
    return subprocess.CompletedProcess(argv, ended.value.code, out.getvalue(), err.getvalue())


@pytest.fixture
def train(make_xp):
    """What Dora and Hydra store beside the checkpoint of an XP."""
    def make(sig, argv, losses=(), solver="musicgen", epochs=4, **sections):
        history = [{"train": {"ce": 9.}, "valid": {"ce": loss, "ppl": 1.}} for loss in losses]
        folder = make_xp(sig, **{"history": history, "xp.cfg": with_cfg(
            solver=solver, compression_model_checkpoint=PRETRAINED), **sections})
        (folder / ".argv.json").write_text(json.dumps(argv))
        (folder / "history.json").write_text(json.dumps(history))
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "config.yaml").write_text(
            f"seed: 1\nsolver: {solver}\noptim:\n  lr: 1\n  betas:\n  - 1\n  epochs: {epochs}\nother:\n  epochs: 9\n")
        return folder
    return make


def listed(cwd, *argv):
    return [json.loads(line) for line in command("list", "--json", *argv, cwd=cwd).stdout.splitlines()]


# list

def test_a_row_says_what_it_is_how_far_how_good_and_whether_it_is_exported(train, tmp_path, dora_dir):
    folder = train("11111111", ["lr=0.1", "model.dim=3"], [3., 1.5, 2.])
    torch.save(solver_state(), folder / "checkpoint_2.th")
    row, = listed(tmp_path)
    size = (folder / "checkpoint.th").stat().st_size
    assert abs(row.pop("changed") - time.time()) < 60
    assert row == {"sig": "11111111", "solver": "musicgen", "argv": ["lr=0.1", "model.dim=3"], "epochs": 3,
                   "planned": 4, "metric": "ce", "best": 1.5, "best_epoch": 2, "checkpoint": size, "others": 1,
                   "release": "none", "release_bytes": None}
    report = export_xp("11111111", dora_dir)
    head, line = command("list", cwd=tmp_path).stdout.splitlines()
    assert head.split() == ["sig", "solver", "what", "epochs", "best", "checkpoint", "release", "age"]
    for text in ("11111111  musicgen", "lr=0.1 dim=3", "3/4", "ce 1.5 @2", "kB +1", "fresh", " s"):
        assert text in line
    assert listed(tmp_path)[0]["release_bytes"] == report.bytes


def test_a_release_is_fresh_stale_or_damaged(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    state = export_xp("11111111", dora_dir).files[0]
    assert listed(tmp_path)[0]["release"] == "fresh"
    later = (folder / "checkpoint.th").stat().st_mtime + 1
    os.utime(folder / "checkpoint.th", (later, later))
    assert listed(tmp_path)[0]["release"] == "stale"
    os.utime(folder / "checkpoint.th", (1, 1))  # a copy that lost its age
    assert listed(tmp_path)[0]["release"] == "fresh"
    (folder / "checkpoint.th").unlink()
    assert listed(tmp_path)[0] == {**listed(tmp_path)[0], "release": "fresh", "checkpoint": None}
    state.write_bytes(state.read_bytes()[:-1])
    assert listed(tmp_path)[0]["release"] == "damaged"
    (state.parent / "export.json").write_text("{")
    assert listed(tmp_path)[0]["release"] == "damaged"


def test_an_experiment_in_any_state_is_a_row(train, tmp_path, dora_dir):
    xps = dora_dir / "xps"
    (xps / "22222222").mkdir(parents=True)  # Dora has just made it
    train("33333333", [], solver="of_tomorrow")
    (xps / "33333333" / "history.json").write_text('[{"valid": ')
    (xps / "44444444").mkdir()
    for name in (".argv.json", "history.json"):
        (xps / "44444444" / name).write_text('{"odd": [1]}')
    (xps / "44444444" / "checkpoint.th").mkdir()
    (xps / "44444444" / "export").write_text("no folder")
    (xps / "55555555").mkdir()
    (xps / "55555555" / ".argv.json").write_text('["\\u001b[31mred", 3, null]')
    (xps / "55555555" / "history.json").write_text('[3, {"valid": {"ce": "x"}}, {"valid": {"ce": NaN}}]')
    rows = listed(tmp_path, "--sort", "sig")
    assert [(row["sig"], row["solver"], row["epochs"]) for row in rows] == [
        ("22222222", None, 0), ("33333333", "of_tomorrow", 0), ("44444444", None, 0), ("55555555", None, 3)]
    shown = command("list", cwd=tmp_path).stdout
    assert "\x1b" not in shown and shown.count("\n") == 5 and "none" in shown


def test_a_configuration_of_any_shape_takes_no_time(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    lines = "".join(f"  key{index}: {index}\n" for index in range(1000))
    (folder / ".hydra" / "config.yaml").write_text(f"solver: 'mine'\noptim:\n  epochs: null\n{lines}other: 1\n")
    os.mkfifo(train("22222222", []) / "pipe")
    os.replace(dora_dir / "xps" / "22222222" / "pipe", dora_dir / "xps" / "22222222" / ".hydra" / "config.yaml")
    rows = listed(tmp_path, "--sort", "sig")
    assert [(row["solver"], row["planned"]) for row in rows] == [("mine", None), (None, None)]


def test_a_metric_among_very_many_is_the_best_one_and_a_truth_is_none(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    (folder / "history.json").write_text(json.dumps([{"valid": {**{f"m{n}": 1. for n in range(1500)}, "ce": 2.}}]))
    (train("22222222", []) / "history.json").write_text('[{"valid": {"ce": true}}]')
    assert [row["best"] for row in listed(tmp_path, "--sort", "sig")] == [2., None]


@pytest.mark.parametrize("change", [{"bytes": "x"}, {"bytes": None}, {"bytes": 10**400}, {"bytes": -1}, {"sha256": 3}])
def test_a_manifest_that_somebody_made_up_is_a_damaged_release(train, tmp_path, dora_dir, change):
    train("11111111", [])
    report = export_xp("11111111", dora_dir)
    files = [WrittenFile(**{**asdict(file), **change}) for file in report.manifest.files]
    (report.folder / "export.json").write_text(replace(report.manifest, files=files).text)
    assert listed(tmp_path)[0]["release"] == "damaged"
    assert "damaged" in command("list", cwd=tmp_path).stdout
    command("verify", report.folder, "--against", "11111111", cwd=tmp_path, code=1)
    assert "1 of 1 exported" in command("run", "--all", cwd=tmp_path).stderr


def test_a_very_long_command_line_is_cut_in_a_log(train, tmp_path):
    train("11111111", ["x=" + "y" * 5000])
    assert all(len(line) < 200 for line in command("list", cwd=tmp_path).stdout.splitlines())


def test_experiments_are_sorted_and_filtered(train, tmp_path, dora_dir):
    for age, (sig, argv, losses) in enumerate([("33333333", ["lr=0.1", "dim=3"], [2.]), ("11111111", ["lr=0.2"], []),
                                               ("22222222", ["lr=0.1", "dim=[4,5]"], [3., 1.])]):
        folder = train(sig, argv, losses, solver="audiogen" if age == 1 else "musicgen",
                       extra=torch.zeros(1000 * (3 - age)))
        os.utime(folder / "checkpoint.th", (1e9 - age, 1e9 - age))
    export_xp("22222222", dora_dir)

    def sigs(*argv):
        return [row["sig"][0] for row in listed(tmp_path, *argv)]
    assert sigs() == sigs("--sort", "age") == ["3", "1", "2"]
    assert sigs("--sort", "sig") == ["1", "2", "3"]
    assert sigs("--sort", "metric") == ["2", "3", "1"]
    assert sigs("--sort", "size") == ["3", "1", "2"]
    assert sigs("--solver", "musicgen") == ["3", "2"]
    assert sigs("--exported") == ["2"] and sigs("--not-exported") == ["3", "1"]
    assert sigs("lr=0.1") == ["3", "2"] and sigs("lr=0.1", "dim=3") == ["3"] and sigs("dim=[4") == ["2"]
    assert sigs("lr=*dim") == ["3", "2"] and sigs("nothing") == []
    assert command("list", "nothing", cwd=tmp_path).stderr .startswith("No experiment in outputs, or none that fits")


def test_what_distinguishes_command_lines_is_what_not_all_have():
    assert short_names([["a.lr=1", "b.dim=2"], ["a.lr=1", "b.dim=3", "x"]]) == ["dim=2", "dim=3 x"]
    assert short_names([["a.lr=1", "b.lr=2"], ["+a.lr=3"]]) == ["a.lr=1 b.lr=2", "+a.lr=3"]
    assert short_names([["a.lr=1"]]) == ["lr=1"] and short_names([]) == [] and short_names([["x"], ["x"]]) == ["", ""]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_a_table_fits_its_terminal_one_line_each(train, tmp_path, columns):
    train("11111111", [f"some.override{index}={index}" for index in range(9)], [1.])
    train("22222222", [], [1.])
    shown = on_terminal("-m", "audiocraft_export", "list", cwd=tmp_path, columns=columns, NO_COLOR="1")
    lines = shown.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert len(lines) == 4 and all(len(line.rstrip()) <= columns for line in lines)
    assert columns < 40 or any(line.startswith("22222222") for line in lines)
    assert ("checkpoint" in lines[0]) == (columns >= 80) and ("override0" in "".join(lines) or columns < 40)


def test_a_table_has_colours_on_a_terminal_only(train, tmp_path):
    train("11111111", [])
    assert "\x1b[1m" in on_terminal("-m", "audiocraft_export", "list", cwd=tmp_path)
    assert "\x1b" not in on_terminal("-m", "audiocraft_export", "list", cwd=tmp_path, TERM="dumb")
    assert "\x1b" not in command("list", cwd=tmp_path, FORCE_COLOR="1").stdout


def test_no_dora_folder_is_one_sentence(tmp_path):
    assert "is no Dora folder" in command("list", cwd=tmp_path, code=1).stderr
    wrong = command("list", "--elsewhere", cwd=tmp_path, code=2).stderr
    assert "--elsewhere is no option of list: use --dora-dir" in wrong


def test_what_dora_trained_is_listed(project):
    root = project()
    assert dora("run", "lr=0.25", "export=true", cwd=root).returncode == 0
    row, = listed(root)
    assert row["sig"] == only_xp(root).name and row["argv"] == ["lr=0.25"] and row["release"] == "fresh"
    assert row["epochs"] == row["planned"] and row["epochs"] > 0


# help

@pytest.mark.parametrize("argv", [[], ["run"], ["list"], ["inspect"], ["verify"]])
def test_help_has_examples_and_fits_80_columns(monkeypatch, tmp_path, argv):
    monkeypatch.setenv("COLUMNS", "80")
    text = command(*argv, "--help", cwd=tmp_path).stdout
    examples = text.partition("\nexamples:\n")[2].splitlines()
    assert len([line for line in examples if line.startswith(f"  {' '.join(['audiocraft-export', *argv])}")]) >= 4
    assert max(map(len, text.splitlines())) <= 80


# run

def everything(folder):
    return {str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_dry_run_says_what_would_be_written_and_touches_nothing(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    train("22222222", [], [1.], best_state=...)
    before = everything(tmp_path)
    result = command("run", "11111111", "22222222", "--dry-run", cwd=tmp_path, code=1)
    assert result.stdout.startswith("11111111 would be exported: best_state after 1 epochs (best state, as the solver")
    assert "state_dict.bin" in result.stdout and "use weights=last" in result.stderr
    assert result.stderr.endswith("1 of 2 can be exported; failed: 22222222.\n")
    line = json.loads(command("run", "11111111", "--dry-run", "--json", "--folder", "new", cwd=tmp_path).stdout)
    assert everything(tmp_path) == before and line["folder"] == str(tmp_path / "new") and not line["is_there"]
    report = export_xp("11111111", dora_dir)
    assert all(0 <= real.bytes - planned["bytes"] < 4096 and real.name == planned["name"]
               for real, planned in zip(report.manifest.files, line["files"]))
    assert line["tensors"] == report.manifest.tensors and line["why"] == report.manifest.why
    assert "is exported already" in command("run", "11111111", "--dry-run", cwd=tmp_path).stdout


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_all_are_those_with_a_checkpoint_and_no_fresh_release(train, tmp_path, dora_dir, jobs):
    for sig in ("11111111", "22222222", "33333333", "44444444"):
        train(sig, [], [1.], **({"best_state": ...} if sig == "44444444" else {}))
    (dora_dir / "xps" / "55555555").mkdir()
    export_xp("11111111", dora_dir)
    state = export_xp("22222222", dora_dir).files[0]
    state.write_bytes(b"damaged")
    dry = command("run", "--all", "--dry-run", cwd=tmp_path, code=1)
    assert [line[:8] for line in dry.stdout.splitlines()[:2]] == ["22222222", "33333333"]
    result = command("run", "--all", "--jobs", jobs, cwd=tmp_path, code=1)
    assert result.stderr.endswith("2 of 3 exported; failed: 44444444.\n") and verify(state.parent).ok
    assert command("run", "--all", "--weights", "last", cwd=tmp_path).stderr.endswith("1 of 1 exported.\n")
    assert command("run", "--all", cwd=tmp_path).stderr.startswith("Nothing to export in outputs: ")
    assert command("run", "--all", "--folder", "elsewhere", cwd=tmp_path, code=1).stdout.count(" exported:") == 3
    assert sorted(os.listdir(tmp_path / "elsewhere")) == ["11111111", "22222222", "33333333"]
    assert command("run", "--all", "--folder", "elsewhere", cwd=tmp_path, code=1).stderr.endswith("failed: 44444444.\n")


def test_all_are_those_of_the_dora_folder_whatever_is_called_like_them_here(train, tmp_path):
    train("11111111", [], [1.])
    train("22222222", [], [1.])
    (tmp_path / "11111111").mkdir()
    (tmp_path / "22222222").write_text("a file")
    result = command("run", "--all", cwd=tmp_path)
    assert [line[:17] for line in result.stdout.splitlines()[:2]] == ["11111111 exported", "22222222 exported"]


def test_a_run_of_many_ends_with_a_table(train, tmp_path, dora_dir):
    train("11111111", [], [1., 2.])
    train("22222222", [], [1.], best_state=...)
    train("33333333", [], [1.])
    export_xp("11111111", dora_dir)
    argv = ["run", "11111111", "22222222", "33333333"]
    result = command(*argv, cwd=tmp_path, code=1)
    head, *rows = result.stdout.partition("\n\n")[2].splitlines()
    assert head.split() == ["xp", "result", "weights", "epochs", "bytes", "where,", "or", "why", "not"]
    assert [row.split("  ")[:2] for row in rows] == [
        ["11111111", "already exported"], ["22222222", "failed"], ["33333333", "exported"]]
    assert rows[0].split("best_state")[1].split()[0] == "2" and rows[0].endswith(str(dora_dir / "xps/11111111/export"))
    assert rows[1].endswith("use weights=last for the latest weights.")
    assert len(command(*argv, "--json", cwd=tmp_path, code=1).stdout.splitlines()) == 3
    assert len(command("run", "11111111", cwd=tmp_path).stdout.splitlines()) == 1
    for columns in (40, 80):
        shown = on_terminal("-m", "audiocraft_export", "run", "11111111", "33333333", cwd=tmp_path, columns=columns)
        table = [line for line in shown.replace("\r", "").splitlines() if "already exported" in line][-1]
        assert len(re.sub("\x1b[^m]*m", "", table).rstrip()) <= columns


def test_a_stopped_run_of_many_says_what_it_has_done(train, tmp_path, monkeypatch):
    for sig in ("11111111", "22222222", "33333333"):
        train(sig, [], [1.])
    from audiocraft_export.pipeline import export as pipeline
    export, left = pipeline.export, iter([None])

    def interrupted(*args):
        for _ in left:
            return export(*args)
        raise KeyboardInterrupt
    monkeypatch.setattr(pipeline, "export", interrupted)
    result = command("run", "11111111", "22222222", "33333333", "nowhere", cwd=tmp_path, code=130)
    assert result.stdout.splitlines()[-2].startswith("11111111  exported")
    assert "No XP 'nowhere'" in result.stderr
    assert result.stderr.endswith("1 of 4 exported; failed: nowhere; stopped before the other 2.\n")


def test_what_several_processes_have_finished_is_known_though_the_first_goes_on():
    done, jobs = {}, [partial(time.sleep, 2), partial(int, "7"), partial(int, "8")]
    with closing(run_in_order(jobs, Local(2), done)) as numbers:
        thread = threading.Thread(target=lambda: [None for _ in numbers], daemon=True)
        thread.start()
        while len(done) < 2 and thread.is_alive():
            time.sleep(0.01)
        assert done == {1: 7, 2: 8}
        thread.join()
    assert list(done.values())[-1] is None


def test_warnings_are_said_without_an_export_too(train, tmp_path, caplog):
    (train("11111111", [], [1.]) / "history.json").write_text('[{}, {}]')
    command("run", "--all", "--dry-run", cwd=tmp_path)
    assert "the later ones were not stored" in caplog.text


def test_a_grid_s_experiment_that_is_gone_is_said_to_be(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    (dora_dir / "grids" / "sweep").mkdir(parents=True)
    for sig in ("11111111", "99999999"):
        (dora_dir / "grids" / "sweep" / sig).symlink_to(dora_dir / "xps" / sig)
    result = command("run", "--grid", "sweep", cwd=tmp_path, code=1)
    assert "xps/99999999 is not there, though the grid sweep has it" in result.stderr and " exported:" in result.stdout


@pytest.mark.parametrize(("argv", "says"), [
    (["run", "1112"], "did you mean 11111111?"), (["list", "--dora-dir", "outputs/xps"], "outputs, in which it lies"),
    (["verify", "outputs/xps/11111111"], "its release is outputs/xps/11111111/export"),
    (["list", "--srt", "age"], "did you mean --sort?"), (["run", "--grid", "sweep"], "dora grid was never run there")])
def test_the_near_miss_is_offered(train, tmp_path, dora_dir, argv, says):
    train("11111111", [], [1.])
    export_xp("11111111", dora_dir)
    assert says in command(*argv, cwd=tmp_path, code=2 if "--srt" in argv else 1).stderr


def test_what_distinguishes_an_experiment_is_not_hidden_by_others(train, tmp_path, dora_dir):
    common = [f"some.long.override{index}={index}" for index in range(9)]
    for index in range(4):
        train(f"0000000{index}", [*common, f"optim.lr=1e-{index}"])
    train("0000000a", ["bins=9"], solver="compression")
    (dora_dir / "xps" / "old_stuff").mkdir()
    rows = {line.split()[0]: line for line in command("list", cwd=tmp_path).stdout.splitlines()}
    assert all(f" lr=1e-{index} " in rows[f"0000000{index}"] for index in range(4))
    lines = [["a=1", "b=1", "c=1"], ["a=1", "b=1", "c=2"], ["a=1", "b=2", "c=3"]]
    assert short_names(lines) == ["c=1 b=1", "c=2 b=1", "b=2 c=3"]


def test_against_another_experiment_is_one_line_that_says_so(train, tmp_path, dora_dir):
    for seed, sig in enumerate(("11111111", "22222222")):
        weights = {f"w{index}": torch.full((2,), float(seed)) for index in range(30)}
        train(sig, [], [1.], solver="mine", best_state={"model": weights})
        export_xp(sig, dora_dir)
    release = dora_dir / "xps" / "11111111" / "export"
    shown = command("verify", release, "--against", "22222222", cwd=tmp_path, code=1).stdout
    assert "export.json: is of 11111111, and /" in shown and "and 26 more like these" in shown
    assert "export.json" not in command("verify", release / "state_dict.bin", "--against", "22222222", cwd=tmp_path,
                                        code=1).stdout
    torch.save(torch.load(dora_dir / "xps/11111111/checkpoint.th", weights_only=False) | {
        "best_state": {"model": {"w0": torch.ones(2)}}}, dora_dir / "xps" / "11111111" / "checkpoint_1.th")
    other = dora_dir / "xps" / "11111111" / "checkpoint_1.th"
    state = command("verify", release, "--against", other, cwd=tmp_path, code=1).stdout
    assert "is of checkpoint.th, and not of /" in state
    assert len(json.loads(command("verify", release, "--against", "22222222", "--json", cwd=tmp_path,
                                  code=1).stdout.splitlines()[0])["problems"]) == 30


def test_targets_may_stand_on_both_sides_of_options_and_begin_with_a_dash(train, tmp_path, dora_dir):
    (dora_dir / "xps").mkdir(parents=True)
    train("11111111", [], [1.])
    shutil.copytree(dora_dir / "xps" / "11111111", tmp_path / "-dash")
    result = command("run", "11111111", "--dry-run", "--", "-dash", cwd=tmp_path)
    assert result.stderr.endswith("2 of 2 can be exported.\n")


def test_hidden_folders_are_no_experiments(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    (dora_dir / "xps" / ".snapshot").mkdir()
    assert [row["sig"] for row in listed(tmp_path)] == ["11111111"]


def test_without_colour_a_table_is_plain_text(train, tmp_path):
    train("11111111", [], [1.])
    for argv in (["list"], ["inspect", "11111111"]):
        assert "\x1b[" in on_terminal("-m", "audiocraft_export", *argv, cwd=tmp_path)
        assert "\x1b" not in on_terminal("-m", "audiocraft_export", *argv, cwd=tmp_path, NO_COLOR="1")
        assert "\x1b" in on_terminal("-m", "audiocraft_export", *argv, cwd=tmp_path, NO_COLOR="")


def test_all_of_an_epoch_are_those_without_a_release_of_that_epoch(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    torch.save(solver_state(sig="11111111"), folder / "checkpoint_7.th")
    export_xp("11111111", dora_dir)
    assert "1 of 1 exported" in command("run", "--all", "--checkpoint", "7", cwd=tmp_path).stderr
    assert "Nothing to export" in command("run", "--all", "--checkpoint", "7", cwd=tmp_path).stderr
    assert "Nothing to export" in command("run", "--all", cwd=tmp_path).stderr


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
    links = root / "outputs" / "grids" / "sweep"  # a dry run of Dora makes none, and Slurm is not here
    sigs = sorted(path.name for path in (root / "outputs" / "xps").iterdir())
    trained = [sig for sig in sigs if "0.75" not in (root / "outputs" / "xps" / sig / ".argv.json").read_text()]
    assert len(sigs) == 3 and len(trained) == 2 and links.is_dir()
    for sig in trained:
        (links / sig).symlink_to(root / "outputs" / "xps" / sig)
    (links / ".DS_Store").touch()
    result = command("run", "--grid", "sweep", cwd=root, code=1)
    assert result.stdout.count(" exported:") == 1 and "train it first" in result.stderr
    assert "1 of 2 exported" in result.stderr
    assert "did you mean sweep?" in command("run", "--grid", "swep", cwd=root, code=1).stderr


@pytest.mark.parametrize("argv", [["run"], ["run", "--all", SIG], ["run", "--all", "--grid", "x"],
                                  ["run", "--all", "--bands", "--folder", "x"],
                                  ["run", "--bands", "--dry-run", "--folder", "x", SIG]])
def test_a_call_of_run_that_makes_no_sense_is_wrong_usage(make_xp, tmp_path, argv):
    make_xp()
    assert command(*argv, cwd=tmp_path, code=2).stderr.count("\n") == 1


# inspect

def inspected(cwd, *argv):
    return [json.loads(line) for line in command("inspect", "--json", *argv, cwd=cwd).stdout.splitlines()]


def test_an_experiment_says_where_its_bytes_are_and_what_a_release_would_be(train, tmp_path, dora_dir):
    folder = train("11111111", [], [3., 1., 2.], strange=torch.nn.Linear)
    found, = inspected(tmp_path, "1111", "--tensors")
    assert (found["kind"], found["sig"], found["solver"]) == ("training checkpoint", "11111111", "musicgen")
    assert sum(found["sections"].values()) == found["bytes"] == (folder / "checkpoint.th").stat().st_size
    assert found["sections"]["best_state"] == sum(
        tensor.untyped_storage().nbytes() for tensor in model_state(3).values())
    assert found["curve"] == [3., 1., 2.] and found["best"]["epoch"] == 2
    assert found["release"]["weights"] == "best_state"
    assert {"name": "model.emb.0.weight", "dtype": "float32", "shape": [5, 4], "bytes": 80} in found["tensors"]
    assert sum("torch.nn.modules.linear.Linear" in text for text in found["odd"]) == 1
    shown = command("inspect", "11111111", cwd=tmp_path, PYTHONIOENCODING="utf-8").stdout
    for text in ("weights     best_state (best state, as the solver kept it)", "release     none; would have state_dic",
                 "ce          best 1 in epoch 2 of 3  █▁▅", "codec       ", "best_state", "odd  "):
        assert text in shown, shown


def test_a_release_folder_its_files_and_a_checkpoint_say_what_they_are(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    report = export_xp("11111111", dora_dir)
    assert [found["kind"] for found in inspected(tmp_path, report.folder)] == ["release", "release"]
    assert inspected(tmp_path, report.files[0])[0]["sections"]["best_state"] > 0
    assert inspected(tmp_path, folder / "checkpoint.th")[0]["kind"] == "training checkpoint"
    assert "made   " in command("inspect", report.folder, cwd=tmp_path).stdout


def test_what_cannot_be_released_is_looked_into_and_says_why(train, tmp_path):
    train("11111111", [], best_state=...)
    found, = inspected(tmp_path, "11111111")
    assert found["release"] is None and "use weights=last" in found["refused"] and found["sections"]["model"] > 0
    assert "none with the default options: " in command("inspect", "11111111", cwd=tmp_path).stdout


def test_no_weight_is_read_unless_it_is_asked_for(train, tmp_path):
    state = {**model_state(3), "bad": torch.tensor([1., float("nan"), float("inf")])}
    folder = train("11111111", [], best_state={"model": state})
    data = bytearray((folder / "checkpoint.th").read_bytes())
    data[data.index(model_state(1)["emb.0.weight"].numpy().tobytes())] ^= 1
    (folder / "checkpoint.th").write_bytes(data)
    assert inspected(tmp_path, "11111111")[0]["odd"] == [
        text for text in inspected(tmp_path, "11111111", "--values")[0]["odd"] if "damaged" not in text
        and "NaN" not in text]
    odd = inspected(tmp_path, "11111111", "--values")[0]["odd"]
    assert any(text.startswith("best_state.model.bad holds 2 numbers that are NaN") for text in odd)
    assert any(text.startswith("model.emb.0.weight: ") and "damaged" in text for text in odd)


def test_tied_tensors_and_shared_storages_are_said_and_count_once(train, tmp_path):
    weight = torch.randn(100)
    train("11111111", [], best_state={"model": {"a": weight, "b": weight, "c": torch.zeros(1)}}, model=...)
    found, = inspected(tmp_path, "11111111")
    assert found["sections"]["best_state"] == 404
    assert any(text.startswith("2 tensors share 1 storages, such as best_state.model.a, ") for text in found["odd"])


def test_differences_of_configurations_are_dotted_keys(train, tmp_path):
    train("11111111", [])
    train("22222222", [], **{"xp.cfg": with_cfg(solver="musicgen", optim={"lr": 3}, new=[1], user="${oc.env:HOME}")})
    found, = inspected(tmp_path, "11111111", "--diff", "2222")
    rows = {row["key"]: (row["here"], row["there"]) for row in found["differences"]}
    assert rows["optim.lr"] == ("0.0001", "3") and rows["new"] == ("", "[1]")
    assert rows["user"] == ('"${oc.env:USER}"', '"${oc.env:HOME}"') and "solver" not in rows
    assert "optim.lr" in command("inspect", "11111111", "--diff", "22222222", cwd=tmp_path).stdout
    assert "No XP '3333'" in command("inspect", "11111111", "--diff", "3333", cwd=tmp_path, code=1).stderr


@pytest.mark.parametrize("losses", [[1.], [1e308, -1e308, 1.], [float("nan"), 2.], [2.] * 500, [10**400, 1.]])
def test_a_curve_can_be_drawn_of_anything(train, tmp_path, losses):
    train("11111111", [], losses)
    text = command("inspect", "11111111", cwd=tmp_path, PYTHONIOENCODING="ascii").stdout
    line, = [line for line in text.splitlines() if line.startswith("ce  ")]
    assert len(line) < 110 and text.isascii()


@pytest.mark.parametrize("odd", ["deep", "long", "itself"])
def test_odd_data_takes_neither_time_nor_memory(train, tmp_path, odd):
    value = []
    if odd == "deep":
        for _ in range(200):
            value = [value]
    data = {"deep": value, "long": {"k" * 300_000: [0] * 20_000}, "itself": value}[odd]
    value.append(value)
    train("11111111", [], extra=data)
    began = time.process_time()
    assert inspected(tmp_path, "11111111")[0]["sections"]["model"] and time.process_time() - began < 5


def test_a_language_model_without_its_compression_model_says_both(make_xp, tmp_path):
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/deadbeef")})
    shown = command("inspect", SIG, cwd=tmp_path).stdout
    assert "weights     best_state" in shown and "state_dict.bin" in shown and "deadbeef" in shown
    assert "none with the default options: " in shown


def test_a_checkpoint_without_a_configuration_is_looked_into(make_xp, tmp_path):
    make_xp(**{"xp.cfg": ...})
    found, = inspected(tmp_path, SIG)
    assert found["sections"]["model"] and "holds no configuration" in found["refused"]


def test_a_folder_of_audiocraft_s_own_export_is_a_release(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    (folder / "export.json").unlink()
    assert [found["kind"] for found in inspected(tmp_path, folder)] == ["release", "release"]
    (folder / "state_dict.bin").write_bytes(b"damaged")
    result = command("inspect", folder, "--json", cwd=tmp_path, code=1)
    assert ["error" in json.loads(line) for line in result.stdout.splitlines()] == [True, False]


def test_metrics_are_said_where_none_decides(train, tmp_path):
    train("11111111", [], [2.], solver="compression")
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "metrics     ce 2, ppl 1, in epoch 1" in shown, shown


def test_what_cannot_be_compared_has_no_0_differences(train, tmp_path, dora_dir):
    train("11111111", [])
    train("22222222", [])
    reference = export_xp("22222222", dora_dir).folder / "compression_state_dict.bin"
    for argv in (["11111111", "--diff", reference], [reference, "--diff", "11111111"]):
        result = command("inspect", *argv, cwd=tmp_path, code=1)
        assert "holds no configuration to compare" in result.stderr and "0 differences" not in result.stdout
    train("33333333", [], **{"xp.cfg": with_cfg(solver="musicgen", a="1", b=None, c="")})
    train("44444444", [], **{"xp.cfg": with_cfg(solver="musicgen", a=1, b="None")})
    rows = inspected(tmp_path, "33333333", "--diff", "44444444")[0]["differences"]
    assert [tuple(row.values()) for row in rows] == [("a", '"1"', "1"), ("b", "null", '"None"'), ("c", '""', "")]


def test_a_text_of_a_release_is_no_file_of_tensors_and_its_manifest_stands_for_all(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    (tmp_path / "notes.txt").write_text("text")
    assert "no zip archive" in command("inspect", tmp_path / "notes.txt", cwd=tmp_path, code=1).stderr
    assert inspected(tmp_path, folder / "export.json") == [
        {**found, "target": str(folder / "export.json")} for found in inspected(tmp_path, folder)]


def test_a_checkpoint_of_another_experiment_or_of_fewer_epochs_is_said(train, tmp_path):
    folder = train("11111111", [], [1.], **{"xp.sig": "ffffffff"})
    found, = inspected(tmp_path, "11111111")
    assert "was written by the experiment ffffffff" in found["refused"] and found["epochs"] == 1
    (train("22222222", [], [1.]) / "history.json").write_text('[{}, {}]')
    odd = inspected(tmp_path, "22222222")[0]["odd"]
    assert any("history.json has 2 epochs, this checkpoint 1" in text for text in odd)
    assert command("run", folder, cwd=tmp_path, code=1)


def test_an_experiment_without_a_checkpoint_shows_what_dora_knows(train, tmp_path):
    folder = train("11111111", ["lr=1"], [3., 2.])
    train("22222222", [])
    (folder / "checkpoint.th").unlink()
    found, = inspected(tmp_path, "11111111", "--diff", "22222222")
    assert (found["kind"], found["epochs"], found["curve"], found["solver"]) == ("experiment", 2, [3., 2.], "musicgen")
    assert {"key": "optim.lr", "here": "1", "there": "0.0001"} in found["differences"]
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "best 2 in epoch 2 of 2" in shown and "it has no checkpoint: train it first" in shown


def test_the_codec_of_a_release_is_not_described_as_the_language_model(train, tmp_path, dora_dir):
    train("22222222", [], [7.], **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//sig/22222222")
    train("11111111", [], [2., 1.], **{"xp.cfg": cfg})
    assert "(at hand)" in command("inspect", "11111111", cwd=tmp_path).stdout
    folder = export_xp("11111111", dora_dir).folder
    model, codec = inspected(tmp_path, folder)
    assert (model["sig"], model["epochs"], model["metric"]) == ("11111111", 2, "ce")
    assert (codec["sig"], codec["epochs"], codec["best"]) == ("22222222", None, None)
    assert "ce          best 1 in epoch 2 of 2" in command("inspect", folder, cwd=tmp_path).stdout


def test_what_is_odd_about_a_release_or_a_training_is_said(train, tmp_path, dora_dir):
    train("11111111", [], [float("nan")])
    assert "gave no number" not in str(inspected(tmp_path, "11111111")[0]["odd"])  # ppl is one
    train("22222222", [], history=[{"valid": {"ce": float("nan")}}])
    assert "the validation of epoch 1 gave no number" in str(inspected(tmp_path, "22222222")[0]["odd"])
    folder = export_xp("11111111", dora_dir, ExportOptions(weights="ema")).folder
    assert "release     fresh, made with other options; " in command("inspect", "11111111", cwd=tmp_path).stdout
    (folder / "export.json").write_text((folder / "export.json").read_text().replace("musicgen", "mine"))
    assert "is not what was written" in str(inspected(tmp_path, folder)[0]["odd"])


@pytest.mark.parametrize(("target", "says"), [
    ("outputs", "this is a Dora folder"), ("outputs/xps/11111111/export", "this is a release"),
    ("outputs/xps/33333333", "a link to nothing")])
def test_a_folder_that_is_no_experiment_is_said_to_be_what_it_is(train, tmp_path, dora_dir, target, says):
    train("11111111", [])
    export_xp("11111111", dora_dir)
    (dora_dir / "xps" / "33333333").mkdir()
    (dora_dir / "xps" / "33333333" / "checkpoint.th").symlink_to("nowhere")
    assert says in command("run", target, cwd=tmp_path, code=1).stderr


def test_a_file_is_looked_into_whatever_its_name_and_its_folder(train, tmp_path):
    folder = train("11111111", ["lr=1"], [1.])
    (folder / "checkpoint.th").rename(folder / "best.ckpt")
    assert inspected(tmp_path, folder / "best.ckpt")[0]["kind"] == "training checkpoint"


def test_options_for_a_target_are_not_those_for_what_it_is_compared_with(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    other = train("22222222", [], [1.])
    (folder / "checkpoint.th").rename(folder / "checkpoint_1.th")
    for diff in ("22222222", other / "checkpoint.th"):
        assert inspected(tmp_path, "11111111", "--checkpoint", "1", "--diff", diff)[0]["differences"] == []
    release = export_xp("22222222", dora_dir).folder
    assert "is a release" in command("inspect", release, "--checkpoint", "1", cwd=tmp_path, code=1).stderr


def test_list_inspect_and_run_agree_on_what_is_fresh(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    shutil.copy(folder / "checkpoint.th", folder / "checkpoint_1.th")
    export_xp("11111111", dora_dir, ExportOptions(checkpoint=1))
    assert listed(tmp_path)[0]["release"] == "fresh"
    assert "release     fresh, made with other options" in command("inspect", "11111111", cwd=tmp_path).stdout
    assert "Nothing to export" in command("run", "--all", cwd=tmp_path).stderr


@pytest.mark.parametrize("best", [
    {"metric": ["x"], "epoch": 1, "valid": {}}, {"metric": "ce", "epoch": 1, "valid": {"ce": "x"}},
    {"metric": "ce", "epoch": 1, "valid": {}}, {"metric": None, "epoch": 1, "valid": []}])
def test_a_manifest_that_somebody_wrote_is_no_traceback(train, tmp_path, dora_dir, best):
    train("11111111", [], [1.])
    folder = export_xp("11111111", dora_dir).folder
    (folder / "export.json").write_text(replace(Manifest.load(folder), best=best).text)
    assert inspected(tmp_path, folder)[0]["best"] is None and listed(tmp_path)[0]["release"] == "damaged"


def test_a_manifest_names_only_files_of_its_folder(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    folder = export_xp("11111111", dora_dir).folder
    manifest = Manifest.load(folder)
    outside = replace(manifest.files[0], name="../checkpoint.th")
    (folder / "export.json").write_text(replace(manifest, files=[*manifest.files, outside]).text)
    assert {found["kind"] for found in inspected(tmp_path, folder)} == {"release"}


def test_values_that_differ_share_the_width_of_the_terminal(train, tmp_path):
    for sig, letter in (("11111111", "a"), ("22222222", "b")):
        train(sig, [], **{"xp.cfg": with_cfg(solver="musicgen", key=letter * 60, other=letter)})
    shown = on_terminal("-m", "audiocraft_export", "inspect", "11111111", "--diff", "2222", cwd=tmp_path, columns=90)
    lines = re.sub("\x1b[^m]*m", "", shown).replace("\r", "").splitlines()
    line, = [line for line in lines if line.startswith("key ") and "aaa" in line]
    assert len(line.rstrip()) > 80 and abs(line.count("a") - line.count("b")) < 3


def test_what_to_do_is_in_the_table_on_a_terminal_of_80_columns(train, tmp_path):
    train("11111111", [], [1.])
    train("22222222", [], [1.], best_state=...)
    code = "import sys; from audiocraft_export.cli.main import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass"
    shown = on_terminal("-c", code, "run", "--all", cwd=tmp_path, columns=96)
    assert "weights=last for the latest weights." in shown.rpartition("where, or why not")[2].replace("\n", "")


@pytest.mark.parametrize("columns", [60, 80])
def test_the_curve_leaves_its_line_whole(train, tmp_path, columns):
    train("11111111", [], [1 / epoch for epoch in range(1, 301)])
    shown = on_terminal("-m", "audiocraft_export", "inspect", "11111111", cwd=tmp_path, columns=columns)
    line, = [line for line in shown.replace("\r", "").splitlines() if line.startswith("ce  ")]
    assert 40 < len(line) <= columns and "of 300" in line


def test_an_experiment_without_a_checkpoint_does_not_hide_another(train, tmp_path, dora_dir):
    (dora_dir / "xps" / "22222222").mkdir(parents=True)
    train("11111111", [])
    result = command("inspect", "22222222", "nowhere", "11111111", "--json", cwd=tmp_path, code=1)
    assert ["error" in json.loads(line) for line in result.stdout.splitlines()] == [True, True, False]


def test_a_checkpoint_is_inspected_on_a_narrow_terminal(train, tmp_path):
    train("11111111", [])
    shown = on_terminal("-m", "audiocraft_export", "inspect", "11111111", cwd=tmp_path, columns=40)
    table = shown.partition("section")[2]
    assert "best_state" in table and "float32" in table


# verify

def test_each_file_is_one_line(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    result = command("verify", folder, cwd=tmp_path)
    assert result.stdout.splitlines() == [f"{folder / name}: sound" for name in
                                          ("state_dict.bin", "compression_state_dict.bin", "export.json")]
    assert command("verify", folder / "state_dict.bin", cwd=tmp_path).stdout == f"{folder / 'state_dict.bin'}: sound\n"
    data = bytearray((folder / "state_dict.bin").read_bytes())
    data[data.index(model_state(3)["emb.0.weight"].numpy().tobytes())] ^= 1
    (folder / "state_dict.bin").write_bytes(data)
    lines = command("verify", folder, cwd=tmp_path, code=1).stdout.splitlines()
    assert "best_state.emb.0.weight is damaged" in lines[0] and [line.endswith(": sound") for line in lines] == [
        False, True, True]


def test_what_is_wrong_does_not_hide_the_rest(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    result = command("verify", "nowhere", folder, "--json", cwd=tmp_path, code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["ok"] for line in lines] == [False, True, True, True] and "nowhere" in lines[0]["problems"][0]["what"]
    assert "wrong: nowhere" in result.stderr


@pytest.mark.parametrize("options", [
    {}, {"weights": "ema"}, {"dtype": "float16"}, {"weights": "last", "codec": "none"}])
def test_a_release_is_what_its_checkpoint_says_whatever_it_was_asked_for(train, tmp_path, dora_dir, options):
    folder = train("11111111", [])
    release = export_xp("11111111", dora_dir, ExportOptions(**options)).folder
    for against in ("1111", folder, folder / "checkpoint.th"):
        assert command("verify", release, "--against", against, cwd=tmp_path).stdout.count("sound") == 3 - (
            "codec" in options)


def test_a_release_that_is_sound_and_of_other_weights_is_found_out(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    release = export_xp("11111111", dora_dir).folder
    state = model_state(3)
    state["linears.0.weight"][1, 2] += 1e-7
    state["new"] = state.pop("steps")
    torch.save(solver_state(**{"sig": "11111111", "best_state": {"model": state},
                               "xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=PRETRAINED, x=1)}),
               folder / "checkpoint.th")
    lines = command("verify", release, "--against", "11111111", cwd=tmp_path, code=1).stdout.splitlines()
    for problem in ("best_state.linears.0.weight has other numbers than the checkpoint", "xp.cfg is not what",
                    "best_state.new is missing, and in the checkpoint", "best_state.steps is not in the checkpoint"):
        assert problem in lines[0]
    assert "emb.0.weight" not in lines[0] and lines[1].endswith("sound")


def test_a_release_of_an_epoch_is_compared_with_that_epoch(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    torch.save(solver_state(**{"sig": "11111111", "best_state": {"model": model_state(8)},
                               "xp.cfg": with_cfg(solver="mine")}), folder / "checkpoint_2.th")
    release = export_xp("11111111", dora_dir, ExportOptions(checkpoint="2")).folder
    assert command("verify", release, "--against", "11111111", cwd=tmp_path).stdout.count("sound") == 2
    assert "has other numbers" in command("verify", release, "--against", folder / "checkpoint.th", cwd=tmp_path,
                                          code=1).stdout


def test_a_comparison_with_nothing_is_no_proof(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    assert "give a signature" in command("verify", folder, "--against", "", cwd=tmp_path, code=1).stderr


def test_all_files_of_a_release_can_be_named_and_compared(train, tmp_path, dora_dir):
    train("11111111", [])
    files = sorted(export_xp("11111111", dora_dir).folder.iterdir())
    assert command("verify", *files, "--against", "11111111", cwd=tmp_path).stdout.count(": sound") == 3


def test_a_comparison_finds_the_compression_model_where_the_export_found_it(make_xp, tmp_path, dora_dir):
    make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression")})
    folder = make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    (tmp_path / "copy").mkdir()
    copy = shutil.move(folder, tmp_path / "copy" / SIG)
    argv = ["--dora-dir", dora_dir]
    command("run", copy, *argv, cwd=tmp_path)
    assert command("verify", f"{copy}/export", "--against", copy, *argv, cwd=tmp_path).stdout.count(": sound") == 3


def test_bands_are_not_compared_with_one_experiment(train, tmp_path, dora_dir):
    train("11111111", [])
    report = export_xp("11111111", dora_dir)
    for bands in ([{}], [{"sig": 3}], [{"sig": "22222222"}]):
        (report.folder / "export.json").write_text(replace(report.manifest, bands=bands).text)
        command("verify", report.folder, "--against", "11111111", cwd=tmp_path, code=1)


def test_a_file_of_audiocraft_s_own_export_is_compared_too(make_xp, tmp_path, dora_dir):
    folder = make_xp(**{"xp.cfg": with_cfg(solver="musicgen")})
    path = tmp_path / "state_dict.bin"
    ours = load(export_checkpoint(folder / "checkpoint.th", tmp_path / "ours", ExportOptions(
        codec="none", version="1.3.0")).files[0])
    torch.save({**ours, "best_state": dict(ours["best_state"])}, path)
    assert verify(path).ok
    assert command("verify", path, "--against", SIG, cwd=tmp_path).stdout == f"{path}: sound\n"


def test_load_wants_audiocraft_and_a_whole_folder(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    assert "name its folder" in command("verify", folder / "state_dict.bin", "--load", cwd=tmp_path, code=1).stderr
    assert "AudioCraft" in command("verify", folder, "--load", cwd=tmp_path, code=1).stderr
