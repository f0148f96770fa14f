"""Releases that are more than one model file: MultiBand Diffusion, AudioSeal; and one kind taken for another."""

import hashlib
import json
import re

import pytest
import torch
from helpers import SIG, command, load, model_state, same, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import (
    ExportError,
    ExportOptions,
    export_checkpoint,
    export_encodec,
    export_lm,
    export_pretrained_compression_model,
    export_xp,
)
from audiocraft_export.cli import main as cli
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.families.registry import FAMILIES, Family
from audiocraft_export.verification.release import verify

FILE = "diffusion_state_dict.bin"
PROCESSOR = {"counts": torch.ones(1), "sum_x": torch.arange(3.0)}
DIFFUSION = {
    "solver": "diffusion", "sample_rate": 16000, "channels": 1,
    "schedule": {"num_steps": 1000, "rate": "${sample_rate}"},
    "diffusion_unet": {"hidden": 8, "items": [{"a": None}, 2.5]}, "processor": {"use": True, "name": "x"},
    "filter": {"use": False, "n_bands": 4, "idx_band": 0, "cutoffs": None}, "n_q": 4,
    "compression_model_checkpoint": "//sig/c0dec000",
}
AUDIOSEAL = {"solver": "watermarking", "device": "cuda", "sample_rate": 16000, "audioseal": {"nbits": 16},
             "seanet": {"dimension": "${detector.output_dim}"}, "detector": {"output_dim": 32}, "dora": {"dir": "/x"}}


@pytest.fixture
def make_band(make_xp):
    """Write the XP of a band."""
    def make(index, bands=4, sig=None, **changes):
        cfg = {**DIFFUSION, "filter": {"use": True, "n_bands": bands, "idx_band": index, "cutoffs": None}, **changes}
        sig = sig or f"0000000{index}"
        make_xp(sig, **{"xp.cfg": OmegaConf.create(cfg), "sample_processor": PROCESSOR,
                        "best_state": {"model": model_state(10 + index)}})
        return sig
    return make


@pytest.fixture
def make_watermark(make_xp):
    def make(sig=SIG, state=None, **changes):
        state = state or {f"{part}.{name}": value for seed, part in enumerate(("generator", "detector"))
                          for name, value in model_state(seed).items()}
        make_xp(sig, **{"xp.cfg": OmegaConf.create({**AUDIOSEAL, **changes}), "best_state": {"model": state}})
        return sig
    return make


@pytest.fixture
def bands(tmp_path, dora_dir):
    """Release some bands with the command; gives its exit code, and what it said."""
    def run(*sigs, folder="mbd", flags=()):
        result = command("run", "--bands", *sigs, "--dora-dir", dora_dir, "--folder", tmp_path / folder, *flags,
                         cwd=tmp_path)
        assert "Traceback" not in result.stderr
        return result
    return run


def test_a_diffusion_model_alone_is_a_release_of_one_band(make_xp, dora_dir):
    make_xp(**{"xp.cfg": OmegaConf.create(DIFFUSION), "sample_processor": PROCESSOR})
    report = export_xp(SIG, dora_dir, ExportOptions(version="1.3.0"))
    assert [path.name for path in report.files] == [FILE] and report.manifest.codec is None
    content = load(report.files[0])
    assert list(content) == ["sample_rate", "n_bands", 0, "version", "exported"]
    assert (content["sample_rate"], content["n_bands"], content["version"]) == (16000, 1, "1.3.0")
    band = content[0]
    assert same(band["model_state"], model_state(3)) and same(band["processor_state"], PROCESSOR)
    assert band["xp.cfg"] == OmegaConf.to_yaml(OmegaConf.create(DIFFUSION))
    assert report.manifest.warnings == [] and not export_xp(SIG, dora_dir, ExportOptions(version="1.3.0")).written


def test_its_configuration_is_read_as_audiocraft_reads_it_without_omegaconf(make_xp, dora_dir):
    make_xp(**{"xp.cfg": OmegaConf.create(DIFFUSION), "sample_processor": {}})
    cfg = load(export_xp(SIG, dora_dir).files[0])[0]["cfg"]
    assert cfg.channels == 1 and dict(**cfg.schedule) == {"num_steps": 1000, "rate": 16000}
    assert cfg.processor.use and cfg.processor.name == "x"
    assert cfg.processor is cfg["processor"] and list(cfg) == list(DIFFUSION)
    assert dict(cfg.diffusion_unet.items()) == {"hidden": 8, "items": [{"a": None}, 2.5]}


