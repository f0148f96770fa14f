"""Load a release: tensors are read on demand and checked, and nothing is executed."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from formats.safetensors.releases import fitting
from helpers import AUDIOSEAL, DIFFUSION, NEW_DTYPES, PROCESSOR, SIG, flip_bit, load, model_state, same, with_cfg
from omegaconf import DictConfig, OmegaConf
from verification.releases import rewrite

from audiocraft_export import ExportError, convert, export_xp, load_release, verify
from audiocraft_export.inspection.loaded_release import LazyWeights
from audiocraft_export.release.manifest import Manifest

CODEC = "c0dec000"
FORMATS = ("audiocraft", "safetensors")
OF_AUDIOSEAL = {"xp.cfg": OmegaConf.create(AUDIOSEAL), "best_state": {"model": {
    f"{part}.{name}": value for part in ("generator", "detector") for name, value in model_state(3).items()}}}


def release_of(make_xp, dora_dir, format="audiocraft", **sections):
    make_xp(**sections)
    return export_xp(SIG, dora_dir, format=format, card=False).folder


@pytest.fixture
def reads(monkeypatch):
    """The size of each read of a file since the last `clear()`."""
    sizes, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *args: [data := pread(*args), sizes.append(len(data))][0])
    return sizes


@pytest.mark.parametrize("format", FORMATS)
def test_the_weights_are_those_that_torch_loads(make_xp, dora_dir, format):
    folder = release_of(make_xp, dora_dir, format)
    release = load_release(folder)
    expected = load(export_xp(SIG, dora_dir, folder=dora_dir / "other").files[0])
    assert isinstance(release.weights["steps"], torch.Tensor) and same(release.weights, expected["best_state"])
    assert len(release.weights) == release.manifest.tensors and release.manifest == Manifest.load(folder)
    assert isinstance(release.config, DictConfig) and OmegaConf.to_yaml(release.config) == expected["xp.cfg"]
    assert release.config.optim.lr == 1e-4 and release.compression_model is None and release.folder == folder


@pytest.mark.parametrize("format", FORMATS)
def test_every_kind_of_tensor_is_the_one_of_the_training(make_xp, dora_dir, format):
    tied = torch.randn(4, 6)
    state = {"tied": tied, "again": tied, "bf16": torch.randn(3).bfloat16(), "empty": torch.empty(0, 3),
             "scalar": torch.tensor(3), "bool": torch.tensor([True, False]), "complex": torch.randn(2).cfloat(),
             "transposed": torch.randn(3, 2).t(), "nan": torch.tensor([float("nan"), -0.0])}
    known = [name for name in NEW_DTYPES if name in ("float8_e4m3fn", "float8_e5m2", "uint16")]
    state.update({name: torch.arange(4, dtype=torch.uint8).repeat(2).view(getattr(torch, name)) for name in known})
    weights = load_release(release_of(make_xp, dora_dir, format, best_state={"model": state})).weights
    assert same(weights, state)


@pytest.mark.parametrize("format", FORMATS)
def test_only_the_bytes_of_the_requested_tensor_are_read(make_xp, dora_dir, format, reads):
    state = {"small": torch.zeros(3), "large": torch.zeros(1 << 18)}
    folder = release_of(make_xp, dora_dir, format, best_state={"model": state})
    reads.clear()
    weights = load_release(folder).weights
    assert isinstance(weights, LazyWeights) and sum(reads) < 8000
    reads.clear()
    assert "large" in weights and "nothing" not in weights and [*weights] == ["small", "large"]
    assert repr(weights) == "<2 tensors, 1.05 MB>" and "1.05 MB" in weights._repr_html_() and reads == []
    assert weights["small"].equal(state["small"]) and reads[-1] == 12 and sum(reads) < 100
    with pytest.raises(KeyError):
        weights["nothing"]


def test_each_access_is_a_new_tensor(make_xp, dora_dir):
    weights = load_release(release_of(make_xp, dora_dir)).weights
    weights["steps"].zero_()
    assert weights["steps"] == 10


def test_a_corrupted_tensor_is_an_error_and_the_others_are_not(make_xp, dora_dir):
    folder = release_of(make_xp, dora_dir)
    flip_bit(folder / "state_dict.bin", model_state(3)["emb.0.weight"])
    weights = load_release(folder).weights
    assert weights["linears.0.weight"].equal(model_state(3)["linears.0.weight"])
    with pytest.raises(ExportError, match="is corrupted: its CRC-32 differs") as error:
        weights["emb.0.weight"]
    assert error.value.code == "corrupted-file"


def test_a_release_is_found_by_its_folder_its_files_and_its_experiment(make_xp, dora_dir):
    folder = release_of(make_xp, dora_dir)
    for path in (folder, str(folder), folder / "state_dict.bin", folder / "export.json", folder.parent):
        assert load_release(path).folder == folder


def test_a_loaded_release_is_a_path_for_the_other_functions(make_xp, dora_dir, tmp_path):
    release = load_release(release_of(make_xp, dora_dir))
    assert verify(release).ok and Path(release) == release.folder
    assert repr(release) == f"<{SIG}: best_state after 2 epochs, 3 tensors, 136 B in {release.folder}>"
    there = load_release(convert(release, to="safetensors", into=tmp_path / "there").folder)
    assert same(there.weights, release.weights) and there.config == release.config


def test_the_compression_model_is_loaded_too(make_xp, dora_dir):
    make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")},
            best_state={"model": model_state(6)})
    for format in FORMATS:
        folder = release_of(make_xp, dora_dir, format, **{
            "xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")})
        release = load_release(folder)
        assert same(release.weights, model_state(3)) and release.config.solver == "musicgen"
        codec = release.compression_model
        assert same(codec.weights, model_state(6)) and codec.config.solver == "compression" and not codec.pretrained


def test_a_public_compression_model_is_a_name(make_xp, dora_dir):
    name = "facebook/encodec_32khz"
    release = load_release(release_of(make_xp, dora_dir, **{
        "xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=f"//pretrained/{name}")}))
    codec = release.compression_model
    assert codec.pretrained == name and not codec.weights and codec.config == {} and name in release._repr_html_()


def test_a_compression_model_alone_is_the_model_of_its_release(make_xp, dora_dir):
    release = load_release(release_of(make_xp, dora_dir, **{
        "xp.cfg": with_cfg(solver="compression", compression_model="encodec")}))
    assert same(release.weights, model_state(3)) and release.compression_model is None


@pytest.mark.parametrize("format", FORMATS)
def test_bands_are_named_by_their_numbers(make_xp, dora_dir, format):
    release = load_release(release_of(make_xp, dora_dir, format, **{
        "xp.cfg": OmegaConf.create(DIFFUSION), "sample_processor": PROCESSOR}))
    assert [*release.weights] == [f"0.{name}" for name in model_state(3)]
    assert release.weights["0.steps"] == 10 and release.config.schedule.rate == 16000
    assert len(release.weights) == release.manifest.tensors


@pytest.mark.parametrize("format", FORMATS)
def test_the_parts_of_audioseal_are_named_by_their_files(make_xp, dora_dir, format):
    release = load_release(release_of(make_xp, dora_dir, format, **OF_AUDIOSEAL))
    assert same(release.weights, OF_AUDIOSEAL["best_state"]["model"]) and release.config.audioseal.nbits == 16


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_that_is_called_like_the_weights_of_a_band_is_a_part(make_xp, dora_dir, format):
    parts = {"model_state": model_state(1), "other": model_state(2)}
    release = load_release(release_of(make_xp, dora_dir, format, best_state=parts))
    assert len(release.weights) == 6 and same(release.weights, {
        f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()})


def test_a_missing_configuration_of_audioseal_is_an_error(make_xp, dora_dir):
    folder = release_of(make_xp, dora_dir, "audiocraft", **OF_AUDIOSEAL)
    (folder / f"{SIG}.yaml").unlink()
    with pytest.raises(ExportError, match=f"{SIG}.yaml"):
        load_release(folder)


def test_several_parts_of_a_best_state_have_dotted_names(make_xp, dora_dir):
    release = load_release(release_of(make_xp, dora_dir, best_state={"a": model_state(1), "b": model_state(2)}))
    assert [*release.weights][:1] == ["a.emb.0.weight"] and release.weights["b.steps"] == 9


def test_shards_are_one_mapping(make_xp, dora_dir):
    make_xp()
    report = export_xp(SIG, dora_dir, format="safetensors", max_shard_size=100, card=False)
    assert len(report.files) > 3 and same(load_release(report.folder).weights, model_state(3))


def test_a_release_for_transformers_is_refused_with_its_loader(make_xp, dora_dir):
    folder = release_of(make_xp, dora_dir)
    manifest = Manifest.load(folder)
    (folder / "export.json").write_text(
        replace(manifest, options={**manifest.options, "format": "transformers"}).text)
    with pytest.raises(ExportError, match="has the format transformers.*from_pretrained of transformers"):
        load_release(folder)


def test_a_path_without_a_release_is_refused(make_xp, tmp_path):
    for path, code in ((tmp_path / "nowhere", "path-not-found"), (tmp_path, "invalid-manifest"),
                       (make_xp(), "wrong-target"), (tmp_path / "outputs", "wrong-target")):
        with pytest.raises(ExportError) as error:
            load_release(path)
        assert error.value.code == code, path


def test_files_that_do_not_match_the_manifest_are_refused(make_xp, dora_dir):
    folder = release_of(make_xp, dora_dir)
    rewrite(folder / "state_dict.bin", version="a longer version" * 9)
    with pytest.raises(ExportError, match="do not match its manifest") as error:
        load_release(folder)
    assert error.value.code == "damaged-release"
    (folder / "state_dict.bin").unlink()
    with pytest.raises(ExportError, match="No such file"):
        load_release(folder)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_a_pickle_is_not_executed(make_xp, dora_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = release_of(make_xp, dora_dir)
    pickle.loads(pickle.dumps(Evil()))
    (tmp_path / "evil").rmdir()
    state = load(folder / "state_dict.bin")
    torch.save({**state, "extra": Evil(), "best_state": {**state["best_state"], "evil": Evil()}},
               folder / "state_dict.bin")
    fitting(folder)
    with pytest.raises(ExportError, match="evil"):
        load_release(folder)
    assert not (tmp_path / "evil").exists()


def test_a_state_that_contains_itself_is_an_error(make_xp, dora_dir):
    folder = release_of(make_xp, dora_dir)
    state = load(folder / "state_dict.bin")
    state["best_state"]["self"] = state["best_state"]
    torch.save(state, folder / "state_dict.bin")
    fitting(folder)
    with pytest.raises(ExportError, match="contain themselves"):
        load_release(folder)


def test_names_are_escaped_in_a_notebook(make_xp, dora_dir):
    name = "<script>alert(1)</script>"
    release = load_release(release_of(make_xp, dora_dir, best_state={"model": {name: torch.ones(2)}}))
    shown = release.weights._repr_html_()
    assert "<script" not in shown and "&lt;script&gt;alert(1)&lt;/script&gt;" in shown and "float32" in shown
    assert f"<caption>Release {SIG}</caption>" in release._repr_html_() and str(release.folder) in release._repr_html_()
    assert "<td></td>" not in release._repr_html_()  # it has no compression model
