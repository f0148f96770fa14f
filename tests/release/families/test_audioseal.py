"""AudioSeal: generator and detector in separate files."""

import pytest
import torch
from helpers import AUDIOSEAL, SIG, load, model_state, same
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp, inspect
from audiocraft_export.release.families.audioseal import name_of


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


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_its_configuration_is_found_beside_its_weights(make_watermark, dora_dir, format):
    found = inspect(export_xp(make_watermark(), dora_dir, format=format).folder)
    assert found.keys()["seanet.dimension"] == "32"


def test_a_watermarking_model_with_other_weights_or_no_configuration_of_it_is_refused(make_watermark, dora_dir):
    generator, detector = {"generator.a": torch.ones(1)}, {"detector.a": torch.ones(1)}
    for state, why in (({**generator, **detector, "head.weight": torch.ones(1)}, "not an AudioSeal model: expected"),
                       (generator, "not an AudioSeal model: expected"),
                       ({"generator": generator, "detector": detector}, r"parts \(generator, detector\)")):
        with pytest.raises(ExportError, match=why):
            export_xp(make_watermark(state=state), dora_dir)
    with pytest.raises(ExportError, match="`seanet` of the configuration"):
        export_xp(make_watermark(seanet={"dimension": "${nowhere}"}), dora_dir)


def test_a_signature_that_is_not_a_valid_file_name_is_replaced(make_xp, tmp_path, dora_dir):
    state = {"generator.a": torch.ones(1), "detector.a": torch.ones(1)}
    folder = make_xp(**{"xp.cfg": OmegaConf.create(AUDIOSEAL), "best_state": {"model": state}, "xp.sig": "../../evil"})
    report = export_checkpoint(folder / "checkpoint.th", tmp_path / "release")
    assert [path.name for path in report.files] == ["generator_model.pth", "detector_model.pth", "model.yaml"]


@pytest.mark.parametrize(("sig", "name"), [(SIG, SIG), (None, "model"), ("../evil", "model"), ("", "model")])
def test_files_are_named_by_a_valid_signature(sig, name):
    assert name_of(sig) == name
