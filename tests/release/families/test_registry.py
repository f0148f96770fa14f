"""The table of families: what each releases, and that a new one is a line in it."""

from helpers import SIG, load, model_state, same
from omegaconf import OmegaConf

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.families.registry import FAMILIES, Family
from audiocraft_export.verification.release import verify


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


def test_a_new_family_is_one_more_line_in_the_table(make_xp, dora_dir, monkeypatch):
    mine = Family("a model of mine", lambda model: {"mine.bin": {"w": model.weights.state}}, names=("mine.bin",))
    monkeypatch.setitem(FAMILIES, "mine", mine)
    make_xp()
    report = export_xp(SIG, dora_dir)
    assert [path.name for path in report.files] == ["mine.bin"] and same(load(report.files[0])["w"], model_state(3))
