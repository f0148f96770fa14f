"""What is released of a checkpoint, in no format yet."""

import pytest
from helpers import SIG, load, model_state, same, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.release.prepare import prepare


@pytest.mark.parametrize("name", ["3", 3, "mine"])
def test_another_checkpoint_of_the_xp_can_be_chosen(make_xp, dora_dir, name):
    make_xp()
    make_xp(name=f"checkpoint_{name}.th", best_state={"model": model_state(8)})
    report = export_xp(SIG, dora_dir, ExportOptions(checkpoint=name))
    assert same(load(report.files[0])["best_state"], model_state(8))


@pytest.mark.parametrize(("codec", "names"), [
    ("auto", ["state_dict.bin", "compression_state_dict.bin"]), ("none", ["state_dict.bin"])])
def test_what_is_prepared_has_its_files_and_its_manifest_and_nothing_is_written(make_xp, codec, names):
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/facebook/encodec_32khz")
    folder = make_xp(**{"xp.cfg": cfg})
    prepared = prepare(open_checkpoint(folder / "checkpoint.th"), folder, ExportOptions(codec=codec))
    assert list(prepared.contents) == names and (prepared.codec is None) == (codec == "none")
    assert prepared.manifest.files == [] and [model.checkpoint.sig for model in prepared.models] == [SIG]
    assert [path.name for path in folder.iterdir()] == ["checkpoint.th"]
