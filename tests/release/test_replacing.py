"""Replace the release of another experiment only with force, and never write a release to a training folder."""

import json
import os
import shutil

import pytest
import torch
from helpers import SIG, command, model_state, with_cfg
from hooks.solvers import Inherited, xp_of

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_lm, export_xp, verify
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.pipeline.export import plan_export
from audiocraft_export.pipeline.preflight import check_before_training
from audiocraft_export.release.manifest import Manifest

OTHER = "9357e12e"
FORCE = ExportOptions(force=True)


@pytest.fixture
def ours(make_xp):
    return make_xp() / "checkpoint.th"


@pytest.fixture
def theirs(make_xp):
    return make_xp(OTHER, **{"xp.cfg": with_cfg(optim={"lr": 2.})}) / "checkpoint.th"


@pytest.mark.parametrize("options", [{}, {"format": "safetensors", "card": False}, {"weights": "last"}], ids=str)
def test_the_release_of_another_experiment_is_refused_and_replaced_with_force(ours, theirs, tmp_path, options):
    folder = export_checkpoint(ours, tmp_path / "r").folder
    before = (folder / "export.json").read_bytes()
    for export in (export_checkpoint, lambda path, folder, options: plan_export(
            open_checkpoint(path), path.parent, folder, options)):
        with pytest.raises(ExportError, match=rf"another experiment \({SIG}\)\. Choose another folder.*--force"):
            export(theirs, folder, ExportOptions(**options))
    assert (folder / "export.json").read_bytes() == before
    report = export_checkpoint(theirs, folder, ExportOptions(**options, force=True))
    assert f"replaced the release of another experiment ({SIG}) made after epoch 2" in str(report)
    assert report.to_dict()["replaced"] and "force" not in report.manifest.options
    again = export_checkpoint(theirs, folder, ExportOptions(**options))
    assert not again.written and again.replaced is None


def test_force_makes_the_same_release_and_changes_nothing_that_is_up_to_date(ours, tmp_path):
    first, second = export_checkpoint(ours, tmp_path / "a"), export_checkpoint(ours, tmp_path / "b", FORCE)
    assert first.manifest.options == second.manifest.options and first.replaced is None
    assert not export_checkpoint(ours, first.folder, FORCE).written


def test_the_same_experiment_needs_no_force_for_other_epochs_weights_and_formats(make_xp, dora_dir, tmp_path):
    make_xp()
    options = ExportOptions(folder=tmp_path / "r", version="1", metric="ce")
    export_xp(SIG, dora_dir, options)
    dropped = ""
    for changes, made_with in [({"weights": "last"}, " with weights=last"), ({}, ""), (
            {"format": "safetensors", "dtype": "float16", "card": False}, " with dtype=float16, format=safetensors"),
            ({}, "")]:
        report = export_xp(SIG, dora_dir, options.replace(**changes))
        assert report.written and str(report).endswith(f", replaced the release made after epoch 2{dropped}")
        dropped = made_with
    make_xp(history=[{"valid": {"ce": 1 / epoch}} for epoch in (1, 2, 3)])
    assert "replaced the release made after epoch 2" in str(export_xp(SIG, dora_dir, options))


def test_a_checkpoint_without_a_signature_is_known_by_its_configuration_or_as_the_same_file(make_xp, tmp_path):
    def bare(name, lr, **sections):
        path = make_xp("a", **{"xp.sig": None, "xp.cfg": with_cfg(optim={"lr": lr}), **sections}) / "checkpoint.th"
        (tmp_path / name).mkdir()
        return path.rename(tmp_path / name / "any.th")
    first, later, other = bare("a", 1.), bare("b", 1., model=model_state(5)), bare("c", 2.)
    folder = export_checkpoint(first, tmp_path / "r").folder
    assert export_checkpoint(first, folder, ExportOptions(scrub=["user"])).written
    assert export_checkpoint(first, folder, FORCE).written and export_checkpoint(later, folder).written
    with pytest.raises(ExportError, match="without an XP signature: they may belong to another experiment"):
        export_checkpoint(other, folder)


