"""Summaries of checkpoints, releases and experiments in any state."""

import time
from dataclasses import replace

import pytest
import torch
from helpers import SIG, model_state, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.experiment.config import Config
from audiocraft_export.inspection.file_summary import EXPERIMENT, FileSummary, differing_keys
from audiocraft_export.release.manifest import Manifest

from .commands import command, inspected, listed


def test_an_experiment_shows_its_sections_and_a_preview_of_the_release(train, tmp_path, dora_dir):
    folder = train("11111111", [], [3., 1., 2.], strange=torch.nn.Linear)
    found, = inspected(tmp_path, "1111", "--tensors")
    assert (found["kind"], found["sig"], found["solver"]) == ("training checkpoint", "11111111", "musicgen")
    assert sum(found["sections"].values()) == found["file_bytes"] == (folder / "checkpoint.th").stat().st_size
    assert found["sections"]["best_state"] == sum(
        tensor.untyped_storage().nbytes() for tensor in model_state(3).values())
    assert found["curve"] == [3., 1., 2.] and (found["best"], found["best_epoch"], found["last"]) == (1., 2, 2.)
    assert (found["weights"], found["manifest"]) == ("best_state", None)
    assert {"name": "model.emb.0.weight", "dtype": "float32", "shape": [5, 4], "bytes": 80} in found["tensors"]
    assert sum("torch.nn.modules.linear.Linear" in text for text in found["warnings"]) == 1
    shown = command("inspect", "11111111", cwd=tmp_path, PYTHONIOENCODING="utf-8").stdout
    for text in ("weights     best_state of epoch 2, after 3 epochs (best state of the solver)",
                 "release     missing; would have state_dic",
                 "ce          best 1 in epoch 2 of 3, last 2  █▁▅", "codec       ", "best_state",
                 "warning[unknown-globals]: the checkpoint has unknown globals, neither imported nor released: torch"):
        assert text in shown, shown


def test_a_checkpoint_that_cannot_be_exported_is_summarized_with_the_reason(train, tmp_path):
    train("11111111", [], best_state=...)
    found, = inspected(tmp_path, "11111111")
    assert found["weights"] is None and "Use weights=last" in found["refused"] and found["sections"]["model"] > 0
    assert "cannot be made with the default options: " in command("inspect", "11111111", cwd=tmp_path).stdout


def test_no_weight_is_read_unless_it_is_asked_for(train, tmp_path):
    state = {**model_state(3), "bad": torch.tensor([1., float("nan"), float("inf")])}
    folder = train("11111111", [], best_state={"model": state})
    data = bytearray((folder / "checkpoint.th").read_bytes())
    data[data.index(model_state(1)["emb.0.weight"].numpy().tobytes())] ^= 1
    (folder / "checkpoint.th").write_bytes(data)
    assert inspected(tmp_path, "11111111")[0]["warnings"] == [
        text for text in inspected(tmp_path, "11111111", "--values")[0]["warnings"]
        if not text.startswith(("corrupted-tensor: ", "nonfinite-values: "))]
    odd = inspected(tmp_path, "11111111", "--values")[0]["warnings"]
    assert any(text == "nonfinite-values: best_state.model.bad: 2 NaN/inf values" for text in odd)
    assert any(text.startswith("corrupted-tensor: model.emb.0.weight: ") and "is corrupted" in text for text in odd)


def test_tied_tensors_and_shared_storages_are_reported_and_count_once(train, tmp_path):
    weight = torch.randn(100)
    train("11111111", [], best_state={"model": {"a": weight, "b": weight, "c": torch.zeros(1)}}, model=...)
    found, = inspected(tmp_path, "11111111")
    assert found["sections"]["best_state"] == 404
    said = "shared-storages: 2 tensors share 1 storage: best_state.model.a, "
    assert any(text.startswith(said) for text in found["warnings"])


@pytest.mark.parametrize("odd", ["deep", "long", "itself"])
def test_deeply_nested_data_is_summarized_quickly(train, tmp_path, odd):
    value = []
    if odd == "deep":
        for _ in range(200):
            value = [value]
    data = {"deep": value, "long": {"k" * 300_000: [0] * 20_000}, "itself": value}[odd]
    value.append(value)
    train("11111111", [], extra=data)
    began = time.process_time()
    assert inspected(tmp_path, "11111111")[0]["sections"]["model"] and time.process_time() - began < 5


def test_a_language_model_without_its_compression_model_shows_plan_and_error(make_xp, tmp_path):
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/deadbeef")})
    shown = command("inspect", SIG, cwd=tmp_path).stdout
    assert "weights     best_state" in shown and "state_dict.bin" in shown and "deadbeef" in shown
    assert "cannot be made with the default options: " in shown


def test_a_checkpoint_without_a_configuration_is_looked_into(make_xp, tmp_path):
    make_xp(**{"xp.cfg": ...})
    found, = inspected(tmp_path, SIG)
    assert found["sections"]["model"] and "has no configuration" in found["refused"]


def test_a_checkpoint_of_another_experiment_or_of_fewer_epochs_is_reported(train, tmp_path):
    folder = train("11111111", [], [1.], **{"xp.sig": "ffffffff"})
    found, = inspected(tmp_path, "11111111")
    assert "was written by experiment ffffffff" in found["refused"] and found["epochs"] == 1
    (train("22222222", [], [1.]) / "history.json").write_text('[{}, {}]')
    odd = inspected(tmp_path, "22222222")[0]["warnings"]
    assert any("history.json has 2 epochs, but the checkpoint has 1" in text for text in odd)
    assert command("run", folder, cwd=tmp_path, code=1)


