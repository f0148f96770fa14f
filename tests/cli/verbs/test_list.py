"""`audiocraft-export list`: one row for each experiment, sorted and filtered."""

import csv
import json
import os
import re
import shutil
import time
from dataclasses import asdict, replace

import pytest
import torch
from helpers import dora, on_terminal, only_xp, solver_state

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli.verbs import list as list_
from audiocraft_export.inspection.short_names import short_names
from audiocraft_export.storage.durable_file import WrittenFile

from ..commands import command, inspected, listed


def test_a_row_has_name_epochs_metric_and_release(train, tmp_path, dora_dir):
    folder = train("11111111", ["lr=0.1", "model.dim=3"], [3., 1.5, 2.])
    torch.save(solver_state(), folder / "checkpoint_2.th")
    row, = listed(tmp_path)
    size = (folder / "checkpoint.th").stat().st_size
    assert abs(row.pop("changed") - time.time()) < 60
    assert row == {"schema": 1, "target": "11111111", "sig": "11111111", "solver": "musicgen", "xp": str(folder),
                   "overrides": ["lr=0.1", "model.dim=3"], "epochs": 3, "planned_epochs": 4, "metric": "ce",
                   "best": 1.5, "best_epoch": 2, "last": 2., "checkpoint": str(folder / "checkpoint.th"),
                   "checkpoint_bytes": size, "other_checkpoints": 1, "folder": str(folder / "export"), "state": "none",
                   "options": {}, "bytes": None, "nonfinite": None, "warnings": []}
    report = export_xp("11111111", dora_dir)
    head, line = command("list", cwd=tmp_path).stdout.splitlines()
    assert head.split() == ["sig", "solver", "what", "epochs", "best", "checkpoint", "release", "age"]
    for text in ("11111111  musicgen", "lr=0.1 dim=3", "3/4", "ce 1.5 @2", "kB +1", "up to date", " s"):
        assert text in line
    assert listed(tmp_path)[0]["bytes"] == report.bytes


