"""What is refused before anything is made."""

import pytest

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_lm, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.formats import requirements
from audiocraft_export.pipeline.export import plan_export
from audiocraft_export.pipeline.preflight import check_packages


@pytest.mark.parametrize("way", ["{}/checkpoint.th", "{}/new/../checkpoint.th", "{}/../0123abcd/checkpoint.th",
                                 "{}/link"])
def test_a_training_checkpoint_is_never_replaced_by_a_release(make_xp, tmp_path, way):
    xp, other = make_xp(), make_xp("9357e12e")
    for folder in (xp, other):
        (folder / "link").symlink_to(folder / "checkpoint.th")
        before = (folder / "checkpoint.th").read_bytes()
        with pytest.raises(ExportError, match="take the place of the training checkpoint"):
            export_lm(xp / "checkpoint.th", way.format(folder).replace("0123abcd", folder.name))
        (folder / "checkpoint.th").rename(folder / "state_dict.bin")
        with pytest.raises(ExportError, match="holds the training checkpoint state_dict.bin"):
            export_checkpoint(make_xp("11111111") / "checkpoint.th", f"{folder}/new/..")
        (folder / "state_dict.bin").rename(folder / "checkpoint.th")
        assert (folder / "checkpoint.th").read_bytes() == before


@pytest.mark.parametrize(("options", "missing"), [
    (ExportOptions(format="safetensors"), "safetensors"), (ExportOptions(card=True), "matplotlib"),
    (ExportOptions(hub="org/model"), "huggingface_hub")])
def test_a_package_that_is_missing_is_refused_before_anything_is_made(make_xp, dora_dir, monkeypatch, options, missing):
    folder = make_xp()
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=f"needs .*{missing}"):
        check_packages(options)
    with pytest.raises(ExportError, match=missing):
        export_xp(folder.name, dora_dir, options)
    assert [path.name for path in folder.iterdir()] == ["checkpoint.th"]


def test_a_loader_that_is_missing_is_refused_before_anything_is_made(make_xp, dora_dir):
    folder = make_xp()
    with pytest.raises(ExportError, match="none of them"):
        export_xp(folder.name, dora_dir, ExportOptions(verify="load"))
    assert [path.name for path in folder.iterdir()] == ["checkpoint.th"]


@pytest.mark.parametrize("name", ["state_dict.bin", "export.json"])
def test_what_is_no_file_is_never_replaced(make_xp, dora_dir, name):
    folder = make_xp()
    (folder / "export" / name).mkdir(parents=True)
    with pytest.raises(ExportError, match="no file"):
        plan_export(open_checkpoint(folder / "checkpoint.th"), folder, folder / "export", ExportOptions())
    with pytest.raises(ExportError, match="no file"):
        export_xp(folder.name, dora_dir)
    assert [path.name for path in (folder / "export").iterdir()] == [name]


def test_a_file_of_somebody_else_is_refused_before_anything_is_made(make_xp, dora_dir):
    folder = make_xp()
    (folder / "export").mkdir()
    (folder / "export" / "config.yaml").write_text("mine")
    options = ExportOptions(format="safetensors", card=False)
    checkpoint = open_checkpoint(folder / "checkpoint.th")
    with pytest.raises(ExportError, match="no file of a release"):
        plan_export(checkpoint, folder, folder / "export", options)
    with pytest.raises(ExportError, match="no file of a release"):
        export_xp(folder.name, dora_dir, options)
    assert [path.name for path in (folder / "export").iterdir()] == ["config.yaml"]
