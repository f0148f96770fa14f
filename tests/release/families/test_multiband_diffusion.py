"""MultiBand Diffusion: release one band, or all bands together."""

import json
import re

import pytest
import torch
from helpers import DIFFUSION, PROCESSOR, SIG, command, load, model_state, same, to_format_1
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp, inspect
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.cli import main as cli
from audiocraft_export.release.families.multiband_diffusion import FILE, notes
from audiocraft_export.release.model import ReleaseModel


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
def test_a_model_is_never_built_from_values_of_this_machine(make_xp, dora_dir, value, monkeypatch):
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


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_inspect_names_the_bands_and_finds_their_configuration(make_band, bands, tmp_path, format):
    sigs = [make_band(index, bands=2) for index in range(2)]
    assert bands(*sigs, flags=["--format", format]).returncode == 0
    assert f"experiment  {', '.join(sigs)}, solver" in command("inspect", tmp_path / "mbd", cwd=tmp_path).stdout
    assert inspect(tmp_path / "mbd").keys()["channels"] == "1"


def test_bands_without_a_processor_are_refused(make_band, bands, tmp_path):
    sigs = [make_band(index, sample_processor=...) for index in range(4)]
    result = bands(*sigs)
    assert result.returncode == 1 and "has no sample_processor" in result.stderr and not (tmp_path / "mbd").exists()


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
    to_format_1(tmp_path / "mbd")
    assert "already exported" in bands(*sigs).stdout and '"identity"' in (tmp_path / "mbd" / "export.json").read_text()
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
    assert [band["sig"] for band in json.loads(line)["manifest"]["bands"]] == [first, second]


def test_one_band_of_four_is_released_with_a_warning_and_is_not_taken_for_all(make_band, bands, dora_dir):
    sig = make_band(1)
    warnings = export_xp(sig, dora_dir).manifest.warnings
    assert any(text.startswith("incomplete-bands: the release has only band 1 of 4") for text in warnings)
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
def test_a_band_without_an_index_is_refused_in_one_sentence(make_band, dora_dir, changes):
    sig = make_band(1, filter={"use": True, "n_bands": 4, "idx_band": 1, "cutoffs": None, **changes})
    with pytest.raises(ExportError, match="`filter` (in|of) the configuration"):
        export_xp(sig, dora_dir)


@pytest.mark.parametrize(("indices", "says"), [
    ([0, 1, 2], "Missing or repeated bands"), ([1, 2, 3], "Missing or repeated bands"),
    ([0, 1, 1, 3], "Missing or repeated bands"), ([0, 1, 2, 3, 3], "Missing or repeated bands"),
    ([0, 2, 1, 3], "give them in this order: 00000000 00000001 00000002 00000003"),
    ([3, 2, 1, 0], "not in order")])
def test_bands_that_are_not_complete_or_not_in_order_are_refused(make_band, bands, tmp_path, indices, says):
    result = bands(*[make_band(index) for index in indices])
    assert result.returncode == 1 and says in result.stderr and not (tmp_path / "mbd").exists()


@pytest.mark.parametrize(("changes", "says"), [
    ({"sample_rate": 32000}, "different sample rates .00000000: 16000, 00000001: 32000"),
    ({"filter": {"use": True, "n_bands": 3, "idx_band": 1, "cutoffs": None}}, "split the spectrum differently"),
    ({"filter": {"use": False, "n_bands": 2, "idx_band": 1, "cutoffs": None}}, "00000001 was trained on the whole"),
    ({"filter": {"use": True, "n_bands": 2, "idx_band": 2, "cutoffs": None}}, "does not define a band"),
    ({"sample_rate": None}, "`sample_rate` of the configuration"),
    ({"sample_rate": [1]}, r"Invalid value \[1\] for sample_rate"),
    ({"schedule": None}, "`schedule` of the configuration"), ({"processor": 3}, "`processor` in the configuration"),
    ({"filter": {"use": True, "n_bands": 2, "idx_band": None, "cutoffs": None}}, "does not define a band"),
    ({"filter": {"use": True, "n_bands": None, "idx_band": 1, "cutoffs": None}}, "does not define a band"),
    ({"solver": "musicgen"}, "a language model .solver=musicgen., not a band"),
    ({"solver": "mine"}, "a model .solver=mine., not a band")])
def test_bands_that_are_none_of_the_same_model_are_refused(make_band, bands, changes, says):
    result = bands(make_band(0, 2), make_band(1, 2, **changes))
    assert result.returncode == 1
    assert re.search(says, result.stderr), result.stderr


def test_bands_need_a_folder(capsys):
    with pytest.raises(SystemExit) as exit:
        cli.main(["run", "--bands", "0000"])
    assert exit.value.code == 2 and "--folder" in capsys.readouterr().err


def test_targets_may_stand_on_both_sides_of_a_flag(make_band, tmp_path, dora_dir):
    first, second = make_band(0, 2), make_band(1, 2)
    result = command("run", first, "--bands", second, "--dora-dir", dora_dir, "--folder", "mbd", cwd=tmp_path)
    assert result.returncode == 0 and load(tmp_path / "mbd" / FILE)["n_bands"] == 2
    result = command("run", first, "--dora-dir", dora_dir, second, "--no-such", "x", cwd=tmp_path)
    assert result.returncode == 2 and "unknown option '--no-such'" in result.stderr


def test_a_release_of_bands_cannot_be_exported_again(make_band, bands, tmp_path):
    assert bands(make_band(0, 1)).returncode == 0
    with pytest.raises(ExportError, match="is a release, not a training checkpoint"):
        export_checkpoint(tmp_path / "mbd" / FILE, tmp_path / "again")


def test_a_band_loses_the_prefixes_of_wrappers_also_in_its_processor(make_xp, dora_dir):
    make_xp(**{"xp.cfg": OmegaConf.create(DIFFUSION), "best_state": {"model": {"module.w": torch.ones(2)}},
               "sample_processor": {f"_orig_mod.{name}": value for name, value in PROCESSOR.items()}})
    report = export_xp(SIG, dora_dir)
    band = torch.load(report.files[0], weights_only=True)[0]
    assert [*band["model_state"]] == ["w"] and same(band["processor_state"], PROCESSOR)
    assert any("_orig_mod. (torch.compile) from 2 names of sample_processor" in note
               for note in report.manifest.warnings)


def test_a_warning_about_bands_names_no_path(tmp_path):
    paths = []
    for index, size in enumerate((4, 8)):
        cfg = {**DIFFUSION, "n_q": size, "filter": {"use": True, "n_bands": 2, "idx_band": index, "cutoffs": None}}
        paths.append(tmp_path / f"{index}.th")
        torch.save({"xp.cfg": OmegaConf.create(cfg), "model": model_state(index), "sample_processor": PROCESSOR,
                    "best_state": {"model": model_state(index)}, "history": []}, paths[-1])
    warnings = [*notes(*(ReleaseModel.from_checkpoint(open_checkpoint(path), "1.3.0") for path in paths))]
    assert "(band 0: 4, band 1: 8)" in warnings[0] and str(tmp_path) not in "".join(warnings)
