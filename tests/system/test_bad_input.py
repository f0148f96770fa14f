"""Invalid input is refused in one sentence, and nothing is written."""

import json
import shutil
import zipfile

import pytest
import torch
from helpers import SIG, command, model_state, solver_state, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp, find_xp, list_xps
from audiocraft_export.cli import main as cli


def one_sentence(capsys, *args, code=1):
    """Run the command in this process, and return its stderr."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", *args])
    out, err = capsys.readouterr()
    assert stop.value.code == code, err
    assert out == ""
    error, *hint = err.splitlines()
    assert error.startswith("error[") and len(hint) <= 1 and all(line.startswith("  hint: ") for line in hint), err
    return err


def test_an_unknown_signature_names_the_folder_and_similar_signatures(make_xp, dora_dir, capsys):
    make_xp("9357e12e")
    err = one_sentence(capsys, "9357e12f", "--dora-dir", str(dora_dir))
    assert str(dora_dir / "xps") in err and "did you mean 9357e12e?" in err
    assert "9357e12e" in one_sentence(capsys, "zzz", "--dora-dir", str(dora_dir))


def test_an_ambiguous_prefix_lists_the_candidates(make_xp, dora_dir, capsys):
    make_xp("9357e12e"), make_xp("9357aaaa"), make_xp("11111111")
    err = one_sentence(capsys, "9357", "--dora-dir", str(dora_dir))
    assert "9357aaaa, 9357e12e" in err and "11111111" not in err


def test_a_unique_prefix_works_and_a_full_signature_is_never_ambiguous(make_xp, dora_dir):
    make_xp("9357e12e"), make_xp("9357")
    assert find_xp("9357e", dora_dir).sig == "9357e12e"
    assert find_xp("9357", dora_dir).sig == "9357"
    assert [xp.sig for xp in list_xps(dora_dir)] == ["9357", "9357e12e"]


@pytest.mark.parametrize("sig", ["", ".", "..", "../xps/" + SIG, "/", "a/b", "\0", "../../etc"])
def test_a_signature_never_leads_out_of_the_dora_folder(make_xp, dora_dir, sig):
    make_xp()
    with pytest.raises(ExportError):
        export_xp(sig, dora_dir)


def test_no_dora_folder_is_an_error(tmp_path, capsys):
    err = one_sentence(capsys, SIG, "--dora-dir", str(tmp_path / "none"))
    assert str(tmp_path / "none") in err and "--dora-dir" in err


def test_a_missing_checkpoint_lists_those_that_exist(make_xp, dora_dir, capsys):
    folder = make_xp(name="checkpoint_10.th")
    make_xp(name="checkpoint_best.th")
    (folder / "checkpoint.th.1").touch(), (folder / "checkpoint.th.tmp").touch()
    err = one_sentence(capsys, SIG, "--dora-dir", str(dora_dir))
    assert "No checkpoint.th" in err and "one of 10, best" in err
    assert "No checkpoint_3.th" in one_sentence(capsys, SIG, "--dora-dir", str(dora_dir), "--checkpoint", "3")
    assert not (folder / "export").exists()


def test_an_xp_without_any_checkpoint_is_reported(dora_dir, capsys):
    (dora_dir / "xps" / SIG).mkdir(parents=True)
    assert "the folder has no checkpoint" in one_sentence(capsys, SIG, "--dora-dir", str(dora_dir))


def test_a_release_is_not_a_checkpoint(make_xp, dora_dir, tmp_path):
    make_xp()
    released = export_xp(SIG, dora_dir).files[0]
    with pytest.raises(ExportError, match="is a release, not a training checkpoint"):
        export_checkpoint(released, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_checkpoint_of_another_xp_is_refused(make_xp, dora_dir):
    other = make_xp("9357e12e")
    folder = make_xp()
    shutil.copy(folder / "checkpoint.th", other)
    with pytest.raises(ExportError, match=f"written by experiment {SIG}, but is in the folder of 9357e12e"):
        export_xp("9357e12e", dora_dir)
    assert not (other / "export").exists()


def make_file(path, kind):
    state = solver_state()
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("hello\n" * 100)
    elif kind == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    elif kind == "torchscript":
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme", "hello")
    elif kind == "tensor":
        torch.save(torch.ones(3), path)
    elif kind == "no config":
        del state["xp.cfg"]
        torch.save(state, path)
    elif kind == "folder":
        path.mkdir()


@pytest.mark.parametrize(("kind", "says"), [
    ("empty", "empty"), ("text", "is a text file"),
    ("legacy", "in the format of torch < 1.6"), ("torchscript", "TorchScript"),
    ("zip", "is a zip archive without data.pkl"), ("tensor", "expected a dict, found a tensor"),
    ("no config", "no configuration"), ("absent", "No such file"),
    ("folder", "is a directory: expected a torch.save file")])
def test_a_file_that_is_not_a_training_checkpoint_is_refused(tmp_path, kind, says):
    path = tmp_path / "checkpoint.th"
    make_file(path, kind)
    with pytest.raises(ExportError, match=says) as error:
        export_checkpoint(path, tmp_path / "out")
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_truncated_file_is_refused_wherever_it_was_cut(make_xp, tmp_path):
    data = (make_xp() / "checkpoint.th").read_bytes()
    path = tmp_path / "cut.th"
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        with pytest.raises(ExportError):
            export_checkpoint(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("args", [
    ["--dtype", "int8"], ["--weights", ""], ["--family", "x"], ["--codec", "mp3"], ["--verify", "x"],
    ["--checkpoint", "../../x"], ["--folder", ""], ["--bogus", "1"], ["--jobs", "0"]])
def test_a_wrong_option_is_wrong_usage(make_xp, dora_dir, capsys, args):
    folder = make_xp()
    err = one_sentence(capsys, SIG, "--dora-dir", str(dora_dir), *args, code=2)
    assert args[0].strip("-") in err
    assert not (folder / "export").exists()


def test_an_unknown_option_leads_to_the_help(capsys):
    assert "hint: see audiocraft-export run --help" in one_sentence(capsys, SIG, "--nope", code=2)


def test_a_checkpoint_that_can_be_chosen_is_listed_as_one_chooses_it(make_xp, dora_dir, capsys):
    folder = make_xp()
    said = one_sentence(capsys, SIG, "--dora-dir", str(dora_dir), "--checkpoint", "7")
    assert "omit the option checkpoint to use checkpoint.th" in said
    make_xp(name="checkpoint_10.th")
    (folder / "checkpoint_dir.th").mkdir()
    said = one_sentence(capsys, SIG, "--dora-dir", str(dora_dir), "--checkpoint", "7")
    assert "use checkpoint=10 (--checkpoint 10), or omit the option checkpoint to use checkpoint.th" in said


def test_a_wrong_value_lists_the_valid_ones(capsys):
    assert "expected float32, float16 or bfloat16" in one_sentence(capsys, SIG, "--dtype", "int8", code=2)


@pytest.mark.parametrize("target", ["file", "file/below", "/proc/none"])
def test_a_target_that_cannot_be_written_is_one_sentence(make_xp, dora_dir, tmp_path, target, capsys):
    make_xp()
    (tmp_path / "file").write_text("mine")
    folder = tmp_path / target
    assert str(folder) in one_sentence(capsys, SIG, "--dora-dir", str(dora_dir), "--folder", str(folder))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("where", ["best_state", "xp.cfg", "xp.sig"])
def test_an_unknown_global_in_released_weights_is_refused_by_name(make_xp, dora_dir, where):
    stranger = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 1), 1)
    value = {"best_state": {"model": {"w": stranger}}, "xp.sig": stranger,
             "xp.cfg": {"a": [{"b": stranger}]}}[where]
    folder = make_xp(**{where: value})
    with pytest.raises(ExportError, match="torch.optim.lr_scheduler.StepLR"):
        export_xp(SIG, dora_dir)
    assert not (folder / "export").exists()


def test_an_unknown_global_elsewhere_is_a_warning_in_the_log_and_the_manifest(make_xp, dora_dir, caplog):
    stranger = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 1), 1)
    make_xp(lr_scheduler=stranger, history=[{"valid": {"ce": stranger}}])
    report = export_xp(SIG, dora_dir)
    assert "torch.optim.lr_scheduler.StepLR" in report.manifest.warnings[0]
    assert "torch.optim.lr_scheduler.StepLR" in caplog.text


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("where", ["history", "optimizer", "unknown", "best_state", "xp.cfg", "xp.sig", "model"])
def test_nothing_in_a_checkpoint_is_ever_run(make_xp, dora_dir, tmp_path, where):
    make_xp(**{where: Evil(tmp_path / "marker")})
    try:
        assert "io.open" in str(export_xp(SIG, dora_dir).manifest.warnings)
    except ExportError as exc:
        assert where in ("best_state", "xp.cfg", "xp.sig") and "\n" not in str(exc)
    assert not (tmp_path / "marker").exists()


def test_hydra_s_config_replaces_a_missing_configuration(make_xp, dora_dir):
    folder = make_xp(**{"xp.cfg": ...})
    (folder / ".hydra").mkdir()
    cfg = with_cfg(export=True)
    (folder / ".hydra" / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    report = export_xp(SIG, dora_dir)
    assert report.manifest.config == ".hydra/config.yaml"
    assert ".hydra/config.yaml" in report.manifest.warnings[0]
    assert torch.load(report.files[0])["xp.cfg"] == OmegaConf.to_yaml(with_cfg())


def test_a_checkpoint_without_a_signature_is_exported_and_reported(make_xp, dora_dir):
    make_xp(**{"xp.sig": ...})
    report = export_xp(SIG, dora_dir)
    assert report.manifest.sig is None and "xp.sig" in report.manifest.warnings[0]


def test_damage_is_found_in_released_data_and_ignored_elsewhere(make_xp, dora_dir):
    folder = make_xp()
    path = folder / "checkpoint.th"
    data = path.read_bytes()
    released = model_state(3)["emb.0.weight"].numpy().tobytes()
    other = model_state(1)["emb.0.weight"].numpy().tobytes()
    path.write_bytes(data.replace(other, b"\1" + other[1:]))
    good = export_xp(SIG, dora_dir)
    path.write_bytes(data.replace(released, b"\1" + released[1:]))
    for options in (ExportOptions(version="2"), ExportOptions(dtype="float16")):
        with pytest.raises(ExportError, match="is corrupted"):
            export_xp(SIG, dora_dir, options)
    assert torch.load(good.files[0])["best_state"]["steps"] == 10
    assert sorted(name.name for name in (folder / "export").iterdir()) == ["export.json", "state_dict.bin"]


def test_damage_in_the_configuration_is_found(make_xp, dora_dir):
    path = make_xp() / "checkpoint.th"
    path.write_bytes(path.read_bytes().replace(b"mine", b"nine", 1))
    with pytest.raises(ExportError, match="data.pkl is corrupted"):
        export_xp(SIG, dora_dir)


def test_errors_have_a_traceback_only_with_debug(tmp_path):
    (tmp_path / "outputs" / "xps").mkdir(parents=True)
    quiet = command("run", SIG, cwd=tmp_path)
    assert quiet.returncode == 1 and "Traceback" not in quiet.stderr
    loud = command("run", SIG, "--debug", cwd=tmp_path)
    assert loud.returncode == 1 and "Traceback" in loud.stderr


def test_json_has_one_object_a_line_on_stdout_and_nothing_else(make_xp, dora_dir, tmp_path):
    make_xp(), make_xp("9357e12e")
    result = command("run", SIG, "nope", "93", "--dora-dir", "outputs", "--json", cwd=tmp_path)
    assert result.returncode == 1
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert first["target"] == first["sig"] == SIG and first["result"] == "exported"
    assert second["target"] == "nope" and "No XP" in second["error"]["message"]
    assert third["sig"] == "9357e12e" and third["manifest"]["files"][0]["name"] == "state_dict.bin"
    assert result.stderr.splitlines()[-1] == "3 XPs: 2 exported, 1 failed"