def test_bare_state_dicts_with_the_same_configuration_file_are_different_experiments(tmp_path):
    (tmp_path / "c.yaml").write_text("solver: mine")
    options = ExportOptions(config=tmp_path / "c.yaml")
    for seed in (1, 2):
        (tmp_path / str(seed)).mkdir()
        torch.save(model_state(seed), tmp_path / str(seed) / "model.pt")
    folder = export_checkpoint(tmp_path / "1" / "model.pt", tmp_path / "r", options).folder
    assert export_checkpoint(tmp_path / "1" / "model.pt", folder, options.replace(dtype="float16")).written
    with pytest.raises(ExportError, match="another experiment"):
        export_checkpoint(tmp_path / "2" / "model.pt", folder, options)


def test_bands_are_one_experiment_only_if_all_of_them_are_the_same(make_band, bands, tmp_path):
    sigs = [make_band(index) for index in range(4)]
    assert bands(*sigs).returncode == 0 and bands(*sigs, flags=["--dtype", "float16"]).returncode == 0
    others = [*sigs[:3], make_band(3, sig="ffffffff")]
    assert f"another experiment ({', '.join(sigs)})" in bands(*others).stderr
    assert bands(*others, flags=["--force"]).returncode == 0
    assert "another experiment" in command("run", "00000000", "--folder", "mbd", cwd=tmp_path).stderr


def damage(folder, how):
    path = folder / "export.json"
    if how == "changed":
        path.write_text(path.read_text().replace('"epoch": 2', '"epoch": 3'))
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["changed", "cut", "none"])
def test_without_a_valid_manifest_the_same_experiment_may_replace_it_and_another_may_not(ours, theirs, tmp_path, how):
    folder = export_checkpoint(ours, tmp_path / "r").folder
    damage(folder, how)
    with pytest.raises(ExportError, match="another experiment"):
        export_checkpoint(theirs, folder)
    assert "replaced a damaged release" in str(export_checkpoint(ours, folder))
    damage(folder, how)
    assert export_checkpoint(theirs, folder, FORCE).written


@pytest.mark.parametrize("changes", [{"sig": 3}, {"sig": None, "checkpoint": "x"}, {"sig": None, "config_sha256": {}},
                                     {"bands": "x"}, {"bands": [1, {}]}], ids=str)
def test_a_manifest_of_invalid_types_proves_no_experiment(ours, tmp_path, changes):
    folder = export_checkpoint(ours, tmp_path / "r").folder
    values = {**json.loads((folder / "export.json").read_text()), "config_sha256": None, "checkpoint": None, **changes}
    (folder / "export.json").write_text(json.dumps(values))
    (folder / "state_dict.bin").unlink()
    if changes.get("bands") != "x":
        with pytest.raises(ExportError, match="another experiment"):
            export_checkpoint(ours, folder)
    assert export_checkpoint(ours, folder, FORCE).written


def test_a_file_of_the_drop_ins_is_a_release_of_its_experiment(ours, theirs, tmp_path):
    (tmp_path / "r").mkdir()
    export_lm(ours, tmp_path / "r" / "state_dict.bin")
    with pytest.raises(ExportError, match="another experiment"):
        export_checkpoint(theirs, tmp_path / "r")
    assert export_checkpoint(ours, tmp_path / "r").written


def test_an_unidentified_release_is_replaced_only_in_the_xp_folder(ours, dora_dir, tmp_path):
    for folder in (tmp_path / "r", ours.parent / "export"):
        folder.mkdir()
        (folder / "state_dict.bin").write_text("of whom?")
    with pytest.raises(ExportError, match="another experiment"):
        export_checkpoint(ours, tmp_path / "r")
    assert export_xp(SIG, dora_dir).written


