"""Training checkpoints, and the experiments that they belong to."""

import json

import pytest
import torch
from helpers import SIG, command, load, model_state, same, solver_state, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.cli import main as cli


def test_a_file_in_another_xp_s_folder_needs_a_folder_of_its_own(make_xp, dora_dir, tmp_path, capsys):
    path = make_xp("9357e12e", **{"xp.sig": SIG}) / "checkpoint.th"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(path)])
    assert stop.value.code == 1 and f"written by experiment {SIG}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(path), "--folder", str(tmp_path / "out")])
    assert stop.value.code == 0 and (tmp_path / "out" / "state_dict.bin").exists()


def test_a_codec_of_another_experiment_is_refused_and_unknown_globals_in_one_are_warned_about(make_xp, dora_dir):
    codec = {"xp.cfg": with_cfg(solver="compression", compression_model="encodec"),
             "scheduler": torch.nn.functional.relu}
    make_xp("c0dec000", **codec, **{"xp.sig": "11111111"})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    with pytest.raises(ExportError, match="written by experiment 11111111"):
        export_xp(SIG, dora_dir)
    make_xp("c0dec000", **codec)
    assert "torch.nn.functional.relu" in str(export_xp(SIG, dora_dir).manifest.warnings)


def test_a_state_that_no_solver_of_audiocraft_stores_is_still_a_training_checkpoint(tmp_path):
    torch.save({name: value for name, value in solver_state().items() if name in ("model", "xp.cfg", "xp.sig")},
               tmp_path / "checkpoint.th")
    report = export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "out", ExportOptions(weights="last"))
    assert report.manifest.epoch is None and "the number of trained epochs is unknown" in report.manifest.warnings[0]


def test_an_opened_checkpoint_has_its_signature_its_history_and_where_its_configuration_is_from(make_xp):
    checkpoint = open_checkpoint(make_xp() / "checkpoint.th")
    assert (checkpoint.sig, checkpoint.config_source) == (SIG, "checkpoint")
    assert checkpoint.history == solver_state()["history"] and "best_state" in checkpoint.sections_text.split(", ")


def add_dora_files(folder, history=({"valid": {"ce": 3.0}}, {"valid": {"ce": 1.0}}, {"valid": {"ce": 2.0}})):
    (folder / ".argv.json").write_text("[]")
    (folder / "history.json").write_text(json.dumps(list(history)))
    (folder / ".hydra").mkdir(exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text("solver: mine\nlr: 0.5\n")


@pytest.mark.parametrize("sig", [SIG, "my-signature_1"])
def test_the_xp_folder_provides_values_that_the_checkpoint_lacks(make_xp, dora_dir, sig):
    folder = make_xp(sig, **{"xp.sig": ..., "xp.cfg": ..., "history": ...})
    add_dora_files(folder)
    manifest = export_xp(sig, dora_dir).manifest
    assert (manifest.sig, manifest.sig_source, manifest.epoch) == (sig, "XP folder", 3)
    assert manifest.config == ".hydra/config.yaml" and manifest.name == sig
    assert not any("signature" in text for text in manifest.warnings)
    assert "history-mismatch: the checkpoint has no history; used the epochs of history.json" in manifest.warnings


def test_without_the_files_of_dora_signature_and_epochs_are_unknown(make_xp, dora_dir):
    folder = make_xp(**{"xp.sig": ..., "history": ...})
    (folder / "history.json").write_text('[{"valid": {"ce": 1.0}}]')
    manifest = export_xp(SIG, dora_dir).manifest
    assert (manifest.sig, manifest.sig_source, manifest.epoch) == (None, None, None)
    assert any("missing-xp-sig: " in text for text in manifest.warnings)
    assert not any("history.json has" in text for text in manifest.warnings)


def test_a_checkpoint_has_its_own_signature_and_history_before_those_of_its_folder(make_xp, dora_dir):
    add_dora_files(make_xp())
    manifest = export_xp(SIG, dora_dir).manifest
    assert (manifest.sig, manifest.sig_source, manifest.epoch) == (SIG, "checkpoint", 2)
    folder = make_xp("custom", **{"xp.sig": SIG})
    add_dora_files(folder)
    with pytest.raises(ExportError, match=f"written by experiment {SIG}"):
        export_xp("custom", dora_dir)
    folder = make_xp("custom", **{"xp.sig": SIG, "history": ...})
    assert open_checkpoint(folder / "checkpoint.th").history == []


def test_a_checkpoint_of_an_epoch_does_not_have_the_epochs_after_it(make_xp, dora_dir):
    folder = make_xp(name="checkpoint_1.th", **{"history": ...})
    add_dora_files(folder)
    assert open_checkpoint(folder / "checkpoint_1.th").history == []


def test_a_batch_names_experiments_without_xp_sig_by_their_folders(make_xp, dora_dir, capsys):
    for sig in ("aaaa0000", "bbbb-1"):
        add_dora_files(make_xp(sig, **{"xp.sig": ..., "history": ...}))
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", "--all", "--dora-dir", str(dora_dir)])
    shown = capsys.readouterr()
    assert stop.value.code == 0 and "aaaa0000" in shown.out + shown.err and "bbbb-1" in shown.out + shown.err
    for path in dora_dir.glob("xps/*/export/export.json"):
        assert json.loads(path.read_text())["sig"] == path.parent.parent.name


def test_a_checkpoint_of_lightning_has_the_signature_and_configuration_that_dora_stores(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": model_state(2), "dora_sig": SIG, "dora_cfg": with_cfg(), "epoch": 2,
                "dora_link_history": [{"valid": {"loss": 1.0}}, {"valid": {"loss": 0.5}}]}, path)
    with pytest.raises(ExportError, match="Use weights=state_dict"):
        export_checkpoint(path, tmp_path / "out")
    report = export_checkpoint(path, tmp_path / "out", ExportOptions(weights="state_dict"))
    assert (report.manifest.sig, report.manifest.epoch, report.manifest.config) == (SIG, 2, "checkpoint")
    assert same(load(report.files[0])["best_state"], model_state(2)) and "lr: 0.0001" in load(report.files[0])["xp.cfg"]


