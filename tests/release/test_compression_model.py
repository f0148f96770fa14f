"""Find the compression model of a language model."""

import shutil

import pytest
import torch
from helpers import SIG, command, load, model_state, same, with_cfg

from audiocraft_export import (
    ExportError,
    ExportOptions,
    export_checkpoint,
    export_pretrained_compression_model,
    export_xp,
)
from audiocraft_export.release.compression_model import Lookup, compression_model_by_name

CODEC = "c0dec000"


@pytest.fixture
def codec(make_xp):
    """Write an XP with a trained compression model."""
    return make_xp(CODEC, **{"best_state": {"model": model_state(6)},
                             "xp.cfg": with_cfg(solver="compression", compression_model="encodec")})


@pytest.fixture
def export_with(make_xp, dora_dir):
    def export(form, **options):
        changes = {} if form is ... else {"compression_model_checkpoint": form}
        make_xp(**{"xp.cfg": with_cfg(solver="musicgen", **changes)})
        return export_xp(SIG, dora_dir, ExportOptions(version="1.3.0", **options))
    return export


@pytest.mark.parametrize("is_exported", [False, True])
def test_a_pattern_that_matches_only_the_codec_is_not_called_unmatched(export_with, make_xp, dora_dir, is_exported):
    make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec", wandb={"a": 1})})
    form = f"//sig/{CODEC}"
    if is_exported:
        form = str(export_xp(CODEC, dora_dir).folder / "compression_state_dict.bin")
    report = export_with(form, scrub=["wandb", "nothing"])
    assert [text for text in report.manifest.warnings if text.startswith("scrub-unmatched")] == [
        "scrub-unmatched: scrub=nothing matches no key of the configuration"]
    assert b"wandb" not in report.files[1].read_bytes()


def test_a_public_codec_is_a_reference(export_with):
    report = export_with("//pretrained/facebook/encodec_32khz")
    assert [path.name for path in report.files] == ["state_dict.bin", "compression_state_dict.bin"]
    assert load(report.files[1]) == {"pretrained": "facebook/encodec_32khz", "exported": True, "version": "1.3.0"}
    assert report.manifest.codec == {"pretrained": "facebook/encodec_32khz"}


def test_a_file_that_names_a_public_codec_is_a_reference_too(export_with, tmp_path):
    named = export_pretrained_compression_model("facebook/encodec_32khz", tmp_path / "compression_state_dict.bin")
    report = export_with(f"//pretrained/{tmp_path}", card=True)
    assert report.files[1].read_bytes() == named.read_bytes()
    codec = report.manifest.codec
    assert codec["pretrained"] == "facebook/encodec_32khz" and codec["file"]["bytes"] == named.stat().st_size
    assert "`facebook/encodec_32khz`, which AudioCraft downloads" in (report.folder / "README.md").read_text()


@pytest.mark.parametrize("form", ["//sig/{sig}", "{folder}", "{folder}/checkpoint.th", "../{sig}",
                                  "//reference/{sig}", "//sig/c0de", "//sig/{sig}/", "//sig/{sig}/checkpoint.th",
                                  "//reference//{sig}", "//reference/{sig}/checkpoint.th"])
def test_a_trained_codec_is_exported_with_the_model(export_with, codec, form, monkeypatch):
    monkeypatch.setenv("AUDIOCRAFT_REFERENCE_DIR", str(codec.parent))
    report = export_with(form.format(sig=CODEC, folder=codec), dtype="float16")
    package = load(report.files[1])
    assert list(package) == ["best_state", "xp.cfg", "version", "exported"]
    assert same(package["best_state"], model_state(6))  # dtype applies only to the model itself
    assert "solver: compression" in package["xp.cfg"]
    assert report.manifest.codec["sig"] == CODEC


@pytest.mark.parametrize("form", [
    "//pretrained/{file}", "//pretrained/{folder}", "{file}",
    f"//pretrained/../{CODEC}/export/compression_state_dict.bin", f"//pretrained/../{CODEC}/export"])
def test_an_exported_codec_is_embedded(export_with, codec, dora_dir, form):
    exported = export_xp(CODEC, dora_dir, ExportOptions(version="0.9")).files[0]
    assert exported.name == "compression_state_dict.bin"
    report = export_with(form.format(file=exported, folder=exported.parent))
    assert report.files[1].read_bytes() == exported.read_bytes()