def test_a_release_is_up_to_date_stale_or_damaged(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    path = export_xp("11111111", dora_dir).files[0]
    checkpoint, made = folder / "checkpoint.th", (folder / "checkpoint.th").stat().st_mtime_ns
    same, other = checkpoint.read_bytes(), train("22222222", []).joinpath("checkpoint.th").read_bytes()
    assert len(same) == len(other)  # they differ by the signature
    shutil.rmtree(folder.with_name("22222222"))
    for content, ns, state in [
            (same, made, "up_to_date"), (same, made // 10**9 * 10**9, "up_to_date"), (same, made + 10**9, "up_to_date"),
            (other, made + 10**9, "stale"), (other, made - 10**9, "stale"), (same, 0, "up_to_date")]:
        checkpoint.write_bytes(content)
        os.utime(checkpoint, ns=(ns, ns))
        assert listed(tmp_path)[0]["state"] == state
    (folder / "checkpoint.th").unlink()
    assert listed(tmp_path)[0] == {**listed(tmp_path)[0], "state": "up_to_date", "checkpoint": None}
    path.write_bytes(path.read_bytes()[:-1])
    assert listed(tmp_path)[0]["state"] == "damaged"
    (path.parent / "export.json").write_text("{")
    assert listed(tmp_path)[0]["state"] == "damaged"


def test_a_release_with_other_options_shows_them(train, tmp_path, dora_dir):
    train("11111111", [])
    export_xp("11111111", dora_dir, ExportOptions(weights="last", dtype="float16", scrub="optim.*", version="1.2.3"))
    options = {"weights": "last", "dtype": "float16", "scrub": ["optim.*"]}
    assert listed(tmp_path)[0]["options"] == options
    assert " kB, weights=last, dtype=float16, scrub=optim.* " in command("list", cwd=tmp_path).stdout


def test_no_checkpoint_is_opened(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    export_xp("11111111", dora_dir)
    made = os.stat(folder / "checkpoint.th")
    (folder / "checkpoint.th").write_bytes(bytes(made.st_size))
    os.utime(folder / "checkpoint.th", ns=(made.st_mtime_ns, made.st_mtime_ns))
    assert listed(tmp_path)[0]["state"] == "up_to_date"


@pytest.mark.parametrize("broken", [b'[{"valid": ', b"", b'{"odd": [1]}', b"null", b"\xff\xfe", b"[" * 100_000,
                                    b"[1, 2]", b'[{"valid": {"ce": 1}}, "x"]'])
def test_a_broken_history_is_unknown_not_empty(train, tmp_path, broken):
    folder = train("11111111", [], [1., 2.])
    (folder / "history.json").write_bytes(broken)
    assert listed(tmp_path)[0]["epochs"] is None and "  ?/4 " in command("list", cwd=tmp_path).stdout
    assert any("history.json is corrupted" in text for text in inspected(tmp_path, "11111111")[0]["warnings"])
    (folder / "checkpoint.th").unlink()
    found, = inspected(tmp_path, "11111111")
    assert found["epochs"] is None and "history.json is corrupted" in found["warnings"][0]
    (folder / "history.json").unlink()
    assert listed(tmp_path)[0]["epochs"] == 0 and not inspected(tmp_path, "11111111")[0]["warnings"]


def test_a_missing_history_with_a_checkpoint_or_a_release_is_unknown(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1., 2.])
    (folder / "history.json").unlink()
    assert listed(tmp_path)[0]["epochs"] is None
    export_xp("11111111", dora_dir)
    (folder / "checkpoint.th").unlink()
    assert listed(tmp_path)[0]["epochs"] is None and inspected(tmp_path, "11111111")[0]["epochs"] is None


def test_an_experiment_in_any_state_is_a_row(train, tmp_path, dora_dir):
    xps = dora_dir / "xps"
    (xps / "22222222").mkdir(parents=True)  # Dora has just created it
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
    assert [(row["solver"], row["planned_epochs"]) for row in rows] == [("mine", None), (None, None)]


def test_the_metric_is_found_among_many_and_booleans_are_ignored(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    (folder / "history.json").write_text(json.dumps([{"valid": {**{f"m{n}": 1. for n in range(1500)}, "ce": 2.}}]))
    (train("22222222", []) / "history.json").write_text('[{"valid": {"ce": true}}]')
    assert [row["best"] for row in listed(tmp_path, "--sort", "sig")] == [2., None]


@pytest.mark.parametrize("change", [{"bytes": "x"}, {"bytes": None}, {"bytes": 10**400}, {"bytes": -1}, {"sha256": 3}])
def test_a_forged_manifest_is_a_damaged_release(train, tmp_path, dora_dir, change):
    train("11111111", [])
    report = export_xp("11111111", dora_dir)
    files = [WrittenFile(**{**asdict(file), **change}) for file in report.manifest.files]
    (report.folder / "export.json").write_text(replace(report.manifest, files=files).text)
    assert listed(tmp_path)[0]["state"] == "damaged"
    assert "damaged" in command("list", cwd=tmp_path).stdout
    command("verify", report.folder, "--against", "11111111", cwd=tmp_path, code=1)
    assert "1 XP: 1 exported" in command("run", "--all", cwd=tmp_path).stderr


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
    said = command("list", "nothing", cwd=tmp_path).stderr
    assert said == "No matching experiments in outputs (3 without filters).\n"


def test_trained_experiments_are_listed(project):
    root = project()
    assert dora("run", "lr=0.25", "export=true", cwd=root).returncode == 0
    row, = listed(root)
    assert row["sig"] == only_xp(root).name and row["overrides"] == ["lr=0.25"] and row["state"] == "up_to_date"
    assert row["epochs"] == row["planned_epochs"] and row["epochs"] > 0


def test_names_show_the_overrides_that_differ_within_a_solver(train, tmp_path, dora_dir):
    common = [f"some.long.override{index}={index}" for index in range(9)]
    for index in range(4):
        train(f"0000000{index}", [*common, f"optim.lr=1e-{index}"])
    train("0000000a", ["bins=9"], solver="compression")
    (dora_dir / "xps" / "old_stuff").mkdir()
    rows = {line.split()[0]: line for line in command("list", cwd=tmp_path).stdout.splitlines()}
    assert all(f" lr=1e-{index} " in rows[f"0000000{index}"] for index in range(4))
    lines = [["a=1", "b=1", "c=1"], ["a=1", "b=1", "c=2"], ["a=1", "b=2", "c=3"]]
    assert short_names(lines) == ["c=1 b=1", "c=2 b=1", "b=2 c=3"]


def test_hidden_folders_are_not_experiments(train, tmp_path, dora_dir):
    train("11111111", [], [1.])
    (dora_dir / "xps" / ".snapshot").mkdir()
    assert [row["sig"] for row in listed(tmp_path)] == ["11111111"]


def test_list_inspect_and_run_agree_on_the_status(train, tmp_path, dora_dir):
    folder = train("11111111", [], [1.])
    torch.save(solver_state(sig="11111111"), folder / "checkpoint_1.th")
    export_xp("11111111", dora_dir, ExportOptions(checkpoint=1))
    row, found = listed(tmp_path)[0], inspected(tmp_path, "11111111")[0]
    assert row["state"] == found["state"] == "other_options"
    assert row["options"] == found["options"] == {"checkpoint": "1"}
    assert "release     up to date, made with checkpoint=1; " in command("inspect", "11111111", cwd=tmp_path).stdout
    assert "Nothing to do" in command("run", "--all", cwd=tmp_path).stderr
    assert command("run", "11111111", "--dry-run", cwd=tmp_path).stdout.endswith(
        ", replacing the release made after epoch 2\n")
    torch.save(solver_state(sig="11111111", best_state={"model": {"w": torch.zeros(1)}}), folder / "checkpoint_1.th")
    assert "release     stale; " in command("inspect", "11111111", cwd=tmp_path).stdout
    assert "the existing release is stale" in command("run", "--all", "--dry-run", cwd=tmp_path).stdout
    assert "1 XP: 1 exported" in command("run", "--all", cwd=tmp_path).stderr
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "release     up to date, made with checkpoint=1; would have state_dict.bin " in shown


def test_values_of_a_release_that_are_nan_or_infinite_are_counted(train, tmp_path, dora_dir):
    train("11111111", [], best_state={"model": {"w": torch.full((4, 3), float("nan")), "v": torch.ones(2)}})
    assert listed(tmp_path)[0]["nonfinite"] is None  # weights are not read
    export_xp("11111111", dora_dir)
    assert listed(tmp_path)[0]["nonfinite"] == 12 and ", 12 NaN/inf" in command("list", cwd=tmp_path).stdout
    train("22222222", [])
    export_xp("22222222", dora_dir)
    assert [xp["nonfinite"] for xp in listed(tmp_path, "--sort", "sig")] == [12, 0]


def test_a_metric_that_no_experiment_has_is_refused(train, tmp_path):
    train("11111111", [], [3., 1.5])
    train("22222222", [])
    result = command("list", "--metric", "cee:max", cwd=tmp_path, code=2)
    assert result.stderr.splitlines() == ["error[invalid-option]: no experiment has the metric 'cee'",
                                          "  hint: did you mean ce?"]
    assert "choose one of" in command("list", "--metric", "nothing", cwd=tmp_path, code=2).stderr
    assert "ppl" in command("list", "--metric", "ppl", cwd=tmp_path).stdout


def test_any_metric_is_accepted_while_no_experiment_has_a_history(train, tmp_path):
    train("11111111", [])
    assert "11111111" in command("list", "--metric", "fad", cwd=tmp_path).stdout


def histories(train, **values):
    """Train an XP for each name, whose history has its values of the metric `acc`."""
    for sig, accuracies in values.items():
        folder = train(sig, [f"x={sig}"])
        history = [{"train": {"ce": 1 - acc}, "valid": {"ce": acc, "acc": acc, "ppl": acc}} for acc in accuracies]
        (folder / "history.json").write_text(json.dumps(history))


def test_experiments_are_sorted_by_any_metric_in_its_direction(train, tmp_path):
    histories(train, a=[.5, .9], b=[.6, .7], c=[])
    assert {"age", "size", "sig", "metric"} == {*list_.SORT_KEYS}
    for key, sigs, best in (("acc", "abc", .5), ("acc:max", "abc", .9), ("ppl:max", "abc", .9), ("train.ce", "abc", .1),
                            ("train.ce:max", "abc", .5), ("acc:min", "abc", .5)):
        rows = listed(tmp_path, "--sort", key)
        assert [row["sig"] for row in rows] == [*sigs] and abs(rows[0]["best"] - best) < 1e-9, key
        assert rows[0]["metric"] == key.partition(":")[0]
    assert [row["sig"] for row in listed(tmp_path, "--metric", "acc:max", "--sort", "metric", "--limit", "1")] == ["a"]
    assert " acc 0.9 @2 " in command("list", "--sort", "acc:max", cwd=tmp_path).stdout


@pytest.mark.parametrize(("argv", "message", "hint"), [
    (["--sort", "metrc"], "no experiment has the metric 'metrc'", "did you mean metric?"),
    (["--sort", "accc:max"], "no experiment has the metric 'accc'", "did you mean acc?"),
    (["--columns", "sig,bst"], "unknown column 'bst'", "did you mean best?"),
    (["--json", "--csv"], "--json and --csv cannot be used together", "omit one of them"),
    (["--json", "--columns", "sig"], "--json and --columns cannot be used together", "omit --columns: "),
    (["--metric", "ce", "--sort", "acc"], "--metric ce shows another metric than --sort acc", "omit --metric"),
    (["--limit", "0"], "argument --limit: 0 is not a positive integer", "see ")])
def test_wrong_columns_and_orders_are_refused(train, tmp_path, argv, message, hint):
    histories(train, a=[.5])
    error, said = command("list", *argv, cwd=tmp_path, code=2).stderr.splitlines()
    assert error.endswith(f": {message}") and said.startswith(f"  hint: {hint}")


def test_columns_are_keys_of_json_in_the_given_order(train, tmp_path, dora_dir):
    train("11111111", ["lr=1", "dim=2"], [3., 1.5])
    export_xp("11111111", dora_dir, ExportOptions(weights="last"))
    head, line = command("list", "--columns", "best,sig,state,options,overrides,last,warnings", cwd=tmp_path
                         ).stdout.splitlines()
    assert head.split() == ["best", "sig", "state", "options", "overrides", "last", "warnings"]
    assert re.split("  +", line) == ["1.5", "11111111", "up to date", "weights=last", "lr=1 dim=2", "1.5", "-"]
    keys = listed(tmp_path)[0].keys() - {"schema"}
    head, line = command("list", "--columns", ",".join(keys), cwd=tmp_path).stdout.splitlines()
    assert head.split() == [*keys]


def test_csv_has_the_keys_of_json(train, tmp_path, dora_dir):
    train("11111111", ['name="a,b"', "x=é"], [3., 1.5])
    train("22222222", [])
    text = command("list", "--csv", "--sort", "sig", cwd=tmp_path).stdout
    rows, expected = [*csv.DictReader(text.splitlines())], listed(tmp_path, "--sort", "sig")
    assert text.count("\n") == 3 and "\r" not in text and [*rows[0]] == [*expected[0]][1:]
    assert rows[0]["best"] == "1.5" and rows[1]["best"] == "" and rows[0]["state"] == "none"
    assert json.loads(rows[0]["overrides"]) == expected[0]["overrides"] and rows[0]["options"] == "{}"
    assert command("list", "--csv", "--columns", "best,sig", "--limit", "1", "--sort", "sig", cwd=tmp_path
                   ).stdout == "best,sig\n1.5,11111111\n"
    assert command("list", "--csv", "--columns", "sig", "nothing", cwd=tmp_path).stdout == "sig\n"


@pytest.mark.parametrize(("key", "column"), [("age", "age"), ("size", "checkpoint"), ("metric", "best")])
@pytest.mark.parametrize("columns", [50, 80])
def test_the_column_of_the_sort_key_is_always_visible_and_the_age_at_80_columns(train, tmp_path, dora_dir, key, column,
                                                                                 columns):
    train("11111111", [f"some.override{index}={index}" for index in range(9)], [1.23456])
    train("22222222", [], [1.], solver="audio_magnet")
    export_xp("11111111", dora_dir, ExportOptions(weights="last", dtype="float16", codec="none"))
    shown = on_terminal("-m", "audiocraft_export", "list", "--sort", key, cwd=tmp_path, columns=columns, NO_COLOR="1")
    head = re.sub("\x1b[^m]*m", "", shown).splitlines()[0].split()
    assert column in head and {"sig", "what", "release"} <= {*head} and (columns < 80 or "age" in head)


def test_the_state_of_a_release_has_a_colour_on_a_terminal(train, tmp_path, dora_dir):
    for sig, options in (("11111111", {}), ("22222222", {"weights": "last"}), ("33333333", {}), ("44444444", {})):
        train(sig, [], [1.])
        export_xp(sig, dora_dir, ExportOptions(**options))
    train("55555555", [], [1.])
    train("33333333", [], [1., 2.])
    (dora_dir / "xps" / "44444444" / "export" / "state_dict.bin").unlink()
    shown = on_terminal("-m", "audiocraft_export", "list", "--sort", "sig", cwd=tmp_path, columns=120)
    states = re.findall("\x1b\\[(\\d+)m((?:up to date|stale|damaged|missing)[^\x1b]*)", shown)
    assert [(colour, " ".join(text.split()[:-2]) or text.strip()) for colour, text in states if "," not in text] == [
        ("32", "up to date"), ("33", "stale"), ("31", "damaged"), ("2", "missing")]
    assert [colour for colour, text in states if ", weights=last" in text] == ["33"]
    plain = on_terminal("-m", "audiocraft_export", "list", cwd=tmp_path, columns=120, NO_COLOR="1")
    assert "\x1b" not in plain and "damaged" in plain


@pytest.mark.parametrize("broken", ["folder", "link", "empty"])
def test_a_checkpoint_that_cannot_be_used_is_marked(train, tmp_path, broken):
    path = train("11111111", [], [1.]) / "checkpoint.th"
    path.unlink()
    {"folder": path.mkdir, "link": lambda: path.symlink_to("nowhere"), "empty": path.touch}[broken]()
    row, = listed(tmp_path)
    assert row["checkpoint"] == str(path) and [text.partition(":")[0] for text in row["warnings"]] == [
        "unusable-checkpoint"]
    result = command("list", cwd=tmp_path)
    assert "  unusable  " in result.stdout
    assert result.stderr.startswith("warning[unusable-checkpoint]: 11111111: checkpoint.th is ")


def test_a_broken_history_is_a_warning(train, tmp_path):
    (train("11111111", [], [1.]) / "history.json").write_text("[")
    warning = "corrupted-history: history.json is corrupted, and was ignored"
    assert listed(tmp_path)[0]["warnings"] == [warning]
    assert "warning[corrupted-history]: 11111111: " in command("list", cwd=tmp_path).stderr


def test_overrides_that_cannot_be_read_are_a_warning(train, tmp_path):
    folder = train("11111111", [])
    (folder / ".argv.json").write_text("[1")
    found, = listed(tmp_path)
    assert found["overrides"] is None
    assert found["warnings"] == ["corrupted-overrides: .argv.json is corrupted, and was ignored"]


def test_names_are_unique_among_the_keys_of_the_configurations(train, tmp_path):
    for sig, override in (("11111111", "optim.ema.use=false"), ("22222222", "other.use=true")):
        with (train(sig, [override]) / ".hydra" / "config.yaml").open("a") as config:
            config.write("  use: true\nema:\n  use: true\n")
    shown = command("list", cwd=tmp_path).stdout
    assert " ema.use=false " in shown and " other.use=true " in shown


def test_columns_are_also_the_heads_of_the_table(train, tmp_path, dora_dir):
    train("11111111", ["lr=1", "model.dim=2"], [3., 1.5])
    export_xp("11111111", dora_dir, ExportOptions(weights="last"))
    heads = command("list", cwd=tmp_path).stdout.split("\n")[0].split()
    head, line = command("list", "--columns", ",".join(heads), cwd=tmp_path).stdout.splitlines()
    assert head.split() == heads and "  lr=1 dim=2  " in line and ", weights=last  " in line and line.endswith(" s")
    text = command("list", "--csv", "--columns", "release,what", cwd=tmp_path).stdout
    assert text == 'release,what\nother_options,"[""lr=1"", ""model.dim=2""]"\n'
    assert command("list", "--csv", cwd=tmp_path).stdout.startswith("target,sig,solver,xp,overrides,")


def test_a_configuration_with_line_breaks_of_windows_is_read(train, tmp_path):
    path = train("11111111", []) / ".hydra" / "config.yaml"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert [(row["solver"], row["planned_epochs"]) for row in listed(tmp_path)] == [("musicgen", 4)]