@pytest.mark.parametrize("content", [model_state(2), {"best_state": {"model": model_state(2)}}])
def test_a_configuration_that_is_missing_can_be_named(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    config = tmp_path / "private name" / "mine.yaml"
    config.parent.mkdir()
    config.write_text("solver: mine\nlr: 0.5\nexport: true\n")
    with pytest.raises(ExportError, match="--config FILE") as info:
        export_checkpoint(tmp_path / "w.pt", tmp_path / "out")
    assert info.value.code == "missing-config"
    options = ExportOptions(config=config, version="1")
    report = export_checkpoint(tmp_path / "w.pt", tmp_path / "out", options)
    package = load(report.files[0])
    assert same(package["best_state"], model_state(2)) and package["xp.cfg"] == "solver: mine\nlr: 0.5\n"
    assert report.manifest.config == "config" and "private name" not in report.manifest.text
    assert not export_checkpoint(tmp_path / "w.pt", tmp_path / "out", options).written
    said = command("run", tmp_path / "w.pt", "--config", config, "--folder", "cli", "--version", "1", cwd=tmp_path)
    assert said.returncode == 0 and (tmp_path / "cli" / "state_dict.bin").read_bytes() == report.files[0].read_bytes()
    against = command("verify", "cli", "--against", tmp_path / "w.pt", "--config", config, cwd=tmp_path)
    assert against.returncode == 0, against


def test_a_checkpoint_with_a_configuration_takes_no_other(make_xp, dora_dir, tmp_path):
    make_xp()
    with pytest.raises(ExportError, match="has its own configuration .xp.cfg., so config cannot be used") as info:
        export_xp(SIG, dora_dir, ExportOptions(config=tmp_path / "mine.yaml"))
    assert info.value.code == "conflicting-options"


def test_an_intact_checkpoint_is_offered_if_another_one_is_truncated(make_xp, dora_dir):
    folder = make_xp()
    (folder / "checkpoint.th").write_bytes((folder / "checkpoint.th").read_bytes()[:-9])
    (folder / "checkpoint_3.th").write_bytes(b"PK\3\4")
    with pytest.raises(ExportError, match="is truncated") as info:
        export_xp(SIG, dora_dir)
    assert info.value.hint == "restore it from a backup"
    make_xp(name="checkpoint_2.th")
    with pytest.raises(ExportError, match="is truncated") as info:
        export_xp(SIG, dora_dir)
    assert info.value.code == "corrupted-file"
    assert info.value.hint == "restore it from a backup, or use checkpoint=2 (--checkpoint 2)"
    assert export_xp(SIG, dora_dir, ExportOptions(checkpoint=2)).written
    make_xp()
    with pytest.raises(ExportError) as info:
        export_xp(SIG, dora_dir, ExportOptions(checkpoint=3))
    assert info.value.hint.endswith("or omit the option checkpoint to export checkpoint.th")
