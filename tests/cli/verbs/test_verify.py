"""`audiocraft-export verify`: files, comparisons with checkpoints."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from helpers import SIG, load, model_state, solver_state, with_cfg

from audiocraft_export import ExportOptions, convert, export_checkpoint, export_xp, verify
from audiocraft_export.cli.limits import MAX_PROBLEMS
from audiocraft_export.cli.verbs.verify import _line

from ..commands import PRETRAINED, command, lines


def test_a_comparison_with_another_experiment_names_it(train, tmp_path, dora_dir):
    for seed, sig in enumerate(("11111111", "22222222")):
        weights = {f"w{index}": torch.full((2,), float(seed)) for index in range(30)}
        train(sig, [], [1.], solver="mine", best_state={"model": weights})
        export_xp(sig, dora_dir)
    release = dora_dir / "xps" / "11111111" / "export"
    shown = command("verify", release, "--against", "22222222", cwd=tmp_path, code=1).stdout
    assert "export.json: made from experiment 11111111, but /" in shown and "and 26 more" in shown
    assert "export.json" not in command("verify", release / "state_dict.bin", "--against", "22222222", cwd=tmp_path,
                                        code=1).stdout
    torch.save(torch.load(dora_dir / "xps/11111111/checkpoint.th", weights_only=False) | {
        "best_state": {"model": {"w0": torch.ones(2)}}}, dora_dir / "xps" / "11111111" / "checkpoint_1.th")
    other = dora_dir / "xps" / "11111111" / "checkpoint_1.th"
    state = command("verify", release, "--against", other, cwd=tmp_path, code=1).stdout
    assert "made from checkpoint.th, not from /" in state
    assert len(json.loads(command("verify", release, "--against", "22222222", "--json", cwd=tmp_path,
                                  code=1).stdout.splitlines()[0])["problems"]) == 30


def test_a_release_of_another_experiment_in_the_folder_of_an_experiment_is_named(train, tmp_path, dora_dir):
    folder, other = train("11111111", []), train("22222222", [])
    release = export_xp("11111111", dora_dir).folder
    shutil.copytree(release, other / "export")
    for target in ("2222", other, other / "export", other / "export" / "state_dict.bin"):
        said = command("verify", target, cwd=tmp_path, code=1).stdout
        assert "sig: 11111111 in the manifest, but the folder is that of 22222222" in said
    assert verify(other / "export").ok and convert(other / "export", "safetensors", tmp_path / "there").written
    shutil.copytree(folder, tmp_path / "20240131")  # a backup
    shutil.copytree(release, other / "codec")  # chosen with --folder
    shutil.copytree(folder, folder.with_name("renamed"))
    shutil.move(folder, tmp_path / "33333333")
    folder.symlink_to(tmp_path / "33333333")
    for target in ("1111", tmp_path / "33333333" / "export", tmp_path / "20240131" / "export", other / "codec",
                   folder.with_name("renamed") / "export"):
        command("verify", target, cwd=tmp_path)


def test_a_checkpoint_is_not_the_other_release(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    export_xp("11111111", dora_dir)
    said = command("verify", "1111", "--same-as", folder / "checkpoint.th", cwd=tmp_path, code=2).stderr
    assert "checkpoint.th is a checkpoint" in said and f"use --against {folder / 'checkpoint.th'}" in said


def test_each_file_is_one_line(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    result = command("verify", folder, cwd=tmp_path)
    assert result.stdout.splitlines() == [f"{folder / name}: intact" for name in
                                          ("state_dict.bin", "compression_state_dict.bin", "export.json")]
    assert command("verify", folder / "state_dict.bin", cwd=tmp_path).stdout == f"{folder / 'state_dict.bin'}: intact\n"
    data = bytearray((folder / "state_dict.bin").read_bytes())
    data[data.index(model_state(3)["emb.0.weight"].numpy().tobytes())] ^= 1
    (folder / "state_dict.bin").write_bytes(data)
    lines = command("verify", folder, cwd=tmp_path, code=1).stdout.splitlines()
    assert "best_state.emb.0.weight: corrupted" in lines[0] and [line.endswith(": intact") for line in lines] == [
        False, True, True]


def test_a_damaged_release_does_not_hide_the_others(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    result = command("verify", "nowhere", folder, "--json", cwd=tmp_path, code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("ok") for line in lines] == [None, True, True, True] and "nowhere" in lines[0]["error"]["message"]
    assert [line["target"] for line in lines] == ["nowhere", *[str(folder)] * 3]
    assert "failed: nowhere" in result.stderr


def test_paths_in_json_are_absolute(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    for target in "11111111", os.path.relpath(folder, tmp_path):
        found = lines("verify", target, "--dora-dir", os.path.relpath(dora_dir, tmp_path), cwd=tmp_path)
        assert [line["file"] for line in found] == [
            str(folder / name) for name in ("state_dict.bin", "compression_state_dict.bin", "export.json")]


@pytest.mark.parametrize("options", [
    {}, {"weights": "ema"}, {"dtype": "float16"}, {"weights": "last", "codec": "none"}])
def test_a_release_with_any_options_matches_its_checkpoint(train, tmp_path, dora_dir, options):
    folder = train("11111111", [])
    release = export_xp("11111111", dora_dir, ExportOptions(**options)).folder
    for against in ("1111", folder, folder / "checkpoint.th"):
        assert command("verify", release, "--against", against, cwd=tmp_path).stdout.count("intact") == 3 - (
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
    for problem in ("best_state.linears.0.weight: values differ from the checkpoint", "xp.cfg: differs",
                    "best_state.new: missing, but in the checkpoint", "best_state.steps: not in the checkpoint"):
        assert problem in lines[0]
    assert "emb.0.weight" not in lines[0] and lines[1].endswith("intact")


def test_a_release_of_an_epoch_is_compared_with_that_epoch(train, tmp_path, dora_dir):
    folder = train("11111111", [])
    torch.save(solver_state(**{"sig": "11111111", "best_state": {"model": model_state(8)},
                               "xp.cfg": with_cfg(solver="mine")}), folder / "checkpoint_2.th")
    release = export_xp("11111111", dora_dir, ExportOptions(checkpoint="2")).folder
    assert command("verify", release, "--against", "11111111", cwd=tmp_path).stdout.count("intact") == 2
    assert "values differ" in command("verify", release, "--against", folder / "checkpoint.th", cwd=tmp_path,
                                          code=1).stdout


def test_an_empty_comparison_is_not_a_success(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    assert "give a signature" in command("verify", folder, "--against", "", cwd=tmp_path, code=1).stderr


def test_all_files_of_a_release_can_be_named_and_compared(train, tmp_path, dora_dir):
    train("11111111", [])
    files = sorted(export_xp("11111111", dora_dir).folder.iterdir())
    assert command("verify", *files, "--against", "11111111", cwd=tmp_path).stdout.count(": intact") == 3


def test_a_comparison_finds_the_compression_model_where_the_export_found_it(make_xp, tmp_path, dora_dir):
    make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    folder = make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    (tmp_path / "copy").mkdir()
    copy = shutil.move(folder, tmp_path / "copy" / SIG)
    argv = ["--dora-dir", dora_dir]
    command("run", copy, *argv, cwd=tmp_path)
    assert command("verify", f"{copy}/export", "--against", copy, *argv, cwd=tmp_path).stdout.count(": intact") == 3


def test_bands_are_not_compared_with_one_experiment(train, tmp_path, dora_dir):
    train("11111111", [])
    report = export_xp("11111111", dora_dir)
    for bands in ([{}], [{"sig": 3}], [{"sig": "22222222"}]):
        (report.folder / "export.json").write_text(replace(report.manifest, bands=bands).text)
        command("verify", report.folder, "--against", "11111111", cwd=tmp_path, code=1)


def test_a_file_of_audiocraft_s_own_export_is_compared_as_well(make_xp, tmp_path, dora_dir):
    folder = make_xp(**{"xp.cfg": with_cfg(solver="musicgen")})
    path = tmp_path / "state_dict.bin"
    ours = load(export_checkpoint(folder / "checkpoint.th", tmp_path / "ours", ExportOptions(
        codec="none", version="1.3.0")).files[0])
    torch.save({**ours, "best_state": dict(ours["best_state"])}, path)
    assert verify(path).ok
    assert command("verify", path, "--against", SIG, cwd=tmp_path).stdout == f"{path}: intact\n"


def test_load_wants_audiocraft_and_a_whole_folder(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    wrong = command("verify", folder / "state_dict.bin", "--load", cwd=tmp_path, code=1)
    assert "hint: give its folder" in wrong.stderr
    assert "AudioCraft" in command("verify", folder, "--load", cwd=tmp_path, code=1).stderr


def test_several_problems_of_a_file_are_one_line():
    problems = [(f"key{number}", "is odd") for number in range(MAX_PROBLEMS + 2)]
    assert _line("a", problems, 0).endswith("key3: is odd; and 2 more")


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_values_that_are_nan_or_infinite_are_counted_though_the_release_is_sound(train, tmp_path, dora_dir, format):
    train("11111111", [], best_state={"model": {"w": torch.full((4, 3), float("nan")), "v": torch.ones(2)}})
    path, *_ = export_xp("11111111", dora_dir, ExportOptions(format=format, card=False, codec="none")).files
    for target in (path.parent, path):
        said = command("verify", target, cwd=tmp_path).stdout.splitlines()
        assert said[0] == f"{path}: intact; 12 NaN/inf values"
        line = json.loads(command("verify", target, "--json", cwd=tmp_path).stdout.splitlines()[0])
        assert line == {"schema": 1, "target": str(target), "file": str(path), "ok": True, "nonfinite": 12,
                        "content_digest": None, "signature": None, "problems": []}
    assert "is intact; 12 values are NaN or infinite" in str(verify(path.parent))


def test_a_configuration_without_a_checkpoint_to_compare_with_is_refused(train, tmp_path, dora_dir):
    train("11111111", [])
    folder = export_xp("11111111", dora_dir).folder
    result = command("verify", folder, "--config", "config.yaml", cwd=tmp_path, code=2)
    assert "--config requires --against" in result.stderr and "--against SIG|PATH" in result.stderr
