"""verify: what is wrong with a release, file by file."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from formats.safetensors.releases import fitting, forged
from helpers import SIG, model_state, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_lm, export_xp, verify
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.verification.file import Problem
from audiocraft_export.verification.release import Verification

from .releases import flip, found

RELEASES = Path(__file__).with_name("format_1")


def test_a_release_is_what_it_says(release):
    result = verify(release)
    assert result.ok and result.files == ["state_dict.bin", "compression_state_dict.bin"], str(result)
    assert str(release) in str(result)


@pytest.mark.parametrize("name", ["state_dict.bin", "compression_state_dict.bin"])
def test_a_single_file_is_what_it_says_with_and_without_its_manifest(release, tmp_path, name):
    assert verify(release / name).ok
    shutil.copy(release / name, tmp_path / "by another name.pt")
    assert verify(tmp_path / "by another name.pt").ok


def test_a_manifest_alone_is_what_it_says_or_was_changed(release):
    assert verify(release / "export.json").ok
    flip(release / "export.json", b"best_state")
    assert [problem[:2] for problem in found(release / "export.json")] == [("export.json", None)]


def test_a_file_of_a_drop_in_is_what_it_says(make_xp, dora_dir, tmp_path):
    export_lm(make_xp() / "checkpoint.th", tmp_path / "lm.pt")
    assert verify(tmp_path / "lm.pt").ok


def test_a_release_of_each_family_is_what_it_says(make_xp, dora_dir):
    make_xp("11111111", **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    built = {name: {} for name in ("schedule", "diffusion_unet", "processor")}
    make_xp("22222222", sample_processor={"scale": torch.ones(2)},
            **{"xp.cfg": with_cfg(solver="diffusion", sample_rate=32000, channels=1, **built)})
    state = {"generator.a": torch.ones(1), "detector.a": torch.ones(2)}
    make_xp("33333333", best_state={"model": state},
            **{"xp.cfg": with_cfg(solver="watermarking", audioseal={}, seanet={}, detector={})})
    make_xp("44444444")
    for sig in ("11111111", "22222222", "33333333", "44444444"):
        report = export_xp(sig, dora_dir, ExportOptions(version="1.3.0"))
        assert verify(report.folder).ok, str(verify(report.folder))
        assert all(verify(path).ok for path in report.files)


def test_damage_in_bytes_that_no_tensor_has_is_found_by_the_sha256(release):
    path = release / "state_dict.bin"
    path.write_bytes(path.read_bytes().replace(b"ZZZZ", b"ZZzZ", 1))
    assert [(file, key, "sha256" in what) for file, key, what in found(release)] == [("state_dict.bin", None, True)]


def test_a_sound_file_of_another_release_is_found_by_the_sha256(release, make_xp, dora_dir):
    other = make_xp("11111111", best_state={"model": model_state(9)})
    shutil.copy(export_xp("11111111", dora_dir).files[0], release / "state_dict.bin")
    assert [problem[:2] for problem in found(release)] == [("state_dict.bin", None), ("export.json", "config_sha256")]
    assert other.exists()


def test_a_missing_file_is_named(release):
    (release / "compression_state_dict.bin").unlink()
    assert found(release) == [("compression_state_dict.bin", None, "is missing")]


def test_a_file_that_would_be_loaded_and_is_not_listed_is_named(make_xp, dora_dir, release):
    (release.parent / "other").mkdir()
    alone = export_xp(SIG, dora_dir, ExportOptions(codec="none", folder=release.parent / "alone")).folder
    shutil.copy(release / "compression_state_dict.bin", alone)
    assert [problem[:2] for problem in found(alone)] == [("compression_state_dict.bin", None)]


def test_a_folder_without_a_manifest_proves_nothing_but_its_files_are_looked_at(release):
    (release / "export.json").unlink()
    result = verify(release)
    assert [problem.file for problem in result.problems] == ["export.json"]
    assert result.files == ["state_dict.bin", "compression_state_dict.bin"]


@pytest.mark.parametrize("change", [
    lambda values: values.update(epoch=3), lambda values: values.pop("time"), lambda values: values.update(more=1),
    lambda values: values["files"].pop(), lambda values: values["files"][0].update(bytes=1)])
def test_a_manifest_that_was_changed_proves_nothing(release, change):
    values = json.loads((release / "export.json").read_text())
    change(values)
    (release / "export.json").write_text(json.dumps(values, indent=2) + "\n")
    assert found(release)[0][0] == "export.json"
    assert Manifest.load_or_none(release) is None


@pytest.mark.parametrize("name", ["tensors", "parameters", "dtypes", "config_sha256"])
def test_a_manifest_that_says_something_else_of_the_weights_is_named(release, name):
    manifest = replace(Manifest.load(release), **{name: {"int8": 1} if name == "dtypes" else 7})
    (release / "export.json").write_text(manifest.text)
    assert [problem[:2] for problem in found(release)] == [("export.json", name)]


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
@pytest.mark.parametrize("said", [0, 1, 3])
def test_a_manifest_that_counts_other_nonfinite_values_is_named(make_xp, dora_dir, format, said):
    nan = torch.tensor([1.0, float("nan"), float("-inf")])
    make_xp(best_state={"model": {"w": nan, "tied": nan, "v": torch.ones(2)}})
    release = export_xp(SIG, dora_dir, ExportOptions(format=format, card=False)).folder
    manifest = Manifest.load(release)
    (name, (key, *_)), = manifest.nonfinite.items()
    assert verify(release).ok and verify(release).nonfinite == manifest.nonfinite == {name: {key: 2}}
    (release / "export.json").write_text(replace(manifest, nonfinite={name: {key: said}}).text)
    what = f"is {said} for {key} of {name}, which has 2 NaN or infinite values"
    assert found(release) == found(release / name) == [("export.json", "nonfinite", what)]


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="no file or folder"):
        verify(tmp_path / "none")


def test_a_verification_without_problems_is_ok_and_says_so(tmp_path):
    assert str(Verification(tmp_path, [], [])) == f"{tmp_path} is what it says it is."
    problems = [Problem("state_dict.bin", "best_state", "is missing"), Problem("config.yaml", None, "is missing")]
    found = Verification(tmp_path, ["state_dict.bin"], problems)
    assert not found.ok and str(found) == "; ".join(map(str, problems))


def other_files(format):
    """Names of files that a loader of a format looks for and a release of one file has not."""
    weights = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.safetensors.index.json",
               "model.fp16.safetensors", "model-00001-of-00002.safetensors", "adapter_model.safetensors")
    settings = ("adapter_config.json", "tokenizer.json", "generation_config.json", "spiece.model")
    own = ("compression_state_dict.bin", "diffusion_state_dict.bin")
    return {"audiocraft": own, "safetensors": (*own, "state_dict.bin", *weights),
            "transformers": (*own, "state_dict.bin", *weights, *settings)}[format]


@pytest.mark.parametrize(("name", "format"), [
    ("general-audiocraft", "audiocraft"), ("tied-safetensors", "safetensors"),
    ("compression-transformers", "transformers")])
def test_each_file_that_a_loader_looks_for_and_is_not_listed_is_named(tmp_path, name, format):
    folder = shutil.copytree(RELEASES / name, tmp_path / "release")
    for other in ("README.md", "training-curve.png", "mine.bin", "notes.json", "model.py", "my_model.safetensors"):
        (folder / other).write_bytes(b"x")  # nothing loads these
    assert found(folder) == []
    what = "is not in export.json, and yet would be loaded: remove it, or export again"
    for other in other_files(format):
        (folder / other).write_bytes(b"x")
        assert found(folder) == [(other, None, what)]
        assert (other, None, what) in found(folder / other)
        (folder / other).unlink()


def test_one_file_beside_shards_is_named_and_so_is_a_shard_that_only_the_index_knows(tmp_path):
    folder = shutil.copytree(RELEASES / "general-safetensors", tmp_path / "release")
    shutil.copy(RELEASES / "tied-safetensors" / "model.safetensors", folder)
    assert [problem[:2] for problem in found(folder)] == [("model.safetensors", None)]
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00002-of-00002", "mine"))
    fitting(folder)
    shutil.copy(folder / "model-00002-of-00002.safetensors", folder / "mine.safetensors")
    assert ("names files that are not in export.json (mine.safetensors)") in str(verify(folder))
    assert not verify(index).ok


def test_one_file_of_a_watermarking_model_beside_its_shards_is_named(make_xp, dora_dir):
    state = {f"{part}.{name}": value for part in ("generator", "detector") for name, value in model_state().items()}
    config = with_cfg(solver="watermarking", audioseal={}, seanet={}, detector={})
    make_xp(best_state={"model": state}, **{"xp.cfg": config})
    sharded = ExportOptions(format="safetensors", card=False, max_shard_size="90")
    folder = export_xp(SIG, dora_dir, sharded).folder
    shutil.copy(folder / f"generator_{SIG}-00001-of-00002.safetensors", folder / "generator_mine.safetensors")
    assert verify(folder).ok
    (folder / "generator_mine.safetensors").rename(folder / f"generator_{SIG}.safetensors")
    assert [problem[:2] for problem in found(folder)] == [(f"generator_{SIG}.safetensors", None)]


@pytest.mark.parametrize(("name", "file", "key", "value"), [
    ("tied-safetensors", "model.safetensors", "sig", "11111111"),
    ("tied-safetensors", "model.safetensors", "format", "tf"),
    ("tied-safetensors", "model.safetensors", "sig", None), ("tied-safetensors", "model.safetensors", "format", None),
    ("tied-safetensors", "model.safetensors", "weights", "ema"),
    ("general-safetensors", "model-00002-of-00002.safetensors", "sig", "11111111"),
    ("lm-safetensors", "compression_model.safetensors", "sig", "11111111"),
    ("musicgen-transformers", "conditioners.safetensors", "sig", "11111111"),
    ("musicgen-transformers", "model.safetensors", "format", "flax")])
def test_the_metadata_of_a_file_of_safetensors_is_that_of_the_manifest(tmp_path, name, file, key, value):
    folder = shutil.copytree(RELEASES / name, tmp_path / "release")

    def change(header):
        header["__metadata__"] = {**header["__metadata__"], key: value}
        if value is None:
            del header["__metadata__"][key]
    forged(folder, file, change)
    (problem,) = found(folder)
    assert problem[:2] == (file, key) and "by export.json" in problem[2] and found(folder / file) == [problem]


def test_the_metadata_of_an_index_is_that_of_the_manifest(tmp_path):
    folder = shutil.copytree(RELEASES / "general-safetensors", tmp_path / "release")
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("9e9e9e9e", "11111111"))
    fitting(folder)
    assert [problem[:2] for problem in found(folder)] == [(index.name, "sig")]
