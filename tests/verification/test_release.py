"""Problems of a release, by file."""

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


def test_an_intact_release_has_no_problems(release):
    result = verify(release)
    assert result.ok and result.files == ["state_dict.bin", "compression_state_dict.bin"], str(result)
    assert str(release) in str(result)


@pytest.mark.parametrize("name", ["state_dict.bin", "compression_state_dict.bin"])
def test_an_intact_file_has_no_problems_with_and_without_its_manifest(release, tmp_path, name):
    assert verify(release / name).ok
    shutil.copy(release / name, tmp_path / "by another name.pt")
    assert verify(tmp_path / "by another name.pt").ok


def test_a_manifest_alone_is_intact_or_was_changed(release):
    assert verify(release / "export.json").ok
    flip(release / "export.json", b"best_state")
    assert [problem[:2] for problem in found(release / "export.json")] == [("export.json", None)]


def test_an_intact_file_of_a_drop_in_has_no_problems(make_xp, dora_dir, tmp_path):
    export_lm(make_xp() / "checkpoint.th", tmp_path / "lm.pt")
    assert verify(tmp_path / "lm.pt").ok


def test_an_intact_release_of_each_family_has_no_problems(make_xp, dora_dir):
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


def test_a_changed_tensor_of_safetensors_is_not_called_valid_nor_counted_as_missing(make_xp, dora_dir):
    make_xp()
    folder = export_xp(SIG, dora_dir, format="safetensors", card=False).folder
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    assert found(folder) == [("model.safetensors", None, "sha256 differs from export.json")]


def test_a_missing_file_is_named(release):
    (release / "compression_state_dict.bin").unlink()
    assert found(release) == [("compression_state_dict.bin", None, "missing")]


def test_a_missing_file_that_no_manifest_lists_is_only_missing(make_xp, dora_dir):
    make_xp()
    file = export_xp(SIG, dora_dir, ExportOptions(codec="none")).folder / "compression_state_dict.bin"
    assert found(file) == [("compression_state_dict.bin", None, "missing")]


def test_a_file_that_would_be_loaded_and_is_not_listed_is_named(make_xp, dora_dir, release):
    (release.parent / "other").mkdir()
    alone = export_xp(SIG, dora_dir, ExportOptions(codec="none", folder=release.parent / "alone")).folder
    shutil.copy(release / "compression_state_dict.bin", alone)
    assert [problem[:2] for problem in found(alone)] == [("compression_state_dict.bin", None)]


def test_without_a_manifest_the_release_is_not_verified_but_its_files_are(release):
    (release / "export.json").unlink()
    result = verify(release)
    assert [problem.file for problem in result.problems] == ["export.json"]
    assert result.files == ["state_dict.bin", "compression_state_dict.bin"]


@pytest.mark.parametrize("change", [
    lambda values: values.update(epoch=3), lambda values: values.pop("time"), lambda values: values.update(more=1),
    lambda values: values["files"].pop(), lambda values: values["files"][0].update(bytes=1)])
def test_a_manifest_that_was_changed_is_invalid(release, change):
    values = json.loads((release / "export.json").read_text())
    change(values)
    (release / "export.json").write_text(json.dumps(values, indent=2) + "\n")
    assert found(release)[0][0] == "export.json"
    assert Manifest.load_or_none(release) is None


@pytest.mark.parametrize("name", ["tensors", "parameters", "dtypes", "config_sha256"])
def test_a_manifest_with_other_statistics_of_the_weights_is_named(release, name):
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
    what = f"{said} for {key} of {name}, which has 2 NaN or infinite values"
    assert found(release) == found(release / name) == [("export.json", "nonfinite", what)]


def test_problems_are_escaped_in_a_notebook(make_xp, dora_dir):
    make_xp(best_state={"model": {"<script>": torch.tensor([1., float("nan")])}})
    release = export_xp(SIG, dora_dir).folder
    shown = verify(release)._repr_html_()
    assert "is intact</caption>" in shown and "<td>1 NaN/inf value</td>" in shown
    (release / "state_dict.bin").write_bytes((release / "state_dict.bin").read_bytes().replace(b"script", b"Script"))
    shown = verify(release)._repr_html_()
    assert "has problems</caption>" in shown and "<td>state_dict.bin</td>" in shown and "cript>" not in shown


def test_an_experiment_without_a_release_is_exported_first_if_its_checkpoint_can_be_read(make_xp):
    folder = make_xp()
    with pytest.raises(ExportError, match="has no release") as error:
        verify(folder)
    assert error.value.hint == f"export it first: audiocraft-export run {folder}"
    (folder / "checkpoint.th").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ExportError, match="has no release") as error:
        verify(folder)
    assert error.value.hint == ""


def test_a_missing_path_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="No such file or folder") as error:
        verify(tmp_path / "none")
    assert error.value.code == "path-not-found"


def test_a_verification_without_problems_is_ok(tmp_path):
    assert str(Verification(tmp_path, [], [])) == f"{tmp_path} is intact"
    problems = [Problem("state_dict.bin", "best_state", "missing"), Problem("config.yaml", None, "missing")]
    found = Verification(tmp_path, ["state_dict.bin"], problems)
    assert str(found) == "state_dict.bin: best_state: missing; config.yaml: missing"
    assert not found.ok and str(found) == "; ".join(map(str, problems))


def other_files(format):
    """File names that the loader of a format looks for and a release of one file does not have."""
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
        (folder / other).write_bytes(b"x")  # no loader reads these
    assert found(folder) == []
    what = "not listed in export.json, but a loader would read it: move it"
    for other in other_files(format):
        (folder / other).write_bytes(b"x")
        assert found(folder) == [(other, None, what)]
        assert (other, None, what) in found(folder / other)
        (folder / other).unlink()


def test_an_unlisted_file_next_to_shards_and_a_missing_shard_are_named(tmp_path):
    folder = shutil.copytree(RELEASES / "general-safetensors", tmp_path / "release")
    shutil.copy(RELEASES / "tied-safetensors" / "model.safetensors", folder)
    assert [problem[:2] for problem in found(folder)] == [("model.safetensors", None)]
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00002-of-00002", "mine"))
    fitting(folder)
    shutil.copy(folder / "model-00002-of-00002.safetensors", folder / "mine.safetensors")
    assert ("lists files that are not in export.json (mine.safetensors)") in str(verify(folder))
    assert not verify(index).ok


def test_an_unlisted_file_of_a_watermarking_model_next_to_shards_is_named(make_xp, dora_dir):
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
    assert problem[:2] == (file, key) and "in export.json" in problem[2] and found(folder / file) == [problem]


def test_the_metadata_of_an_index_is_that_of_the_manifest(tmp_path):
    folder = shutil.copytree(RELEASES / "general-safetensors", tmp_path / "release")
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("9e9e9e9e", "11111111"))
    fitting(folder)
    assert [problem[:2] for problem in found(folder)] == [(index.name, "sig")]