def test_an_epoch_of_a_codec_can_be_meant(export_with, codec, make_xp):
    make_xp(CODEC, "checkpoint_1.th", **{"best_state": {"model": model_state(1)},
                                         "xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    assert same(load(export_with(f"//sig/{CODEC}/checkpoint_1.th").files[1])["best_state"], model_state(1))


def test_a_codec_exported_before_there_was_a_flag_for_it_is_embedded(export_with, tmp_path):
    torch.save({"best_state": model_state(6), "xp.cfg": "compression_model: encodec\n"}, tmp_path / "old.bin")
    package = load(export_with(f"//pretrained/{tmp_path}/old.bin").files[1])
    assert same(package["best_state"], model_state(6)) and package["version"] == "1.3.0"


def test_the_configuration_of_a_codec_exported_before_is_released_as_plain_data(export_with, tmp_path):
    text = "compression_model: encodec\npath: !!python/object/apply:pathlib.PosixPath [/, x]\n"
    torch.save({"best_state": model_state(6), "xp.cfg": text}, tmp_path / "old.bin")
    package = load(export_with(f"//pretrained/{tmp_path}/old.bin").files[1])
    assert package["xp.cfg"] == "compression_model: encodec\npath: /x\n"


@pytest.mark.parametrize("is_exported", [True, False])
def test_a_codec_loses_the_prefixes_of_wrappers(export_with, codec, tmp_path, is_exported):
    wrapped = {f"module._orig_mod.{name}": value for name, value in model_state(6).items()}
    state = torch.load(codec / "checkpoint.th", weights_only=False)
    torch.save({**state, "best_state": {"model": wrapped, "critic": {}}}, codec / "checkpoint.th")
    torch.save({"best_state": wrapped, "xp.cfg": "compression_model: encodec\n"}, tmp_path / "old.bin")
    report = export_with(f"//pretrained/{tmp_path}/old.bin" if is_exported else f"//sig/{CODEC}")
    assert same(load(report.files[1])["best_state"], model_state(6))
    assert any("compression model: " in note and "removed the prefix _orig_mod." in note
               for note in report.manifest.warnings)
    assert is_exported or any("critic of best_state not released" in note for note in report.manifest.warnings)
    said = command("verify", report.folder, "--against", report.folder.parent, cwd=tmp_path)
    assert said.returncode == 0 and said.stderr.count("removed the prefix") == 2, said
    assert all("compression model: " in line for line in said.stderr.splitlines() if "removed the prefix" in line)


@pytest.mark.parametrize(("content", "says"), [
    ({"pretrained": "/no/such/file.bin"}, "'/no/such/file.bin', which is not the name"),
    ({"pretrained": "//pretrained/x"}, "not the name of a public model"), ({"pretrained": ""}, "not the name"),
    ({"best_state": {}, "xp.cfg": "compression_model: encodec"}, "without tensors"),
    ({"best_state": {}, "xp.cfg": "solver: musicgen"}, "not a compression model")])
def test_an_exported_file_that_cannot_be_loaded_is_not_a_codec(export_with, tmp_path, content, says):
    torch.save({**content, "exported": True, "version": "1"}, tmp_path / "ref.bin")
    with pytest.raises(ExportError, match=says):
        export_with(f"//pretrained/{tmp_path}/ref.bin")


def test_a_codec_without_a_best_state_or_a_checkpoint_says_nothing_of_options_for_the_model(export_with, make_xp):
    make_xp(CODEC, **{"best_state": {}, "xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    with pytest.raises(ExportError, match="no best state that can be released") as error:
        export_with(f"//sig/{CODEC}")
    (make_xp(CODEC) / "checkpoint.th").rename(make_xp(CODEC, "checkpoint_7.th") / "checkpoint_8.th")
    with pytest.raises(ExportError, match="has no checkpoint.th") as other:
        export_with(f"//sig/{CODEC}")
    assert "weights=last" not in str(error.value) and "with checkpoint=" not in str(other.value)


def test_the_codec_of_a_copied_experiment_is_looked_up_in_the_dora_folder_that_was_named(codec, make_xp, dora_dir,
                                                                                        tmp_path):
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")
    copy = tmp_path / "backup" / "mine"
    shutil.copytree(make_xp(**{"xp.cfg": cfg}), copy)
    for args, env in [(["--dora-dir", dora_dir], {}), ([], {"AUDIOCRAFT_DORA_DIR": str(dora_dir)}), ([], {})]:
        result = command("run", copy, *args, cwd=tmp_path, **env)
        assert result.returncode == 0, result.stderr
        assert same(load(copy / "export" / "compression_state_dict.bin")["best_state"], model_state(6))
    result = command("run", copy, "--codec", "none", cwd=tmp_path, DORA_PACKAGE="no_such_package")
    assert result.returncode == 0, result.stderr
    result = command("run", copy / "checkpoint.th", "--folder", "out", "--dora-dir", tmp_path / "no", cwd=tmp_path)
    assert result.returncode == 1 and "no is not a Dora folder" in result.stderr and not (tmp_path / "out").exists()


def test_python_finds_the_codec_of_a_copied_experiment_as_the_command_does(codec, make_xp, dora_dir, tmp_path,
                                                                           monkeypatch):
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")
    copy = shutil.copytree(make_xp(**{"xp.cfg": cfg}), tmp_path / "backup" / "mine")
    monkeypatch.setenv("AUDIOCRAFT_DORA_DIR", str(dora_dir))
    monkeypatch.delenv("DORA_PACKAGE", raising=False)
    monkeypatch.chdir(tmp_path / "backup")
    report = export_checkpoint(copy / "checkpoint.th")
    assert [path.name for path in report.files] == ["state_dict.bin", "compression_state_dict.bin"]
    shutil.copy(copy / "checkpoint.th", copy / "checkpoint_2.th")
    damaged = (copy / "checkpoint.th").read_bytes().replace(b"history", b"histori")
    (copy / "checkpoint.th").write_bytes(damaged[:-100])
    result = command("run", copy, cwd=tmp_path / "backup", AUDIOCRAFT_DORA_DIR=str(dora_dir))
    assert result.returncode == 1 and "use checkpoint=2 (--checkpoint 2)" in result.stderr


def test_a_reference_within_the_configuration_does_not_hide_why_a_codec_is_not_found(make_xp, dora_dir):
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", which="12345678", compression_model_checkpoint="//sig/${which}")})
    with pytest.raises(ExportError, match="No XP '12345678'"):
        export_xp(SIG, dora_dir)


def test_a_retrained_codec_makes_the_release_stale(export_with, codec, make_xp, dora_dir):
    export_with(f"//sig/{CODEC}")
    assert not export_xp(SIG, dora_dir, ExportOptions(version="1.3.0")).written
    make_xp(CODEC, **{"best_state": {"model": model_state(7)},
                      "xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    report = export_xp(SIG, dora_dir, ExportOptions(version="1.3.0"))
    assert report.written and same(load(report.files[1])["best_state"], model_state(7))


@pytest.mark.parametrize(("form", "says"), [
    (..., "missing in its configuration"), (None, "missing"), ("???", "missing"), ("//sig/12345678", "No XP"),
    ("/none/checkpoint.th", "No such file"), ("//pretrained//none/file.bin", "No such file"),
    ("//pretrained/release/compression_state_dict.bin", "No such file"),
    ("//pretrained/my/release/codec", "No such file"),
    ("//reference/x", "AUDIOCRAFT_REFERENCE_DIR"), ("//sig/../../etc", "No XP"),
    ("//unknown/x", "Cannot read //unknown/x: No such file"),
    ("${oc.env:NOT_SET_ANYWHERE}", "cannot be resolved")])
def test_a_codec_that_cannot_be_found_names_its_form_and_the_way_on(export_with, dora_dir, form, says, monkeypatch):
    monkeypatch.delenv("AUDIOCRAFT_REFERENCE_DIR", raising=False)
    with pytest.raises(ExportError, match=says) as error:
        export_with(form, family="musicgen")
    assert "codec=none" in str(error.value) or "interpolation" in str(error.value) or "resolved" in str(error.value)
    if isinstance(form, str) and form.startswith("/"):
        assert form in str(error.value)
    assert not (dora_dir / "xps" / SIG / "export").exists()
    assert [path.name for path in export_with(form, codec="none").files] == ["state_dict.bin"]


def test_a_language_model_is_not_a_codec(export_with, make_xp, dora_dir):
    make_xp("11111111", **{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/x")})
    with pytest.raises(ExportError, match="a language model .solver=musicgen., not a compression model"):
        export_with("//sig/11111111")
    exported = export_xp("11111111", dora_dir, ExportOptions(version="1")).files[0]
    with pytest.raises(ExportError, match="not a compression model") as error:
        export_with(str(exported))
    assert error.value.code == "not-a-codec"


def test_a_secret_in_the_codec_s_path_is_not_shown(export_with, tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", str(tmp_path / "hunter2"))
    with pytest.raises(ExportError) as error:
        export_with("${oc.env:WHERE}")
    assert "${oc.env:WHERE}" in str(error.value) and "hunter2" not in str(error.value)


def test_a_name_that_could_be_on_a_hub_is_a_reference_and_a_path_has_to_be_there(tmp_path):
    lookup = Lookup(tmp_path, tmp_path, "1")
    found = compression_model_by_name("facebook/encodec_32khz", lookup)
    assert found.origin == {"pretrained": "facebook/encodec_32khz"} and found.file is found.checkpoint is None
    for name, says in [("my/own/codec", "No such file"), ("codec.th", "No such file"), ("a\nb", "neither a model name"),
                       ("a" * 201, "neither a model name")]:
        with pytest.raises(ExportError, match=says):
            compression_model_by_name(name, lookup)
