"""Checks before anything is written."""

import pytest
from helpers import SIG, with_cfg
from signing.signers import write_keys

from audiocraft_export import (
    ExportError,
    ExportOptions,
    convert,
    export_checkpoint,
    export_lm,
    export_xp,
    requirements,
    verify,
)
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.pipeline.export import plan_export
from audiocraft_export.pipeline.preflight import check_before_training, check_requirements


@pytest.mark.parametrize("way", ["{}/checkpoint.th", "{}/new/../checkpoint.th", "{}/../0123abcd/checkpoint.th",
                                 "{}/link"])
def test_a_training_checkpoint_is_never_replaced_by_a_release(make_xp, tmp_path, way):
    xp, other = make_xp(), make_xp("9357e12e")
    for folder in (xp, other):
        (folder / "link").symlink_to(folder / "checkpoint.th")
        before = (folder / "checkpoint.th").read_bytes()
        with pytest.raises(ExportError, match="Refusing to overwrite the training checkpoint"):
            export_lm(xp / "checkpoint.th", way.format(folder).replace("0123abcd", folder.name))
        (folder / "checkpoint.th").rename(folder / "state_dict.bin")
        with pytest.raises(ExportError, match="has the training checkpoint state_dict.bin"):
            export_checkpoint(make_xp("11111111") / "checkpoint.th", f"{folder}/new/..")
        (folder / "state_dict.bin").rename(folder / "checkpoint.th")
        assert (folder / "checkpoint.th").read_bytes() == before


@pytest.mark.parametrize("options", [{"format": "safetensors"}, {"card": True}, {"hub": "org/model"}])
@pytest.mark.parametrize("address", ["https://joe:pa55]word@hub.lab", "http://[::1"])
def test_an_address_that_the_hub_client_cannot_read_is_refused_before_it_is_imported(monkeypatch, options, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    check_requirements(ExportOptions())
    with pytest.raises(ExportError) as error:
        check_requirements(ExportOptions(**options))
    assert error.value.code == "invalid-endpoint" and "pa55" not in str(error.value)


@pytest.mark.parametrize(("options", "missing"), [
    (ExportOptions(format="safetensors"), "safetensors"), (ExportOptions(card=True), "matplotlib"),
    (ExportOptions(hub="org/model"), "huggingface_hub"), (ExportOptions(sign="key.pem"), "cryptography")])
def test_a_package_that_is_missing_is_refused_before_anything_is_made(make_xp, dora_dir, monkeypatch, options, missing):
    folder = make_xp()
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=f"needs .*{missing}"):
        check_requirements(options)
    with pytest.raises(ExportError, match=missing):
        export_xp(folder.name, dora_dir, options)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.th"]


def test_a_loader_that_is_missing_is_refused_before_anything_is_made(make_xp, dora_dir):
    folder = make_xp()
    with pytest.raises(ExportError, match="AudioCraft has no loader for this model"):
        export_xp(folder.name, dora_dir, ExportOptions(verify="load"))
    assert [path.name for path in folder.iterdir()] == ["checkpoint.th"]


@pytest.mark.parametrize("token, problem", [(None, "no token"), ("", "no token"), ("hf_\x01", "invalid characters")])
def test_a_token_that_the_push_would_lack_is_asked_for_before_the_training(make_xp, monkeypatch, token, problem):
    xp, options = Experiment(make_xp(), SIG), ExportOptions(hub="me/mine")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_valid")
    check_before_training(xp, {}, options)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: token)
    check_before_training(xp, {}, ExportOptions())
    with pytest.raises(ExportError, match=f"Pushing to me/mine would fail: .*{problem}") as refused:
        check_before_training(xp, {}, options)
    assert (refused.value.code, refused.value.hint) == ("push-failed", "log in with `hf auth login` or set HF_TOKEN")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["folder", "not text"])
def test_a_file_with_the_token_that_cannot_be_read_is_an_error_before_the_training(make_xp, tmp_path, monkeypatch,
                                                                                  content):
    path = tmp_path / "token"
    path.mkdir() if content is None else path.write_bytes(content)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(path))
    with pytest.raises(ExportError, match="^Pushing to me/mine would fail: ") as refused:
        check_before_training(Experiment(make_xp(), SIG), {}, ExportOptions(hub="me/mine"))
    assert refused.value.code == "push-failed" and refused.value.hint


def test_files_beside_a_release_to_be_signed_are_found_before_the_training(make_xp, tmp_path):
    folder, options = make_xp(), ExportOptions(sign=write_keys(tmp_path / "keys")[0])
    folder.joinpath("export", "sub").mkdir(parents=True)
    for name in ("state_dict.bin", "README.md"):
        (folder / "export" / name).touch()
    check_before_training(Experiment(folder, SIG), {}, options)
    (folder / "export" / "sub" / "notes.txt").touch()
    check_before_training(Experiment(folder, SIG), {}, ExportOptions())
    with pytest.raises(ExportError, match="but sub/notes.txt does not belong to the release"):
        check_before_training(Experiment(folder, SIG), {}, options)


