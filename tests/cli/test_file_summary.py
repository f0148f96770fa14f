"""What `inspect` finds in checkpoints, releases and experiments of any state."""

import time
from dataclasses import replace

import pytest
import torch
from helpers import SIG, model_state, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli.file_summary import EXPERIMENT, FileSummary
from audiocraft_export.experiment.config import Config
from audiocraft_export.release.manifest import Manifest

from .commands import command, inspected, listed


def test_an_experiment_says_where_its_bytes_are_and_what_a_release_would_be(train, tmp_path, dora_dir):
    folder = train("11111111", [], [3., 1., 2.], strange=torch.nn.Linear)
    found, = inspected(tmp_path, "1111", "--tensors")
    assert (found["kind"], found["sig"], found["solver"]) == ("training checkpoint", "11111111", "musicgen")
    assert sum(found["sections"].values()) == found["bytes"] == (folder / "checkpoint.th").stat().st_size
    assert found["sections"]["best_state"] == sum(
        tensor.untyped_storage().nbytes() for tensor in model_state(3).values())
    assert found["curve"] == [3., 1., 2.] and found["best"]["epoch"] == 2
    assert found["release"]["weights"] == "best_state"
    assert {"name": "model.emb.0.weight", "dtype": "float32", "shape": [5, 4], "bytes": 80} in found["tensors"]
    assert sum("torch.nn.modules.linear.Linear" in text for text in found["odd"]) == 1
    shown = command("inspect", "11111111", cwd=tmp_path, PYTHONIOENCODING="utf-8").stdout
    for text in ("weights     best_state of epoch 2, after 3 epochs (best state, as the solver kept it)",
                 "release     none; would have state_dic",
                 "ce          best 1 in epoch 2 of 3  █▁▅", "codec       ", "best_state", "odd  "):
        assert text in shown, shown


def test_what_cannot_be_released_is_looked_into_and_says_why(train, tmp_path):
    train("11111111", [], best_state=...)
    found, = inspected(tmp_path, "11111111")
    assert found["release"] is None and "use weights=last" in found["refused"] and found["sections"]["model"] > 0
    assert "none with the default options: " in command("inspect", "11111111", cwd=tmp_path).stdout


def test_no_weight_is_read_unless_it_is_asked_for(train, tmp_path):
    state = {**model_state(3), "bad": torch.tensor([1., float("nan"), float("inf")])}
    folder = train("11111111", [], best_state={"model": state})
    data = bytearray((folder / "checkpoint.th").read_bytes())
    data[data.index(model_state(1)["emb.0.weight"].numpy().tobytes())] ^= 1
    (folder / "checkpoint.th").write_bytes(data)
    assert inspected(tmp_path, "11111111")[0]["odd"] == [
        text for text in inspected(tmp_path, "11111111", "--values")[0]["odd"] if "damaged" not in text
        and "NaN" not in text]
    odd = inspected(tmp_path, "11111111", "--values")[0]["odd"]
    assert any(text.startswith("best_state.model.bad holds 2 numbers that are NaN") for text in odd)
    assert any(text.startswith("model.emb.0.weight: ") and "damaged" in text for text in odd)


def test_tied_tensors_and_shared_storages_are_said_and_count_once(train, tmp_path):
    weight = torch.randn(100)
    train("11111111", [], best_state={"model": {"a": weight, "b": weight, "c": torch.zeros(1)}}, model=...)
    found, = inspected(tmp_path, "11111111")
    assert found["sections"]["best_state"] == 404
    assert any(text.startswith("2 tensors share 1 storages, such as best_state.model.a, ") for text in found["odd"])


@pytest.mark.parametrize("odd", ["deep", "long", "itself"])
def test_odd_data_takes_neither_time_nor_memory(train, tmp_path, odd):
    value = []
    if odd == "deep":
        for _ in range(200):
            value = [value]
    data = {"deep": value, "long": {"k" * 300_000: [0] * 20_000}, "itself": value}[odd]
    value.append(value)
    train("11111111", [], extra=data)
    began = time.process_time()
    assert inspected(tmp_path, "11111111")[0]["sections"]["model"] and time.process_time() - began < 5


def test_a_language_model_without_its_compression_model_says_both(make_xp, tmp_path):
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/deadbeef")})
    shown = command("inspect", SIG, cwd=tmp_path).stdout
    assert "weights     best_state" in shown and "state_dict.bin" in shown and "deadbeef" in shown
    assert "none with the default options: " in shown


def test_a_checkpoint_without_a_configuration_is_looked_into(make_xp, tmp_path):
    make_xp(**{"xp.cfg": ...})
    found, = inspected(tmp_path, SIG)
    assert found["sections"]["model"] and "holds no configuration" in found["refused"]


def test_a_checkpoint_of_another_experiment_or_of_fewer_epochs_is_said(train, tmp_path):
    folder = train("11111111", [], [1.], **{"xp.sig": "ffffffff"})
    found, = inspected(tmp_path, "11111111")
    assert "was written by the experiment ffffffff" in found["refused"] and found["epochs"] == 1
    (train("22222222", [], [1.]) / "history.json").write_text('[{}, {}]')
    odd = inspected(tmp_path, "22222222")[0]["odd"]
    assert any("history.json has 2 epochs, this checkpoint 1" in text for text in odd)
    assert command("run", folder, cwd=tmp_path, code=1)