def test_a_release_of_another_experiment_in_the_default_folder_is_refused(ours, theirs, dora_dir):
    export_checkpoint(theirs, ours.parent / "export")
    with pytest.raises(ExportError, match=f"another experiment .{OTHER}"):
        export_xp(SIG, dora_dir)


def test_one_that_comes_in_between_is_refused(ours, theirs, tmp_path, monkeypatch):
    from audiocraft_export.storage import writer
    compare = writer.compare

    def late(*args, **options):
        monkeypatch.undo()
        export_checkpoint(theirs, tmp_path / "r")
        return compare(*args, **options)
    monkeypatch.setattr(writer, "compare", late)
    with pytest.raises(ExportError, match=f"another experiment .{OTHER}"):
        export_checkpoint(ours, tmp_path / "r")
    assert Manifest.load(tmp_path / "r").sig == OTHER and not [*tmp_path.glob(".export-*")]


def test_convert_replaces_another_experiment_only_with_force(ours, theirs, tmp_path):
    first = export_checkpoint(ours, tmp_path / "a").folder
    second = export_checkpoint(theirs, tmp_path / "b").folder
    result = command("convert", first, "--to", "safetensors", "--folder", second, cwd=tmp_path)
    assert result.returncode == 1 and f"another experiment ({OTHER})" in result.stderr
    assert Manifest.load(second).sig == OTHER
    result = command("convert", first, "--to", "safetensors", "--folder", second, "--force", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["replaced"].startswith(f"the release of another experiment ({OTHER})")
    assert convert(first, "safetensors", second, force=False).written  # its own release
    with pytest.raises(ExportError, match="has the training checkpoint"):
        convert(first, "safetensors", ours.parent, force=True)


def test_the_command_prints_the_release_that_it_replaces(ours, theirs, dora_dir, tmp_path):
    assert command("run", SIG, "--folder", "r", cwd=tmp_path).returncode == 0
    for extra, code, says in (([], 1, ""), (["--dry-run"], 1, ""), (["--dry-run", "--force"], 0, ", replacing the"),
                              (["--force"], 0, ", replaced the")):
        result = command("run", OTHER, "--folder", "r", *extra, cwd=tmp_path)
        assert result.returncode == code and says in result.stdout
        assert f"another experiment ({SIG})" in result.stdout + result.stderr


@pytest.mark.parametrize("options", [{}, {"force": True}], ids=str)
@pytest.mark.parametrize(("place", "says"), [
    ("xps/{}", "has the training checkpoint"), ("xps/" + OTHER, "has the training checkpoint"),
    ("xps", "is a Dora folder"), (".", "is a Dora folder"), ("../other", "is a Dora folder"),
    ("../other/xps", "is a Dora folder"), ("../other/xps/1", "is an XP folder"), ("../copy", "has the training"),
    ("../link", "has the training checkpoint")])
def test_a_folder_of_a_training_is_never_one_of_a_release(ours, theirs, dora_dir, tmp_path, place, says, options):
    (tmp_path / "other" / "xps" / "1" / ".hydra").mkdir(parents=True)
    (tmp_path / "copy").mkdir()
    shutil.copy(theirs, tmp_path / "copy" / "epoch.pt")
    (tmp_path / "link").symlink_to(theirs.parent)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ExportError, match=f"cannot be a release folder: it {says}"):
        export_xp(SIG, dora_dir, ExportOptions(folder=dora_dir / place.format(SIG), **options))
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("sections", [
    {"optimizer_states": [], "state_dict": model_state(), "epoch": 3}, {"dora_cfg": {}, "state_dict": model_state()},
    {"optimizer": {"state": {}, "param_groups": []}, "model": model_state()},
    {"optimizer_state_dict": {}, "model_state_dict": model_state(), "loss": .5}], ids=lambda sections: min(sections))
