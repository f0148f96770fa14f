"""Train a MusicGen with its own T5 and codec, release it for transformers by the hook, and verify it."""

import pytest
import recipes
import small_models
import torch
from conftest import heard, stored

from audiocraft_export import ExportError, ExportOptions, export_checkpoint

CODEC = ["transformer_lm.n_q=4", "transformer_lm.card=256"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    small_models.text_encoder(cache / "hub")
    with pytest.MonkeyPatch.context() as patch:
        small_models.use(cache, patch)
        yield {"HF_HUB_CACHE": str(cache / "hub"), "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def musicgen(place, cache, encodec):
    recipe = [word for word in recipes.MUSICGEN_ON if "conditioners." not in word]
    return place.train([*recipe, *CODEC, "conditioners.description.t5.name=t5-small",
                        f"compression_model_checkpoint=//sig/{encodec.name}"],
                       "export=true", "exporter=transformers", "exporter.verify=load", "exporter.scrub=public", **cache)


def test_transformers_loads_the_release_of_the_hook(musicgen):
    from transformers import AutoProcessor, MusicgenForConditionalGeneration
    _, info = MusicgenForConditionalGeneration.from_pretrained(musicgen / "export", output_loading_info=True)
    assert not any(info.values()) and AutoProcessor.from_pretrained(musicgen / "export").tokenizer("happy rock")
    made = heard(musicgen / "export")
    assert made["sample_rate"] == 32000 and made["audio"].shape[:2] == (1, 1) and made["audio"].isfinite().all()


def test_a_codec_is_released_for_transformers_and_its_card_runs(encodec, tmp_path):
    options = ExportOptions(format="transformers", verify="load")
    report = export_checkpoint(encodec / "checkpoint.th", tmp_path / "release", options)
    assert heard(report.folder)["codes"].shape[-2] == 4


def test_unsupported_values_are_refused_by_name(encodec, tmp_path):
    state = stored(encodec)
    state["best_state"]["model"]["_extra_state"] = 3
    torch.save(state, tmp_path / "checkpoint.th")
    with pytest.raises(ExportError, match=r"has other values: _extra_state.*format=safetensors"):
        export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "release", ExportOptions(format="transformers"))


def test_only_files_that_transformers_does_not_read_may_be_in_a_release_folder(encodec, tmp_path):
    from safetensors.torch import save_file
    options = ExportOptions(format="transformers", verify="load", card=False, max_shard_size="200KB")
    report = export_checkpoint(encodec / "checkpoint.th", tmp_path / "release", options)
    assert len([*report.folder.glob("model-*-of-*.safetensors")]) > 1
    save_file({"mine": torch.ones(2)}, report.folder / "mine.safetensors")
    assert not export_checkpoint(encodec / "checkpoint.th", tmp_path / "release", options).written
    (report.folder / "mine.safetensors").rename(report.folder / "model-mine.safetensors")
    with pytest.raises(ExportError, match="does not belong to the release, but a loader would read it"):
        export_checkpoint(encodec / "checkpoint.th", tmp_path / "release", options)


def test_the_command_proves_what_was_released_and_compares_it_with_its_checkpoint(place, cache, musicgen):
    against = ["--against", musicgen.name, "--dora-dir", place.dora_dir]
    result = place.python("-m", "audiocraft_export", "verify", musicgen / "export", "--load", *against, **cache)
    assert result.stdout.count(": intact") == len([*(musicgen / "export").iterdir()]) - 2  # the card and its plot
    assert "Loading weights" not in result.stderr


def test_it_is_exported_once(place, cache, musicgen):
    again = ["--format", "transformers", "--scrub", "public", "--dora-dir", place.dora_dir]
    result = place.python("-m", "audiocraft_export", "run", musicgen.name, *again, **cache)
    assert "already exported" in result.stdout, result.stdout + result.stderr
