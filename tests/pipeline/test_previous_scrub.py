"""An export does not release again what an earlier one removed, unless forced."""

import json
import os
import shutil

import pytest
from helpers import DIFFUSION, PROCESSOR, SIG, command, dora, only_xp, with_cfg
from hooks.solvers import Inherited, xp_of
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, convert, export_xp
from audiocraft_export.pipeline.previous_scrub import keep_scrub, with_previous_scrub


@pytest.mark.parametrize(("previous", "scrub", "is_refused"), [
    (["public"], None, True), (["public"], ["optim"], True), (["optim", "user"], ["optim"], True),
    (["wandb"], ["public"], False), (["optim"], ["user", "optim"], False), (None, None, False)], ids=str)
def test_an_export_with_fewer_patterns_is_refused(make_xp, dora_dir, previous, scrub, is_refused):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir, ExportOptions(scrub=previous))
    before = (folder / "export.json").read_bytes()
    if is_refused:
        with pytest.raises(ExportError, match="would release what was removed there. Add --scrub ") as error:
            export_xp(SIG, dora_dir, ExportOptions(scrub=scrub))
        assert error.value.code == "scrub-dropped" and (folder / "export.json").read_bytes() == before
        assert {*previous} <= {*with_previous_scrub(folder, ExportOptions(scrub=scrub)).patterns}
    else:
        export_xp(SIG, dora_dir, ExportOptions(scrub=scrub))
    forced = export_xp(SIG, dora_dir, ExportOptions(scrub=scrub, force=True))
    assert [*forced.manifest.options.get("scrub", [])] == (scrub or [])


def test_a_pattern_that_removed_nothing_is_neither_needed_nor_kept(make_xp, dora_dir, caplog):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir, scrub=["optm", "optim"])
    assert with_previous_scrub(folder, ExportOptions()).patterns == ("optim",)
    assert export_xp(SIG, dora_dir, scrub=["optim"]).manifest.options["scrub"] == ("optim",)
    export_xp(SIG, dora_dir, scrub=["optm"], force=True)
    assert keep_scrub(folder, ExportOptions()) == ExportOptions() and "scrub-kept" not in caplog.text
    assert "scrub" not in export_xp(SIG, dora_dir).manifest.options