def test_an_experiment_without_a_checkpoint_is_summarized_from_the_files_of_dora(train, tmp_path):
    folder = train("11111111", ["lr=1"], [3., 2.])
    train("22222222", [])
    (folder / "checkpoint.th").unlink()
    with (folder / ".hydra" / "config.yaml").open("a") as config:
        config.write("compression_model_checkpoint: //sig/c0dec000\n")
    found, = inspected(tmp_path, "11111111")
    assert (found["kind"], found["epochs"], found["curve"], found["solver"]) == ("experiment", 2, [3., 2.], "musicgen")
    found, = inspected(tmp_path, "11111111", "--diff", "22222222")
    assert {"key": "optim.lr", "values": [1, 0.0001]} in found["differences"]
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "best 2 in epoch 2 of 2" in shown and "release     cannot be made: No checkpoint.th in " in shown


def test_an_experiment_with_a_release_and_no_checkpoint_describes_the_release(train, tmp_path, dora_dir):
    folder = train("11111111", ["lr=1"], [3., 2.])
    report = export_xp("11111111", dora_dir)
    for name in ("checkpoint.th", "history.json", ".argv.json"):  # finally, only the release is left
        (folder / name).unlink()
        found, = inspected(tmp_path, "11111111")
        assert found["kind"] == "experiment" and found["state"] == "up_to_date" and found["refused"] is None
        assert found["bytes"] == report.bytes == sum(file["bytes"] for file in found["manifest"]["files"])
        shown = command("inspect", "11111111", cwd=tmp_path).stdout
        assert "release     up to date (" in shown and "no checkpoint in this folder" not in shown
        assert "weights     best_state of epoch 2, after 2 epochs" in shown and "made        20" in shown
    report.files[0].unlink()
    found, = inspected(tmp_path, "11111111")
    assert found["state"] == "damaged" and "it has only a release (export)" in found["refused"]
    assert "release     damaged" in command("inspect", "11111111", cwd=tmp_path).stdout


def test_a_release_is_reported_also_where_the_default_options_are_refused(train, tmp_path, dora_dir):
    train("11111111", [], [1.], best_state=...)
    export_xp("11111111", dora_dir, ExportOptions(weights="last"))
    found, = inspected(tmp_path, "11111111")
    assert (found["state"], found["options"]) == ("other_options", {"weights": "last"})
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "release     up to date, made with weights=last (" in shown and "release     missing" not in shown
    assert "release     cannot be made again with the default options: " in shown


def test_the_codec_of_a_release_is_not_described_as_the_language_model(train, tmp_path, dora_dir):
    train("22222222", [], [7.], **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//sig/22222222")
    train("11111111", [], [2., 1.], **{"xp.cfg": cfg})
    assert "(available)" in command("inspect", "11111111", cwd=tmp_path).stdout
    folder = export_xp("11111111", dora_dir).folder
    model, codec = inspected(tmp_path, folder)
    assert (model["sig"], model["epochs"], model["metric"]) == ("11111111", 2, "ce")
    assert (codec["sig"], codec["epochs"], codec["best"]) == ("22222222", None, None)
    assert "ce          best 1 in epoch 2 of 2" in command("inspect", folder, cwd=tmp_path).stdout


def test_warnings_about_a_release_or_a_training_are_shown(train, tmp_path, dora_dir):
    train("11111111", [], [float("nan")])
    assert "has no finite metric" not in str(inspected(tmp_path, "11111111")[0]["warnings"])  # ppl is finite
    train("22222222", [], history=[{"valid": {"ce": float("nan")}}])
    assert "the validation of epoch 1 has no finite metric" in str(inspected(tmp_path, "22222222")[0]["warnings"])
    folder = export_xp("11111111", dora_dir, ExportOptions(weights="ema")).folder
    assert "release     up to date, made with weights=ema; " in command("inspect", "11111111", cwd=tmp_path).stdout
    (folder / "export.json").write_text((folder / "export.json").read_text().replace("musicgen", "mine"))
    assert "export.json next to it is invalid" in str(inspected(tmp_path, folder)[0]["warnings"])


@pytest.mark.parametrize("best", [
    {"metric": ["x"], "epoch": 1, "valid": {}}, {"metric": "ce", "epoch": 1, "valid": {"ce": "x"}},
    {"metric": "ce", "epoch": 1, "valid": {}}, {"metric": None, "epoch": 1, "valid": []}])
def test_a_forged_manifest_gives_no_traceback(train, tmp_path, dora_dir, best):
    train("11111111", [], [1.])
    folder = export_xp("11111111", dora_dir).folder
    (folder / "export.json").write_text(replace(Manifest.load(folder), best=best).text)
    assert inspected(tmp_path, folder)[0]["best"] is None and listed(tmp_path)[0]["state"] == "damaged"


def test_a_file_is_looked_into_whatever_its_name_and_its_folder(train, tmp_path):
    folder = train("11111111", ["lr=1"], [1.])
    (folder / "checkpoint.th").rename(folder / "best.ckpt")
    assert inspected(tmp_path, folder / "best.ckpt")[0]["kind"] == "training checkpoint"


def test_configurations_differ_in_dotted_keys(tmp_path):
    one, other = Config({"a": {"b": 1, "c": {}}, "same": [1]}), Config({"a": {"b": "1"}, "same": [1], "new": None})
    keys = [FileSummary(EXPERIMENT, tmp_path, config=config).keys() for config in (one, other)]
    assert differing_keys(keys) == [("a.b", ["1", '"1"']), ("a.c", ["{}", None]), ("new", [None, "null"])]
    assert FileSummary(EXPERIMENT, tmp_path, config=Config({})).keys() == {}