@pytest.mark.parametrize("value", ["${oc.env:STEPS}", "${steps}", "${nowhere}", "???", "${${r}:STEPS}",
                                   "${oc.${v}:STEPS}", "${oc.env:${n}}"])
def test_what_a_model_is_built_from_is_never_this_machine_s(make_xp, dora_dir, value, monkeypatch):
    monkeypatch.setenv("STEPS", "77")
    cfg = {**DIFFUSION, "steps": "${oc.env:STEPS}", "r": "oc.env", "v": "env", "n": "STEPS",
           "schedule": {"num_steps": value}}
    make_xp(**{"xp.cfg": OmegaConf.create(cfg), "sample_processor": {}})
    with pytest.raises(ExportError, match="`schedule` of the configuration") as error:
        export_xp(SIG, dora_dir)
    assert "77" not in str(error.value) and not (dora_dir / "xps" / SIG / "export").exists()


def test_a_diffusion_model_without_its_processor_is_refused(make_xp, dora_dir):
    make_xp(**{"xp.cfg": OmegaConf.create(DIFFUSION)})
    with pytest.raises(ExportError, match="no sample_processor"):
        export_xp(SIG, dora_dir)


def test_a_cast_leaves_the_statistics_of_the_processor_alone(make_xp, dora_dir):
    make_xp(**{"xp.cfg": OmegaConf.create(DIFFUSION), "sample_processor": PROCESSOR})
    band = load(export_xp(SIG, dora_dir, ExportOptions(dtype="float16")).files[0])[0]
    assert band["model_state"]["emb.0.weight"].dtype == torch.float16 and same(band["processor_state"], PROCESSOR)


def test_bands_make_one_release_and_once(make_band, bands, tmp_path, dora_dir):
    sigs = [make_band(index) for index in range(4)]
    result = bands(*sigs)
    assert result.returncode == 0, result.stderr
    content = load(tmp_path / "mbd" / FILE)
    assert content["n_bands"] == 4
    assert all(same(content[index]["model_state"], model_state(10 + index)) for index in range(4))
    manifest = json.loads((tmp_path / "mbd" / "export.json").read_text())
    assert manifest["sig"] is None and [band["sig"] for band in manifest["bands"]] == sigs
    assert manifest["tensors"] == 12 and all(band["checkpoint"]["bytes"] for band in manifest["bands"])
    assert "already exported" in bands(*sigs).stdout
    make_band(2, n_q=8)
    again = bands(*sigs)
    assert "already" not in again.stdout and "trained with different n_q" in again.stderr
    (dora_dir / "xps" / sigs[1] / "history.json").write_text("[{}, {}, {}, {}, {}]")
    make_band(2, channels=2)
    assert "different channels" in bands(*sigs).stderr
    assert f"{sigs[1]}: history.json has 5 epochs" in (tmp_path / "mbd" / "export.json").read_text()


def test_bands_are_given_by_paths_too_and_as_json(make_band, bands, dora_dir, tmp_path):
    first, second = make_band(0, 2), make_band(1, 2)
    result = bands(dora_dir / "xps" / first, dora_dir / "xps" / second / "checkpoint.th", flags=["--json"])
    line, = result.stdout.splitlines()
    assert [band["sig"] for band in json.loads(line)["bands"]] == [first, second]


def test_one_band_of_four_is_released_with_a_warning_and_is_not_taken_for_all(make_band, bands, dora_dir):
    sig = make_band(1)
    assert any("band 1 of 4 alone" in text for text in export_xp(sig, dora_dir).manifest.warnings)
    assert bands(sig).returncode == 1


def test_an_experiment_on_the_whole_spectrum_is_all_bands(make_xp, bands):
    make_xp(**{"xp.cfg": OmegaConf.create(DIFFUSION), "sample_processor": {}})
    assert bands(SIG).returncode == 0


def test_cutoffs_decide_how_many_bands_there_are(make_band, bands):
    def band(index, cutoffs):
        return make_band(index, filter={"use": True, "n_bands": 4, "idx_band": index, "cutoffs": cutoffs})
    assert bands(*(band(index, [100.0, 1000.0]) for index in range(3))).returncode == 0
    assert "split the spectrum differently" in bands(band(0, [100.0]), band(1, [200.0])).stderr