def test_a_dry_run_refuses_it_too(make_xp, dora_dir, tmp_path):
    make_xp()
    export_xp(SIG, dora_dir, ExportOptions(scrub=["optim"]))
    for flags in ([], ["--dry-run"]):
        result = command("run", SIG, *flags, cwd=tmp_path)
        assert result.returncode == 1 and "error[scrub-dropped]: " in result.stderr
        assert "  hint: add --scrub optim (exporter.scrub), or replace the release with force=true (--force)" in \
            result.stderr
    assert command("run", SIG, "--scrub", "optim", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("text", [
    "{", "[]", '{"options": 3}', '{"options": {"scrub": 3}}', '{"options": {"scrub": [1]}}'])
def test_a_damaged_manifest_without_patterns_is_no_obstacle(tmp_path, text, caplog):
    (tmp_path / "export.json").write_text(text)
    assert keep_scrub(tmp_path, ExportOptions()) == ExportOptions() and not caplog.text


@pytest.mark.parametrize("damage", [
    lambda path: os.truncate(path, 900), lambda path: os.truncate(path, 0), os.unlink], ids=["cut", "empty", "missing"])
@pytest.mark.parametrize("release_format", ["audiocraft", "safetensors"])
def test_what_was_removed_does_not_return_if_the_manifest_is_damaged(make_xp, dora_dir, damage, release_format):
    folder = make_xp(**{"xp.cfg": with_cfg(note="SECRET", deep={"note": "SECRET", "kept": 1})}) / "export"
    options = ExportOptions(format=release_format, scrub=["note", "deep.note"])
    export_xp(SIG, dora_dir, options)
    damage(folder / "export.json")
    with pytest.raises(ExportError) as error:
        export_xp(SIG, dora_dir, options.replace(scrub=None))
    if release_format == "safetensors":  # config.yaml differs, and no manifest lists it
        assert error.value.code == "file-exists"
    else:
        assert error.value.code == "scrub-dropped" and "add --scrub note --scrub deep.note" in str(error.value).lower()
        assert "replaced a damaged release" in str(export_xp(SIG, dora_dir, options))
    assert not any(b"SECRET" in path.read_bytes() for path in folder.iterdir())


@pytest.mark.parametrize(("cfg", "scrub", "flags"), [
    ({"data": [{"note": "SECRET", "kept": 1}]}, "data.*.note", "--scrub data.0.note"),
    ({"note": "SECRET"}, "**", "--scrub note"), ({"a.b": "SECRET"}, "a*b", "--scrub 'a*b'")],
    ids=["in a list", "everything", "a key with a dot"])
def test_the_hint_names_what_a_damaged_release_lacks(make_xp, dora_dir, cfg, scrub, flags):
    folder = make_xp(**{"xp.cfg": with_cfg(**cfg)}) / "export"
    export_xp(SIG, dora_dir, scrub=[scrub])
    os.truncate(folder / "export.json", 900)
    with pytest.raises(ExportError, match="manifest is damaged or missing") as error:
        export_xp(SIG, dora_dir)
    assert flags in error.value.hint
    export_xp(SIG, dora_dir, scrub=[scrub])
    assert b"SECRET" not in (folder / "state_dict.bin").read_bytes()


@pytest.mark.parametrize("release_format", ["audiocraft", "safetensors"])
def test_what_was_removed_from_the_compression_model_does_not_return_either(make_xp, dora_dir, release_format):
    make_xp("aaaaaaaa", **{"xp.cfg": OmegaConf.create(
        {"solver": "compression", "compression_model": "encodec", "note": "SECRET"})})
    cfg = {"solver": "musicgen", "compression_model_checkpoint": "//sig/aaaaaaaa"}
    folder = make_xp(**{"xp.cfg": OmegaConf.create(cfg)}) / "export"
    export_xp(SIG, dora_dir, format=release_format, card=False, scrub=["note"])
    os.truncate(folder / "export.json", 900)
    says = {"audiocraft": "lacks note", "safetensors": "compression_config.yaml exists"}[release_format]
    with pytest.raises(ExportError, match=says):
        export_xp(SIG, dora_dir, format=release_format, card=False)


def test_the_files_of_a_damaged_release_do_not_stay_beside_a_scrubbed_one(make_xp, dora_dir):
    folder = make_xp(**{"xp.cfg": with_cfg(note="SECRET")}) / "export"
    export_xp(SIG, dora_dir, format="safetensors", card=False)
    manifest = folder / "export.json"
    manifest.write_text(manifest.read_text().replace('"epoch": 2', '"epoch": 3'))
    (folder / "notes.txt").write_text("mine")
    export_xp(SIG, dora_dir, scrub=["note"], card=False)
    assert {path.name for path in folder.iterdir()} == {"state_dict.bin", "export.json", "notes.txt"}


def test_the_compression_model_of_the_user_is_not_a_release_without_a_manifest(make_xp, dora_dir):
    cfg = OmegaConf.create({"solver": "compression", "compression_model": "encodec"})
    codec = make_xp("aaaaaaaa", **{"xp.cfg": cfg})
    export_xp("aaaaaaaa", dora_dir)
    folder = make_xp() / "export"
    folder.mkdir()
    shutil.copy(codec / "export" / "compression_state_dict.bin", folder)
    assert export_xp(SIG, dora_dir).written


def test_a_release_of_another_experiment_without_a_manifest_is_called_that(make_xp, dora_dir, tmp_path):
    make_xp("aaaaaaaa", **{"xp.cfg": with_cfg(lr=1)})
    make_xp(**{"xp.cfg": with_cfg(note=1)})
    os.unlink(export_xp("aaaaaaaa", dora_dir, folder=tmp_path / "out").folder / "export.json")
    with pytest.raises(ExportError) as error:
        export_xp(SIG, dora_dir, folder=tmp_path / "out")
    assert error.value.code == "other-experiment"


@pytest.mark.parametrize("to", ["audiocraft", "safetensors"])
@pytest.mark.parametrize("change", [('"scrub"', '"scrua"'), ('"note"', '"nota"')], ids=["key", "pattern"])
@pytest.mark.parametrize("release_format", ["audiocraft", "safetensors"])
def test_a_changed_manifest_is_not_believed(make_xp, dora_dir, tmp_path, release_format, change, to):
    folder = make_xp(**{"xp.cfg": with_cfg(note="SECRET")}) / "export"
    export_xp(SIG, dora_dir, format=release_format, card=False, scrub=["note"])
    whole = export_xp(SIG, dora_dir, card=False, folder=tmp_path / "whole").folder
    manifest = folder / "export.json"
    manifest.write_text(manifest.read_text().replace(*change))
    for release in (lambda: export_xp(SIG, dora_dir, format=to, card=False),
                    lambda: export_xp(SIG, dora_dir, format=to, card=False, scrub=["nota"]),
                    lambda: convert(whole, to, folder)):
        with pytest.raises(ExportError, match="lacks note|scrub=not") as error:
            release()
        assert error.value.code == "scrub-dropped"


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 300), os.unlink], ids=["cut", "missing"])
def test_what_was_removed_from_a_band_does_not_return(make_xp, dora_dir, damage):
    cfg = with_cfg(**{**DIFFUSION, "note": "SECRET"})
    folder = make_xp(sample_processor=PROCESSOR, **{"xp.cfg": cfg}) / "export"
    export_xp(SIG, dora_dir, scrub=["note"])
    damage(folder / "export.json")
    with pytest.raises(ExportError, match="lacks note"):
        export_xp(SIG, dora_dir)


