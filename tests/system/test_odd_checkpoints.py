"""Unusual checkpoints: parts that are not needed are ignored, and weights are released correctly or refused."""

import os

import pytest
import torch
from helpers import SIG, load, model_state, same, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.cli import main as cli


@pytest.mark.parametrize("use", [1, "true", "yes", "${oc.env:NOT_SET,true}"])
@pytest.mark.parametrize("weights", ["best", "last", "ema"])
def test_whatever_switches_fsdp_on_is_seen(make_xp, dora_dir, use, weights):
    make_xp(**{"xp.cfg": with_cfg(fsdp={"use": use})})
    with pytest.raises(ExportError, match="FSDP"):
        export_xp(SIG, dora_dir, ExportOptions(weights=weights))


@pytest.mark.parametrize("cfg", [{"fsdp": {}}, {"fsdp": None}, {"fsdp": {"use": None}}, {"fsdp": {"use": 0}}])
def test_whatever_leaves_fsdp_off_is_seen(make_xp, dora_dir, cfg):
    make_xp(**{"xp.cfg": OmegaConf.create(cfg)})
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], model_state(3))


LONG = "x" * 300


@pytest.mark.parametrize("args", [[LONG], [SIG, "--checkpoint", LONG], [SIG, "--folder", LONG], [f"a/{LONG}"],
                                  [SIG, "--dora-dir", LONG], [""]])
def test_a_path_that_cannot_exist_is_one_sentence_and_the_others_are_exported(make_xp, dora_dir, capsys, args):
    folder = make_xp()
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", *args, *([] if "--dora-dir" in args else ["--dora-dir", str(dora_dir)])])
    error, hint = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and error.startswith("error[") and hint.startswith("  hint: ")
    with pytest.raises(SystemExit):
        cli.main(["run", args[0], SIG, "--dora-dir", str(dora_dir)])
    assert (folder / "export" / "export.json").exists()


def test_names_of_files_may_hold_any_byte(make_xp, dora_dir, tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"\xff line\nbreak ' \"quoted\" -- \xc3\xa9")
    folder.mkdir()
    (folder / "checkpoint.th").write_bytes((make_xp() / "checkpoint.th").read_bytes())
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(folder)])
    assert stop.value.code == 0
    assert (folder / "export" / "export.json").exists()


def test_a_moving_average_that_lacks_a_weight_is_refused(make_xp, dora_dir):
    make_xp(ema={"state": {"model": {"module.emb.0.weight": torch.ones(5, 4)}}, "count": 1})
    offer = r"Use weights=last or weights=best\."
    with pytest.raises(ExportError, match=rf"lacks 'linears.0.weight' of the model\. {offer}"):
        export_xp(SIG, dora_dir, ExportOptions(weights="ema"))


def test_a_best_state_that_contains_itself_is_refused(make_xp, dora_dir):
    loop = {}
    loop["again"] = loop
    make_xp(best_state={"model": loop})
    with pytest.raises(ExportError, match="contain themselves"):
        export_xp(SIG, dora_dir)


def test_the_codec_of_an_earlier_release_does_not_stay_behind(make_xp, dora_dir):
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/x")
    folder = make_xp(**{"xp.cfg": cfg}) / "export"
    export_xp(SIG, dora_dir)
    (folder / "mine.txt").touch()
    export_xp(SIG, dora_dir, ExportOptions(codec="none"))
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "mine.txt", "state_dict.bin"]


def test_null_is_a_value_on_the_command_line(make_xp, dora_dir):
    make_xp()
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", SIG, "--dora-dir", str(dora_dir), "--dtype", "null", "--folder", "null"])
    assert stop.value.code == 0
