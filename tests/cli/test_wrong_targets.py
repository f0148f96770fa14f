"""A target or a folder that a command cannot use is named for what it is, with a hint that fits."""

import os

import pytest
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp
from cli.commands import command


def said(tmp_path, *argv, code=1):
    return command(*argv, cwd=tmp_path, code=code).stderr.splitlines()


@pytest.mark.parametrize("verb", ["run", "inspect"])
@pytest.mark.parametrize("name", ["link", "link.th", "./link"])
def test_a_dangling_symlink(tmp_path, dora_dir, verb, name):
    (tmp_path / name).symlink_to("/nowhere/checkpoint.th")
    assert said(tmp_path, verb, name)[:2] == [f"error[read-failed]: {name} is a dangling symlink",
                                              "  hint: make its target available"]


@pytest.mark.parametrize("verb", ["run", "inspect"])
def test_a_pipe(tmp_path, dora_dir, verb):
    os.mkfifo(tmp_path / "pipe")
    assert said(tmp_path, verb, "pipe")[0].startswith("error[wrong-target]: pipe is not a regular file")


def test_an_xp_folder_as_the_dora_folder(make_xp, tmp_path):
    make_xp()
    for wrong in (f"outputs/xps/{SIG}", "outputs/xps"):
        assert said(tmp_path, "list", "--dora-dir", wrong)[1] == f"  hint: did you mean --dora-dir {tmp_path}/outputs?"


def test_an_experiment_without_a_release(make_xp, tmp_path):
    folder = make_xp()
    for target in (SIG, f"outputs/xps/{SIG}"):
        for argv in (["verify", target], ["convert", target, "--to", "safetensors"]):
            assert said(tmp_path, *argv)[1] == f"  hint: export it first: audiocraft-export run outputs/xps/{SIG}"
    (folder / "checkpoint.th").write_text("version https://git-lfs.github.com/spec/v1")
    assert len(said(tmp_path, "verify", SIG)) == 1  # without a command that fails


def test_a_name_that_is_neither_a_file_nor_an_experiment(tmp_path):
    assert said(tmp_path, "verify", "97d170e1")[1].endswith(", such as outputs/xps/SIG/export")


def test_a_folder_without_a_release(tmp_path):
    assert said(tmp_path, "convert", ".", "--to", "safetensors")[0] == \
        f"error[wrong-target]: {tmp_path} is not a release folder: export.json is missing"


def test_a_file_that_nothing_can_verify(tmp_path):
    (tmp_path / "any.yaml").write_text("a: 1")
    assert command("verify", "any.yaml", cwd=tmp_path, code=1).stdout == \
        "any.yaml: cannot be verified: no export.json lists it\n"


def test_inspect_offers_another_checkpoint_than_a_truncated_one(make_xp, tmp_path):
    path = make_xp() / "checkpoint.th"
    path.with_name("checkpoint_2.th").write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:1000])
    assert said(tmp_path, "inspect", SIG)[1].endswith(", or use checkpoint=2 (--checkpoint 2)")
    assert said(tmp_path, "inspect", str(path))[1] == "  hint: restore it from a backup"


def test_nothing_to_do_says_why(make_xp, tmp_path, dora_dir):
    (dora_dir / "xps").mkdir(exist_ok=True, parents=True)
    assert said(tmp_path, "run", "--all", code=0) == ["Nothing to do: no XPs in outputs"]
    assert said(tmp_path, "list", code=0) == ["No experiments in outputs/xps."]
    path = make_xp() / "checkpoint.th"
    path.rename(path.with_name("checkpoint_2.th"))
    assert said(tmp_path, "run", "--all", code=0) == ["Nothing to do in outputs. 1 XP: 1 without checkpoint"]


def test_convert_of_a_target_that_is_no_folder_is_about_the_target_and_not_about_an_output(tmp_path, dora_dir):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/nowhere")
    for target, kind in (("pipe", "file"), ("/dev/null", "file"), ("link", "dangling symlink")):
        assert said(tmp_path, "convert", target, "--to", "safetensors")[:2] == [
            f"error[wrong-target]: {target} is a {kind}, not a release folder", "  hint: give a release folder"]


@pytest.mark.parametrize("argv", [["verify", ""], ["convert", "", "--to", "safetensors"]])
def test_an_empty_target_is_not_the_current_folder(make_xp, tmp_path, argv):
    make_xp()
    export_xp(SIG, tmp_path / "outputs", ExportOptions(folder=tmp_path))
    assert said(tmp_path, *argv)[0] == "error[path-not-found]: No such file or folder: ''"


@pytest.mark.parametrize("form", ["audiocraft", "safetensors"])
def test_a_release_of_a_clone_without_git_lfs(make_xp, tmp_path, form):
    make_xp()
    options = ExportOptions(format=form, card=False, folder=tmp_path / "r")
    weights = next(path for path in export_xp(SIG, tmp_path / "outputs", options).files if path.suffix != ".yaml")
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")
    what = "is a Git LFS pointer, not the file itself"
    for verb in ("inspect r", "convert r --to audiocraft"):
        error, hint = said(tmp_path, *verb.split())
        assert error.startswith("error[not-a-checkpoint]: ") and error.endswith(what) and hint.endswith("git lfs pull")
    assert f"r/{weights.name}: {what}\n" in command("verify", "r", cwd=tmp_path, code=1).stdout