def test_a_release_whose_manifest_and_configuration_are_damaged_is_replaced_by_force_only(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    os.truncate(folder / "export.json", 300)
    os.truncate(folder / "state_dict.bin", 300)
    with pytest.raises(ExportError, match="it is unknown what was removed there"):
        export_xp(SIG, dora_dir)
    assert export_xp(SIG, dora_dir, force=True).written


def test_a_training_that_would_release_what_was_removed_is_not_started(project):
    root = project()
    assert dora("run", "export=true", "exporter.scrub=[lr]", cwd=root).returncode == 0
    xp = only_xp(root)
    os.truncate(xp / "export" / "export.json", 300)
    before = (xp / "checkpoint.th").read_bytes()
    result = dora("run", "export=true", cwd=root)
    assert result.returncode == 1 and "add --scrub lr (exporter.scrub)" in result.stderr
    assert (xp / "checkpoint.th").read_bytes() == before


def test_a_training_starts_if_the_patterns_of_a_changed_manifest_are_kept(project):
    root = project()
    assert dora("run", "export=true", "exporter.scrub=[lr]", cwd=root).returncode == 0
    manifest = only_xp(root) / "export" / "export.json"
    manifest.write_text(manifest.read_text().replace('"epoch": ', '"epoch": 1'))
    result = dora("run", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert json.loads(manifest.read_text())["options"]["scrub"] == ["lr"]


def test_the_export_of_a_solver_keeps_the_patterns_with_a_warning(tmp_path, caplog):
    with xp_of(tmp_path, optim={"lr": 1}).enter():
        solver = Inherited()
        solver.run()
        solver.export(scrub=["optim"])
        assert [*solver.export().manifest.options["scrub"]] == ["optim"] and "warning[scrub-kept]: " in caplog.text
        assert "scrub" not in solver.export(force=True).manifest.options