@pytest.mark.parametrize("changes", [
    {"cutoffs": 100.0}, {"cutoffs": True}, {"cutoffs": "abc"}, {"cutoffs": {"a": 1}}, {"use": "yes"}, {"idx_band": 4},
    {"idx_band": -1}, {"cutoffs": ["${oc.env:USER}"]}, {"cutoffs": ["${nope}"]}, {"cutoffs": ["???"]}, {"use": "???"}])
def test_a_band_that_does_not_say_which_it_is_is_refused_in_one_sentence(make_band, dora_dir, changes):
    sig = make_band(1, filter={"use": True, "n_bands": 4, "idx_band": 1, "cutoffs": None, **changes})
    with pytest.raises(ExportError, match="`filter` of the configuration"):
        export_xp(sig, dora_dir)


@pytest.mark.parametrize(("indices", "says"), [
    ([0, 1, 2], "not all bands"), ([1, 2, 3], "not all bands"), ([0, 1, 1, 3], "not all bands"),
    ([0, 1, 2, 3, 3], "not all bands"), ([0, 2, 1, 3], "name them as 00000000 00000001 00000002 00000003"),
    ([3, 2, 1, 0], "not in order")])
def test_bands_that_are_not_complete_or_not_in_order_are_refused(make_band, bands, tmp_path, indices, says):
    result = bands(*[make_band(index) for index in indices])
    assert result.returncode == 1 and says in result.stderr and not (tmp_path / "mbd").exists()


@pytest.mark.parametrize(("changes", "says"), [
    ({"sample_rate": 32000}, "different sample rates .00000000: 16000, 00000001: 32000"),
    ({"filter": {"use": True, "n_bands": 3, "idx_band": 1, "cutoffs": None}}, "split the spectrum differently"),
    ({"filter": {"use": False, "n_bands": 2, "idx_band": 1, "cutoffs": None}}, "00000001 was trained on the whole"),
    ({"filter": {"use": True, "n_bands": 2, "idx_band": 2, "cutoffs": None}}, "does not say which band"),
    ({"sample_rate": None}, "`sample_rate` of the configuration"), ({"sample_rate": [1]}, "no number"),
    ({"schedule": None}, "`schedule` of the configuration"), ({"processor": 3}, "`processor` of the configuration"),
    ({"filter": {"use": True, "n_bands": 2, "idx_band": None, "cutoffs": None}}, "does not say which band"),
    ({"filter": {"use": True, "n_bands": None, "idx_band": 1, "cutoffs": None}}, "does not say which band"),
    ({"solver": "musicgen"}, "a language model .solver=musicgen., no band"),
    ({"solver": "mine"}, "a model .solver=mine., no band")])
def test_bands_that_are_none_of_the_same_model_are_refused(make_band, bands, changes, says):
    result = bands(make_band(0, 2), make_band(1, 2, **changes))
    assert result.returncode == 1
    assert re.search(says, result.stderr), result.stderr


def test_bands_need_a_folder(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["run", "--bands", "0000"])
    assert exit.value.code == 2 and "--folder" in capsys.readouterr().err


def test_a_watermarking_model_is_released_as_generator_detector_and_configuration(make_watermark, dora_dir):
    report = export_xp(make_watermark(), dora_dir, ExportOptions(version="1.4.0a2"))
    generator, detector, config = report.files
    assert [path.name for path in report.files] == [f"generator_{SIG}.pth", f"detector_{SIG}.pth", f"{SIG}.yaml"]
    for seed, path in enumerate((generator, detector)):
        content = load(path)
        assert same(content["model"], model_state(seed)) and content["exported"] and content["version"] == "1.4.0a2"
    assert OmegaConf.to_container(OmegaConf.load(config)) == {
        "audioseal": {"nbits": 16}, "seanet": {"dimension": 32}, "detector": {"output_dim": 32}}
    assert not export_xp(SIG, dora_dir, ExportOptions(version="1.4.0a2")).written
    config.write_text("other: 1\n")
    assert export_xp(SIG, dora_dir, ExportOptions(version="1.4.0a2")).written and "other" not in config.read_text()


def test_a_watermarking_model_with_other_weights_or_no_configuration_of_it_is_refused(make_watermark, dora_dir):
    generator, detector = {"generator.a": torch.ones(1)}, {"detector.a": torch.ones(1)}
    for state in ({**generator, **detector, "head.weight": torch.ones(1)}, generator,
                  {"generator": generator, "detector": detector}):
        with pytest.raises(ExportError, match="are not those of a generator and a detector"):
            export_xp(make_watermark(state=state), dora_dir)
    with pytest.raises(ExportError, match="`seanet` of the configuration"):
        export_xp(make_watermark(seanet={"dimension": "${nowhere}"}), dora_dir)