@pytest.mark.parametrize("name", ["state_dict.bin", "export.json"])
def test_a_folder_with_the_name_of_a_file_is_never_replaced(make_xp, dora_dir, name):
    folder = make_xp()
    (folder / "export" / name).mkdir(parents=True)
    with pytest.raises(ExportError, match="exists and is not a regular file"):
        plan_export(open_checkpoint(folder / "checkpoint.th"), folder, folder / "export", ExportOptions())
    with pytest.raises(ExportError, match="exists and is not a regular file"):
        export_xp(folder.name, dora_dir)
    assert [path.name for path in (folder / "export").iterdir()] == [name]


def test_an_unrelated_file_is_refused_before_anything_is_made(make_xp, dora_dir):
    folder = make_xp()
    (folder / "export").mkdir()
    (folder / "export" / "config.yaml").write_text("mine")
    options = ExportOptions(format="safetensors", card=False)
    checkpoint = open_checkpoint(folder / "checkpoint.th")
    with pytest.raises(ExportError, match="exists and does not belong to a release"):
        plan_export(checkpoint, folder, folder / "export", options)
    with pytest.raises(ExportError, match="exists and does not belong to a release"):
        export_xp(folder.name, dora_dir, options)
    assert [path.name for path in (folder / "export").iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("released, options, name", [
    ({"codec": "none"}, {}, "compression_state_dict.bin"), ({"format": "safetensors"}, {}, "state_dict.bin")])
def test_a_model_of_the_user_beside_a_release_is_not_replaced(make_xp, dora_dir, released, options, name, force):
    codec = make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    xp = make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=str(codec / "checkpoint.th"))})
    folder = export_xp(xp.name, dora_dir, ExportOptions(card=False, **released)).folder
    before = (folder / "export.json").read_bytes()
    (folder / name).write_bytes(b"mine")
    with pytest.raises(ExportError, match=f"{name} exists and does not belong to a release"):
        export_xp(xp.name, dora_dir, ExportOptions(force=force, **options))
    assert (folder / name).read_bytes() == b"mine" and (folder / "export.json").read_bytes() == before
    (folder / name).unlink()
    assert verify(export_xp(xp.name, dora_dir, ExportOptions(force=force, **options)).folder).ok


@pytest.mark.parametrize("name", ["state_dict.bin", "model.fp16.safetensors", "model-00001-of-00003.safetensors"])
def test_a_file_that_a_loader_would_read_instead_of_the_release_is_refused(make_xp, dora_dir, name):
    folder, options = make_xp(), ExportOptions(format="safetensors", card=False)
    (folder / "export").mkdir()
    (folder / "export" / name).write_text("mine")
    with pytest.raises(ExportError, match=f"{name} exists and does not belong to the release") as refusal:
        export_xp(folder.name, dora_dir, options)
    assert refusal.value.code == "file-exists" and [path.name for path in (folder / "export").iterdir()] == [name]
    (folder / "export" / name).rename(folder / name)
    assert verify(export_xp(folder.name, dora_dir, options).folder).ok
    with pytest.raises(ExportError, match=f"{name} exists and does not belong to the release"):
        (folder / name).rename(folder / "export" / name)
        export_xp(folder.name, dora_dir, options)


def test_a_conversion_refuses_a_file_that_a_loader_would_read_instead(make_xp, dora_dir):
    folder = export_xp(make_xp().name, dora_dir).folder
    (folder / "pytorch_model.bin").write_text("mine")
    with pytest.raises(ExportError, match=r"pytorch_model\.bin exists and does not belong to the release"):
        convert(folder, "safetensors")
    (folder / "pytorch_model.bin").unlink()
    assert verify(convert(folder, "safetensors").folder).ok and not (folder / "state_dict.bin").exists()


@pytest.mark.parametrize("name", ["state_dict.bin", "model-00001-of-00003.safetensors"])
def test_a_training_is_not_started_if_a_loader_would_read_another_file(make_xp, name):
    xp, options = Experiment(make_xp(), SIG), ExportOptions(format="safetensors")
    (xp.folder / "export").mkdir()
    check_before_training(xp, {}, options)
    (xp.folder / "export" / name).write_text("mine")
    with pytest.raises(ExportError, match=f"{name} exists and does not belong to the release"):
        check_before_training(xp, {}, options)


def test_a_training_whose_release_replaces_another_format_is_started(make_xp, dora_dir):
    xp = Experiment(make_xp(), SIG)
    export_xp(SIG, dora_dir)
    check_before_training(xp, {}, ExportOptions(format="safetensors"))


def test_a_file_that_is_too_small_to_be_the_model_is_refused_by_the_plan(make_xp):
    folder = make_xp()
    (folder / "export").mkdir()
    (folder / "export" / "model.safetensors").write_text("mine")
    with pytest.raises(ExportError, match=r"model\.safetensors exists and does not belong to a release"):
        plan_export(open_checkpoint(folder / "checkpoint.th"), folder, folder / "export",
                    ExportOptions(format="safetensors", card=False))
