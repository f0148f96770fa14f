"""The model of a release: four keys, and the same bytes on every machine."""

import torch
from helpers import SIG, load, model_state, same, solver_state, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportOptions, export_checkpoint, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.release.model import ReleaseModel


def test_release_has_the_four_keys_and_nothing_else(make_xp, dora_dir):
    make_xp()
    package = load(export_xp(SIG, dora_dir, ExportOptions(version="1.3.0")).files[0])
    assert list(package) == ["best_state", "xp.cfg", "version", "exported"]
    assert package["version"] == "1.3.0"
    assert package["exported"] is True
    assert package["xp.cfg"] == OmegaConf.to_yaml(solver_state()["xp.cfg"])


def test_configuration_stays_unresolved_and_loses_only_our_keys(make_xp, dora_dir, monkeypatch):
    monkeypatch.setenv("SECRET", "hunter2")
    cfg = with_cfg(key="${oc.env:SECRET}", export=True, exporter={"weights": "best"}, missing="???", none=None)
    make_xp(**{"xp.cfg": cfg})
    report = export_xp(SIG, dora_dir)
    text = load(report.files[0])["xp.cfg"]
    plain = OmegaConf.to_container(cfg, resolve=False)
    del plain["export"], plain["exporter"]
    assert text == OmegaConf.to_yaml(OmegaConf.create(plain))
    assert "${oc.env:SECRET}" in text
    for path in report.folder.iterdir():
        assert b"hunter2" not in path.read_bytes()


def test_the_same_content_gives_the_same_bytes_wherever_and_whenever(make_xp, dora_dir, tmp_path):
    folder = make_xp()
    first = export_xp(SIG, dora_dir)
    copied = tmp_path / "elsewhere" / "another name.pt"
    copied.parent.mkdir()
    copied.write_bytes((folder / "checkpoint.th").read_bytes())
    second = export_checkpoint(copied, tmp_path / "second")
    assert second.manifest.files == first.manifest.files
    # This checksum is the same for Python 3.9 to 3.13 and torch 2.1 to 2.13: change it only on purpose.
    weights = {"w": torch.arange(6.0).view(2, 3)}
    fixed = make_xp(best_state={"model": weights}, **{"xp.cfg": OmegaConf.create({"a": 1})})
    digest = export_checkpoint(fixed / "checkpoint.th", tmp_path / "fixed",
                               ExportOptions(version="1.3.0")).manifest.files[0].sha256
    assert digest == "09e4dc00c4da9726356b4be968d26d1a2ccc4410a0595e5cd3a1acd6855b7e18"


def test_torch_loads_a_release_memory_mapped(make_xp, dora_dir):
    make_xp()
    state = torch.load(str(export_xp(SIG, dora_dir).files[0]), mmap=True, weights_only=True)["best_state"]
    assert same(state, model_state(3))


def test_the_configuration_of_a_model_is_scrubbed_and_all_of_it_stays_with_the_checkpoint(make_xp):
    model = ReleaseModel.from_checkpoint(open_checkpoint(make_xp() / "checkpoint.th"), "1.3.0", scrub=["optim"])
    assert list(model.content) == ["best_state", "xp.cfg", "version", "exported"]
    assert "optim" not in model.content["xp.cfg"] and model.checkpoint.config.get("optim") is not None