def test_every_family_goes_to_safetensors_and_back_byte_for_byte(make_band, make_watermark, make_xp, bands, dora_dir,
                                                                 tmp_path):
    assert bands(*(make_band(index) for index in range(4))).returncode == 0
    reference = {"solver": "musicgen", "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz"}
    make_xp("aaaaaaaa", **{"xp.cfg": OmegaConf.create({"solver": "compression", "compression_model": "encodec"})})
    own = {"solver": "musicgen", "compression_model_checkpoint": "//sig/aaaaaaaa"}
    for sig, cfg in (("cccccccc", reference), ("dddddddd", own)):
        make_xp(sig, **{"xp.cfg": OmegaConf.create(cfg)})
    made = [export_xp(sig, dora_dir, ExportOptions(version="1")).folder
            for sig in (make_watermark(), make_band(0, sig="bbbbbbbb"), "aaaaaaaa", "cccccccc", "dddddddd")]
    found = set()
    for folder in [tmp_path / "mbd", *made]:
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        convert(folder, "safetensors", max_shard_size=100)
        assert verify(folder).ok, verify(folder)
        found |= {path.name for path in folder.iterdir() if "-of-" not in path.name}
        convert(folder, "audiocraft")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before and verify(folder).ok
    assert {"config_0.yaml", "config_3.yaml", "compression_config.yaml", "compression_model.json", f"{SIG}.yaml",
            f"detector_{SIG}.safetensors.index.json", "compression_model.safetensors.index.json"} <= found


def test_a_signature_that_is_no_name_of_a_file_is_none_here(make_xp, tmp_path, dora_dir):
    state = {"generator.a": torch.ones(1), "detector.a": torch.ones(1)}
    folder = make_xp(**{"xp.cfg": OmegaConf.create(AUDIOSEAL), "best_state": {"model": state}, "xp.sig": "../../evil"})
    report = export_checkpoint(folder / "checkpoint.th", tmp_path / "release")
    assert [path.name for path in report.files] == ["generator_model.pth", "detector_model.pth", "model.yaml"]


def test_targets_may_stand_on_both_sides_of_a_flag(make_band, tmp_path, dora_dir):
    first, second = make_band(0, 2), make_band(1, 2)
    result = command("run", first, "--bands", second, "--dora-dir", dora_dir, "--folder", "mbd", cwd=tmp_path)
    assert result.returncode == 0 and load(tmp_path / "mbd" / FILE)["n_bands"] == 2
    result = command("run", first, "--dora-dir", dora_dir, second, "--no-such", "x", cwd=tmp_path)
    assert result.returncode == 2 and "--no-such x is no option" in result.stderr


def test_a_release_never_takes_the_place_of_the_checkpoint_that_it_is_made_of(make_xp, tmp_path):
    checkpoint = make_xp() / "checkpoint.th"
    before = checkpoint.read_bytes()
    (tmp_path / "state_dict.bin").symlink_to(checkpoint)
    for export in (lambda: export_lm(checkpoint, checkpoint), lambda: export_checkpoint(checkpoint, tmp_path)):
        with pytest.raises(ExportError, match="take the place of the training checkpoint"):
            export()
    assert checkpoint.read_bytes() == before


def test_nor_of_that_of_its_codec_of_a_band_or_of_one_that_lies_where_a_release_was(make_xp, make_band, dora_dir,
                                                                                   tmp_path):
    codec = make_xp("c0dec000", **{"xp.cfg": with_cfg(solver="compression")}) / "checkpoint.th"
    folder = tmp_path / "release"
    folder.mkdir()
    codec = codec.rename(folder / "compression_state_dict.bin")
    lm = make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=str(codec))}) / "checkpoint.th"
    band = dora_dir / "xps" / make_band(0, 1) / "checkpoint.th"
    band = band.rename(folder / "diffusion_state_dict.bin")
    before = {path: path.read_bytes() for path in (codec, band)}
    result = command("run", "--bands", band, "--folder", folder, cwd=tmp_path)
    assert "take the place" in result.stderr
    for export in (lambda: export_checkpoint(lm, folder), lambda: export_checkpoint(codec, folder),
                   lambda: export_pretrained_compression_model(codec, codec)):
        with pytest.raises(ExportError, match="take the place of the training checkpoint"):
            export()
    export_checkpoint(lm, folder / "lm", ExportOptions(version="1"))
    old = (folder / "lm" / "compression_state_dict.bin")
    old.write_bytes((make_xp() / "checkpoint.th").read_bytes())
    export_checkpoint(old, folder / "lm")  # it is not what the manifest lists, so it is nobody's to remove
    assert old.exists() and before == {path: path.read_bytes() for path in (codec, band)}