def test_an_experiment_without_a_checkpoint_shows_what_dora_knows(train, tmp_path):
    folder = train("11111111", ["lr=1"], [3., 2.])
    train("22222222", [])
    (folder / "checkpoint.th").unlink()
    with (folder / ".hydra" / "config.yaml").open("a") as config:
        config.write("compression_model_checkpoint: //sig/c0dec000\n")
    found, = inspected(tmp_path, "11111111", "--diff", "22222222")
    assert (found["kind"], found["epochs"], found["curve"], found["solver"]) == ("experiment", 2, [3., 2.], "musicgen")
    assert {"key": "optim.lr", "here": "1", "there": "0.0001"} in found["differences"]
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "best 2 in epoch 2 of 2" in shown and "no checkpoint at all: train it first" in shown


def test_an_experiment_with_a_release_and_no_checkpoint_describes_the_release(train, tmp_path, dora_dir):
    folder = train("11111111", ["lr=1"], [3., 2.])
    report = export_xp("11111111", dora_dir)
    for name in ("checkpoint.th", "history.json", ".argv.json"):  # at last a copy of the release alone
        (folder / name).unlink()
        found, = inspected(tmp_path, "11111111")
        assert found["kind"] == "experiment" and found["release_status"] == "up to date" and found["refused"] is None
        assert sum(file["bytes"] for file in found["release"]["files"]) == report.bytes
        shown = command("inspect", "11111111", cwd=tmp_path).stdout
        assert "release     up to date (" in shown and "train it first" not in shown
        assert "weights     best_state of epoch 2, after 2 epochs" in shown and "made        20" in shown
    report.files[0].unlink()
    found, = inspected(tmp_path, "11111111")
    assert found["release_status"] == "damaged" and "no checkpoint, only its release" in found["refused"]
    assert "release     damaged" in command("inspect", "11111111", cwd=tmp_path).stdout


def test_a_release_is_said_also_where_the_default_options_are_refused(train, tmp_path, dora_dir):
    train("11111111", [], [1.], best_state=...)
    export_xp("11111111", dora_dir, ExportOptions(weights="last"))
    found, = inspected(tmp_path, "11111111")
    assert (found["release_status"], found["release_options"]) == ("up to date", {"weights": "last"})
    shown = command("inspect", "11111111", cwd=tmp_path).stdout
    assert "release     up to date, made with weights=last (" in shown and "release     none" not in shown
    assert "release     not again with the default options: " in shown


def test_the_codec_of_a_release_is_not_described_as_the_language_model(train, tmp_path, dora_dir):
    train("22222222", [], [7.], **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//sig/22222222")
    train("11111111", [], [2., 1.], **{"xp.cfg": cfg})
    assert "(at hand)" in command("inspect", "11111111", cwd=tmp_path).stdout
    folder = export_xp("11111111", dora_dir).folder
    model, codec = inspected(tmp_path, folder)
    assert (model["sig"], model["epochs"], model["metric"]) == ("11111111", 2, "ce")
    assert (codec["sig"], codec["epochs"], codec["best"]) == ("22222222", None, None)
    assert "ce          best 1 in epoch 2 of 2" in command("inspect", folder, cwd=tmp_path).stdout


def test_what_is_odd_about_a_release_or_a_training_is_said(train, tmp_path, dora_dir):
    train("11111111", [], [float("nan")])
    assert "gave no number" not in str(inspected(tmp_path, "11111111")[0]["odd"])  # ppl is one
    train("22222222", [], history=[{"valid": {"ce": float("nan")}}])
    assert "the validation of epoch 1 gave no number" in str(inspected(tmp_path, "22222222")[0]["odd"])
    folder = export_xp("11111111", dora_dir, ExportOptions(weights="ema")).folder
    assert "release     up to date, made with weights=ema; " in command("inspect", "11111111", cwd=tmp_path).stdout
    (folder / "export.json").write_text((folder / "export.json").read_text().replace("musicgen", "mine"))
    assert "is not what was written" in str(inspected(tmp_path, folder)[0]["odd"])


@pytest.mark.parametrize("best", [
    {"metric": ["x"], "epoch": 1, "valid": {}}, {"metric": "ce", "epoch": 1, "valid": {"ce": "x"}},
    {"metric": "ce", "epoch": 1, "valid": {}}, {"metric": None, "epoch": 1, "valid": []}])
def test_a_manifest_that_somebody_wrote_is_no_traceback(train, tmp_path, dora_dir, best):
    train("11111111", [], [1.])
    folder = export_xp("11111111", dora_dir).folder
    (folder / "export.json").write_text(replace(Manifest.load(folder), best=best).text)
    assert inspected(tmp_path, folder)[0]["best"] is None and listed(tmp_path)[0]["release"] == "damaged"


def test_a_file_is_looked_into_whatever_its_name_and_its_folder(train, tmp_path):
    folder = train("11111111", ["lr=1"], [1.])
    (folder / "checkpoint.th").rename(folder / "best.ckpt")
    assert inspected(tmp_path, folder / "best.ckpt")[0]["kind"] == "training checkpoint"


def test_configurations_differ_in_dotted_keys(tmp_path):
    one, other = Config({"a": {"b": 1, "c": {}}, "same": [1]}), Config({"a": {"b": "1"}, "same": [1], "new": None})
    assert FileSummary(EXPERIMENT, tmp_path, config=one).diff(other) == [
        ("a.b", "1", '"1"'), ("a.c", "{}", ""), ("new", "", "null")]