def test_nor_is_one_with_a_checkpoint_of_a_training_without_flashy(ours, tmp_path, sections):
    torch.save(sections, tmp_path / "epoch=3.ckpt")
    with pytest.raises(ExportError, match="has the training checkpoint epoch=3.ckpt"):
        export_checkpoint(ours, tmp_path, FORCE)


def test_nor_is_that_of_an_experiment_without_a_checkpoint_or_in_a_folder_of_another_name(tmp_path):
    xp = xp_of(tmp_path / "outputs")
    with xp.enter():
        solver = Inherited(save=False)
        solver.run()
        for folder in (xp.folder, xp.folder.parent, tmp_path / "outputs"):
            with pytest.raises(ExportError, match="cannot be a release folder"):
                solver.export(folder=folder, force=True)
    xps = xp.folder.parent.rename(tmp_path / "outputs" / "experiments")
    (xps / SIG / ".argv.json").write_text("[]")
    torch.save({"xp.sig": SIG, "xp.cfg": with_cfg(), "best_state": {"model": model_state()}}, xps / SIG / "a.th")
    for folder in (xps, xps.parent):
        with pytest.raises(ExportError, match="is a Dora folder"):
            export_checkpoint(xps / SIG / "a.th", folder)
    assert sorted(os.listdir(tmp_path / "outputs")) == ["experiments"]


def test_a_folder_with_weights_alone_may_be_one_of_a_release(ours, tmp_path):
    torch.save({**model_state(), "optimizer_net.weight": torch.ones(1)}, tmp_path / "pretrained.bin")
    assert export_checkpoint(ours, tmp_path).written


def test_a_damaged_release_is_not_replaced_by_one_in_another_format_with_its_weights_beside_it(ours, tmp_path):
    folder = export_checkpoint(ours, tmp_path / "release").folder
    data = bytearray((folder / "state_dict.bin").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "state_dict.bin").write_bytes(data)
    with pytest.raises(ExportError, match="state_dict.bin exists .* a loader would read it. Move it") as error:
        export_checkpoint(ours, folder, format="safetensors", card=False)
    assert error.value.code == "file-exists" and (folder / "state_dict.bin").read_bytes() == data
    (folder / "state_dict.bin").unlink()
    assert verify(export_checkpoint(ours, folder, format="safetensors", card=False).folder).ok


@pytest.mark.parametrize("name", ["state_dict.bin", "diffusion_state_dict.bin"])
def test_weights_of_others_that_audiocraft_would_read_are_refused(make_xp, dora_dir, tmp_path, name):
    cfg = {"solver": "compression", "compression_model": "encodec"}
    xp = Experiment.from_folder(make_xp(**{"xp.cfg": with_cfg(**cfg)}))
    other = tmp_path / "r" / name
    other.parent.mkdir()
    other.write_bytes(b"mine")
    for check in (lambda: export_xp(SIG, dora_dir, folder=other.parent, force=True),
                  lambda: check_before_training(xp, cfg, ExportOptions(folder=other.parent, force=True))):
        with pytest.raises(ExportError, match=f"{other.name} exists .* a loader would read it. Move it"):
            check()
    assert os.listdir(other.parent) == [other.name] and other.read_bytes() == b"mine"
    other.unlink()
    assert verify(export_xp(SIG, dora_dir, folder=other.parent).folder).ok


def test_a_changed_file_that_a_loader_of_the_new_release_would_read_is_refused(ours, tmp_path):
    folder = export_checkpoint(ours, tmp_path / "release", format="safetensors", max_shard_size=60, card=False).folder
    shard = next(folder.glob("model-*"))
    shard.write_bytes(shard.read_bytes() + b"mine")
    before = (folder / "export.json").read_bytes()
    with pytest.raises(ExportError, match="a loader would read it"):
        export_checkpoint(ours, folder, format="safetensors", card=False)
    assert (folder / "export.json").read_bytes() == before
