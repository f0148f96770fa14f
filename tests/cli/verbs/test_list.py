"""`audiocraft-export list`: one row for each experiment, sorted and filtered."""

import json
import os
import time
from dataclasses import asdict, replace

import pytest
import torch
from helpers import dora, only_xp, solver_state

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli.verbs.list import _age
from audiocraft_export.cli.xp_summary import short_names
from audiocraft_export.storage.durable_file import WrittenFile

from ..commands import command, inspected, listed


def test_a_row_says_what_it_is_how_far_how_good_and_whether_it_is_exported(train, tmp_path, dora_dir):
    folder = train("11111111", ["lr=0.1", "model.dim=3"], [3., 1.5, 2.])
    torch.save(solver_state(), folder / "checkpoint_2.th")
    row, = listed(tmp_path)
    size = (folder / "checkpoint.th").stat().st_size
    assert abs(row.pop("changed") - time.time()) < 60
    assert row == {"sig": "11111111", "solver": "musicgen", "argv": ["lr=0.1", "model.dim=3"], "epochs": 3,
                   "planned": 4, "metric": "ce", "best": 1.5, "best_epoch": 2, "checkpoint": size, "others": 1,
                   "release": "none", "release_options": {}, "release_bytes": None,
                   "nonfinite": None}
    report = export_xp("11111111", dora_dir)
    head, line = command("list", cwd=tmp_path).stdout.splitlines()
    assert head.split() == ["sig", "solver", "what", "epochs", "best", "checkpoint", "release", "age"]
    for text in ("11111111  musicgen", "lr=0.1 dim=3", "3/4", "ce 1.5 @2", "kB +1", "up to date", " s"):
        assert text in line
    assert listed(tmp_path)[0]["release_bytes"] == report.bytes


def test_a_release_is_up_to_date_stale_or_damaged(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    state = export_xp("11111111", dora_dir).files[0]
    made = (folder / "checkpoint.th").stat().st_mtime_ns
    for other, release in [(made, "up to date"), (made // 10**9 * 10**9, "up to date"), (made + 10**9, "stale"),
                           (made - 10**9, "stale")]:  # on a disk of whole seconds, written later, an older one restored
        os.utime(folder / "checkpoint.th", ns=(other, other))
        assert listed(tmp_path)[0]["release"] == release
    (folder / "checkpoint.th").unlink()
    assert listed(tmp_path)[0] == {**listed(tmp_path)[0], "release": "up to date", "checkpoint": None}
    state.write_bytes(state.read_bytes()[:-1])
    assert listed(tmp_path)[0]["release"] == "damaged"
    (state.parent / "export.json").write_text("{")
    assert listed(tmp_path)[0]["release"] == "damaged"


def test_a_release_with_other_than_the_default_options_says_which(train, tmp_path, dora_dir):
    train("11111111", [])
    export_xp("11111111", dora_dir, ExportOptions(weights="last", dtype="float16", scrub="optim.*", version="1.2.3"))
    options = {"weights": "last", "dtype": "float16", "scrub": ["optim.*"]}
    assert listed(tmp_path)[0]["release_options"] == options
    assert " kB, weights=last, dtype=float16, scrub=optim.* " in command("list", cwd=tmp_path).stdout


def test_no_checkpoint_is_opened(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    export_xp("11111111", dora_dir)
    made = os.stat(folder / "checkpoint.th")
    (folder / "checkpoint.th").write_bytes(bytes(made.st_size))
    os.utime(folder / "checkpoint.th", ns=(made.st_mtime_ns, made.st_mtime_ns))
    assert listed(tmp_path)[0]["release"] == "up to date"


@pytest.mark.parametrize("broken", [b'[{"valid": ', b"", b'{"odd": [1]}', b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_broken_history_is_unknown_not_empty(train, tmp_path, broken):
    folder = train("11111111", [], [1., 2.])
    (folder / "history.json").write_bytes(broken)
    assert listed(tmp_path)[0]["epochs"] is None and "  ?/4 " in command("list", cwd=tmp_path).stdout
    assert any("history.json is broken" in text for text in inspected(tmp_path, "11111111")[0]["odd"])
    (folder / "checkpoint.th").unlink()
    found, = inspected(tmp_path, "11111111")
    assert found["epochs"] is None and "history.json is broken" in found["odd"][0]
    (folder / "history.json").unlink()
    assert listed(tmp_path)[0]["epochs"] == 0 and not inspected(tmp_path, "11111111")[0]["odd"]


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
        ("22222222", None, 0), ("33333333", "of_tomorrow", None), ("44444444", None, None), ("55555555", None, None)]
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


def test_what_dora_trained_is_listed(project):
    root = project()
    assert dora("run", "lr=0.25", "export=true", cwd=root).returncode == 0
    row, = listed(root)
    assert row["sig"] == only_xp(root).name and row["argv"] == ["lr=0.25"] and row["release"] == "up to date"
    assert row["epochs"] == row["planned"] and row["epochs"] > 0


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


def test_hidden_folders_are_no_experiments(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    (dora_dir / "xps" / ".snapshot").mkdir()
    assert [row["sig"] for row in listed(tmp_path)] == ["11111111"]


def test_list_inspect_and_run_agree_on_what_is_up_to_date(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    torch.save(solver_state(sig="11111111"), folder / "checkpoint_1.th")
    export_xp("11111111", dora_dir, ExportOptions(checkpoint=1))
    row, found = listed(tmp_path)[0], inspected(tmp_path, "11111111")[0]
    assert row["release"] == found["release_status"] == found["release"]["release_status"] == "up to date"
    assert row["release_options"] == found["release_options"] == {"checkpoint": "1"}
    assert "release     up to date, made with checkpoint=1; " in command("inspect", "11111111", cwd=tmp_path).stdout
    assert "Nothing to export" in command("run", "--all", cwd=tmp_path).stderr
    assert command("run", "11111111", "--dry-run", cwd=tmp_path).stdout.endswith(
        "; the release there is up to date, made with checkpoint=1\n")
    torch.save(solver_state(sig="11111111", best_state={"model": {"w": torch.zeros(1)}}), folder / "checkpoint_1.th")
    assert "release     stale; " in command("inspect", "11111111", cwd=tmp_path).stdout
    assert "the release there is stale" in command("run", "--all", "--dry-run", cwd=tmp_path).stdout
    assert "1 of 1 exported" in command("run", "--all", cwd=tmp_path).stderr
    assert "release     up to date (state_dict.bin " in command("inspect", "11111111", cwd=tmp_path).stdout


@pytest.mark.parametrize(("seconds", "text"), [
    (-5, "0 s"), (59, "59 s"), (60, "1 min"), (86400, "1 d"), (3e7, "347 d"), (1e8, "3 y")])
def test_an_age_is_in_its_largest_unit(seconds, text):
    assert _age(seconds) == text


def test_values_of_a_release_that_are_nan_or_infinite_are_counted(train, tmp_path, dora_dir):
    train("11111111", [], best_state={"model": {"w": torch.full((4, 3), float("nan")), "v": torch.ones(2)}})
    assert listed(tmp_path)[0]["nonfinite"] is None  # no weight is read
    export_xp("11111111", dora_dir)
    assert listed(tmp_path)[0]["nonfinite"] == 12 and ", 12 NaN/inf" in command("list", cwd=tmp_path).stdout
    train("22222222", [])
    export_xp("22222222", dora_dir)
    assert [xp["nonfinite"] for xp in listed(tmp_path, "--sort", "sig")] == [12, 0]