def test_another_release_in_the_same_folder_leaves_no_file_of_the_one_before(make_watermark, make_xp, dora_dir,
                                                                           tmp_path):
    folder = tmp_path / "release"
    options = ExportOptions(folder=folder, version="1")
    export_xp(make_watermark("11111111"), dora_dir, options)
    (folder / "notes.yaml").write_text("mine")
    export_xp(make_watermark("22222222"), dora_dir, options)
    make_xp()
    export_xp(SIG, dora_dir, options)
    assert {path.name for path in folder.iterdir()} == {"state_dict.bin", "export.json", "notes.yaml"}


def test_a_manifest_cannot_have_files_removed_that_no_release_has(make_xp, dora_dir, tmp_path):
    make_xp()
    folder = dora_dir / "xps" / SIG
    report = export_xp(SIG, dora_dir, ExportOptions(folder=folder))
    manifest = json.loads((folder / "export.json").read_text())
    stale = b"of the release before"
    names = ["checkpoint.th", "../../secret.yaml"]
    manifest["files"] += [{**manifest["files"][0], "name": name} for name in names]
    manifest["files"] += [{"name": "compression_state_dict.bin", "bytes": len(stale),
                           "sha256": hashlib.sha256(stale).hexdigest()}]
    manifest["files"] += [{**manifest["files"][0], "name": name} for name in (5, None, ["a"], "folder.yaml")]
    (folder / "folder.yaml").mkdir()
    (folder / "export.json").write_text(json.dumps(manifest))
    (dora_dir / "secret.yaml").write_text("mine")
    (folder / "compression_state_dict.bin").write_bytes(stale)
    assert export_xp(SIG, dora_dir, ExportOptions(folder=folder)).written and report.written
    assert (folder / "checkpoint.th").exists() and (dora_dir / "secret.yaml").exists()
    assert not (folder / "compression_state_dict.bin").exists()


@pytest.mark.parametrize(("solver", "function", "kind", "right"), [
    ("diffusion", export_lm, "a MultiBand Diffusion model", "export_checkpoint"),
    ("diffusion", export_encodec, "a MultiBand Diffusion model", "export_checkpoint"),
    ("watermarking", export_lm, "a watermarking model", "export_checkpoint"),
    ("watermarking", export_encodec, "a watermarking model", "export_checkpoint"),
    ("compression", export_lm, "a compression model", "export_encodec"),
    ("jasco", export_encodec, "a language model", "export_lm"),
    ("magnet", export_encodec, "a language model", "export_lm")])
def test_a_drop_in_names_the_kind_of_a_model_that_it_does_not_export_and_what_does(make_xp, tmp_path, solver, function,
                                                                                 kind, right):
    checkpoint = make_xp(**{"xp.cfg": with_cfg(solver=solver)}) / "checkpoint.th"
    with pytest.raises(ExportError, match=rf"is {kind} \(solver={solver}\): use {right}\."):
        function(checkpoint, tmp_path / "out.bin")
    assert not (tmp_path / "out.bin").exists()


def test_a_release_of_bands_is_none_to_export_again(make_band, bands, tmp_path):
    assert bands(make_band(0, 1)).returncode == 0
    with pytest.raises(ExportError, match="is a release already"):
        export_checkpoint(tmp_path / "mbd" / FILE, tmp_path / "again")


def test_a_new_family_is_one_more_line_in_the_table(make_xp, dora_dir, monkeypatch):
    mine = Family("a model of mine", lambda model: {"mine.bin": {"w": model.weights.state}}, names=("mine.bin",))
    monkeypatch.setitem(FAMILIES, "mine", mine)
    make_xp()
    report = export_xp(SIG, dora_dir)
    assert [path.name for path in report.files] == ["mine.bin"] and same(load(report.files[0])["w"], model_state(3))
