"""verify: what is wrong with a release, file by file and key by key."""

import json
import shutil

import pytest
import torch
from helpers import SIG, load, model_state, with_cfg

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_lm, export_xp, verify
from audiocraft_export.checkpoint.torch_file import TorchFile
from audiocraft_export.formats.audiocraft.pickler import TorchPickle
from audiocraft_export.release.content import model_content
from audiocraft_export.release.manifest import Manifest

CODEC = "c0dec000"


@pytest.fixture
def release(make_xp, dora_dir):
    """A language model with its compression model."""
    make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")},
            best_state={"model": model_state(6)})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")})
    return export_xp(SIG, dora_dir, ExportOptions(version="1.3.0")).folder


def rewrite(path, **changes):
    """Write a file of a release again, with other values under its keys; `...` leaves one out."""
    state = {**TorchFile.read(path).state, **changes}
    pickled = TorchPickle({key: value for key, value in state.items() if value is not ...})
    with open(path.with_suffix(".new"), "wb") as stream:
        pickled.write(stream)
    path.with_suffix(".new").replace(path)


def flip(path, data):
    """Change one bit where some bytes stand."""
    content = path.read_bytes()
    assert content.count(data) == 1
    path.write_bytes(content.replace(data, bytes([data[0] ^ 1]) + data[1:]))


def found(path):
    return [(problem.file, problem.key, problem.what) for problem in verify(path).problems]


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
    make_xp("11111111", **{"xp.cfg": with_cfg(solver="compression")})
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


def test_a_damaged_tensor_is_named(release):
    flip(release / "state_dict.bin", model_state(3)["linears.0.weight"].numpy().tobytes())
    (problem,) = verify(release).problems
    assert (problem.file, problem.key) == ("state_dict.bin", "best_state.linears.0.weight")
    assert "CRC-32" in str(problem) and "\n" not in str(problem)
    assert verify(release / "state_dict.bin").problems == [problem]


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
    from dataclasses import replace
    manifest = replace(Manifest.load(release), **{name: {"int8": 1} if name == "dtypes" else 7})
    (release / "export.json").write_text(manifest.text)
    assert [problem[:2] for problem in found(release)] == [("export.json", name)]


@pytest.mark.parametrize(("changes", "key"), [
    ({"version": ...}, "version"), ({"exported": False}, "exported"), ({"exported": 1}, "exported"),
    ({"xp.cfg": "- a list"}, "xp.cfg"), ({"xp.cfg": {"a": 1}}, "xp.cfg"), ({"best_state": []}, "best_state"),
    ({"optimizer": {}}, "optimizer"), ({"version": 3}, "version")])
def test_a_key_that_is_missing_wrong_or_too_much_is_named(release, changes, key):
    rewrite(release / "state_dict.bin", **changes)
    assert ("state_dict.bin", key) in [problem[:2] for problem in found(release)]
    assert ("state_dict.bin", key) in [problem[:2] for problem in found(release / "state_dict.bin")]


def test_what_torch_does_not_load_with_weights_only_is_named(release):
    path = release / "state_dict.bin"
    torch.save({**model_content(load(path)["best_state"], "a: 1", "1"), "exported": torch.nn.Linear(1, 1)}, path)
    problems = str(verify(path))
    assert "torch.nn.modules.linear.Linear" in problems


def test_a_tensor_with_more_than_its_own_bytes_is_named(release):
    path = release / "state_dict.bin"
    torch.save(model_content({"w": torch.arange(9.0)[1:3]}, "a: 1", "1"), path)
    assert found(path)[0][:2] == ("state_dict.bin", "best_state.w")


@pytest.mark.parametrize("size", [0, 1, 100, 1000])
def test_a_truncated_file_is_named(release, size):
    path = release / "compression_state_dict.bin"
    path.write_bytes(path.read_bytes()[:size])
    assert [problem[:2] for problem in found(release)] == [(path.name, None)]


def test_a_training_checkpoint_is_no_release(make_xp):
    result = verify(make_xp() / "checkpoint.th")
    assert len(result.problems) == 1 and "is a training checkpoint" in str(result) and "optimizer" in str(result)


def test_nothing_there_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="no file or folder"):
        verify(tmp_path / "none")


def test_numbers_that_are_none_are_exported_counted_and_said(make_xp, dora_dir, caplog, tmp_path):
    best = {"w": torch.tensor([1.0, float("nan"), float("inf"), -float("inf")]), "ok": torch.full((3,), 3.4e38),
            "half": torch.tensor([float("nan"), 65504.0]).half(), "brain": torch.tensor([-float("inf"), 1]).bfloat16(),
            "double": torch.tensor([float("nan"), 1e300], dtype=torch.float64), "n": torch.tensor([-1]),
            "z": torch.tensor([complex(float("nan"), 1)])}
    xp = make_xp(best_state={"model": best})
    report = export_xp(SIG, dora_dir)
    assert report.manifest.nonfinite == {"state_dict.bin": {
        "best_state.w": 3, "best_state.half": 1, "best_state.brain": 1, "best_state.double": 1, "best_state.z": 1}}
    assert json.loads((report.folder / "export.json").read_text())["nonfinite"] == report.manifest.nonfinite
    assert "7 numbers that are NaN or infinite" in report.manifest.warnings[-1] and "best_state.w" in caplog.text
    assert verify(report.folder).ok
    caplog.clear()
    export_lm(xp / "checkpoint.th", tmp_path / "lm.bin")
    assert "7 numbers that are NaN or infinite" in caplog.text


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_nan_and_infinity_is_counted_and_no_other_number(make_xp, tmp_path, dtype):
    torch.manual_seed(0)
    size = 3 << 19 if dtype is torch.float32 else 70_001
    kind = {2: torch.int16, 4: torch.int32, 8: torch.int64}[torch.finfo(dtype).bits // 8]
    limits = torch.iinfo(kind)
    numbers = torch.randint(limits.min, limits.max, (size,), dtype=kind).view(dtype)
    expected = int((~numbers.isfinite()).sum())
    xp = make_xp(best_state={"model": {"w": numbers, "part": numbers[1:7001]}})
    report = export_checkpoint(xp / "checkpoint.th", tmp_path / "out")
    assert report.manifest.nonfinite["state_dict.bin"]["best_state.w"] == expected > 0
