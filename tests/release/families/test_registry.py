"""The registry of families: their files, and how to add a family."""

import pytest
from helpers import AUDIOSEAL, DIFFUSION, PROCESSOR, SIG, load, model_state, same, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.experiment.config import Config
from audiocraft_export.options import CHOICES
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.families.registry import FAMILIES, GENERAL, Family, family_name
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


HYDRA = "hydra:\n  runtime:\n    choices:\n      solver: {}\n      trainer: mine\n      hydra/env: default\n"


@pytest.mark.parametrize("solver", FAMILIES)
def test_a_solver_that_only_shares_its_name_with_one_of_audiocraft_is_a_general_model(make_xp, dora_dir, solver):
    make_xp(**{"xp.cfg": with_cfg(solver=solver, model={"dim": 3})})
    manifest = export_xp(SIG, dora_dir, ExportOptions(version="1")).manifest
    assert (manifest.solver, manifest.family) == (solver, GENERAL)
    assert [file.name for file in manifest.files] == ["state_dict.bin"] and manifest.codec is None
    note, = manifest.warnings
    assert f"family={solver}" in note and f"--family {solver}" in note


@pytest.mark.parametrize("cfg", [DIFFUSION, AUDIOSEAL, {"solver": "compression", "compression_model": "encodec"},
                                 {"solver": "lm", "compression_model_checkpoint": "//sig/c0dec000"}])
def test_a_solver_of_audiocraft_is_known_by_the_keys_that_mark_it(cfg):
    assert family_name(Config(cfg)) == cfg["solver"] and family_name(Config({**cfg, "solver": "mine"})) == GENERAL
    for mark in FAMILIES[cfg["solver"]].marks:
        assert family_name(Config({key: value for key, value in cfg.items() if key != mark})) == GENERAL


def test_the_family_can_be_chosen(make_xp, dora_dir):
    make_xp(**{"xp.cfg": with_cfg(**{**DIFFUSION, "solver": "mine"}), "sample_processor": PROCESSOR})
    general = export_xp(SIG, dora_dir, ExportOptions(version="1"))
    assert [path.name for path in general.files] == ["state_dict.bin"] and general.manifest.family == GENERAL
    chosen = ExportOptions(version="1", family="diffusion", folder=dora_dir / "chosen")
    report = export_xp(SIG, dora_dir, chosen)
    assert [path.name for path in report.files] == ["diffusion_state_dict.bin"] and not report.manifest.warnings
    assert report.manifest.options["family"] == report.manifest.family == "diffusion"
    assert not export_xp(SIG, dora_dir, chosen).written and verify(report.folder).ok


def test_general_is_a_family_for_a_model_of_audiocraft(make_xp, dora_dir):
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/nowhere0")})
    manifest = export_xp(SIG, dora_dir, ExportOptions(version="1", family=GENERAL)).manifest
    assert manifest.family == GENERAL and manifest.codec is None and not manifest.warnings


@pytest.mark.parametrize(("text", "choice", "solver"), [
    ("${hydra:runtime.choices.solver}", "tagger", "tagger"), ("${hydra:runtime.choices.trainer}", "tagger", "mine"),
    ("${now:%Y}", "tagger", "tagger"), ("my_${hydra:runtime.choices.solver}", "tagger", "my_tagger"),
    ("${hydra:runtime.choices.solver}", None, None)])
def test_a_solver_by_the_choice_of_hydra(make_xp, dora_dir, text, choice, solver):
    folder = make_xp(**{"xp.cfg": with_cfg(solver=text)})
    if choice:
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "hydra.yaml").write_text(HYDRA.format(choice))
    report = export_xp(SIG, dora_dir)
    assert report.manifest.solver == solver and text in load(report.files[0])["xp.cfg"]
    scrubbed = ExportOptions(scrub=["solver"], folder=dora_dir / "scrubbed")
    assert export_xp(SIG, dora_dir, scrubbed).manifest.solver is None


@pytest.mark.parametrize("fsdp", ["${hydra:runtime.choices.fsdp}", {"use": "${hydra:runtime.choices.fsdp}"}])
def test_any_value_may_be_a_choice_of_hydra(make_xp, dora_dir, fsdp):
    folder = make_xp(**{"xp.cfg": OmegaConf.create({"solver": "mine", "fsdp": fsdp})})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "hydra.yaml").write_text("hydra: {runtime: {choices: {fsdp: 'off'}}}")
    assert same(load(export_xp(SIG, dora_dir, ExportOptions(weights="last")).files[0])["best_state"], model_state(1))


def test_a_choice_of_hydra_that_audiocraft_has_needs_its_marks(make_xp, dora_dir):
    folder = make_xp(**{"xp.cfg": with_cfg(solver="${hydra:runtime.choices.solver}", compression_model="encodec")})
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "hydra.yaml").write_text(HYDRA.format("compression"))
    assert [path.name for path in export_xp(SIG, dora_dir).files] == ["compression_state_dict.bin"]


def test_the_option_has_the_names_of_all_families():
    assert CHOICES["family"] == (None, *FAMILIES, GENERAL)
