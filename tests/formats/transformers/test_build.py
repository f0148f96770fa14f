"""The files of a release for transformers, and their verification without AudioCraft."""

from dataclasses import replace

import pytest
import torch
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.registry import prepare_release
from audiocraft_export.formats.transformers.build import transformers_files
from audiocraft_export.formats.transformers.model_files import CODEC_CONFIG, CONFIG, OTHERS
from audiocraft_export.release.prepare import prepare
from audiocraft_export.release.status import release_status
from audiocraft_export.verification.against_checkpoint import compare_with_checkpoint

from .encodec.scene import config_with, content_with
from .musicgen.scene import DIM, settings, weights

TABLE = {"condition_provider.conditioners.genre.embed.weight": torch.ones(8, 4),
         "condition_provider.conditioners.genre.output_proj.weight": torch.ones(DIM, 4),
         "condition_provider.conditioners.genre.output_proj.bias": torch.ones(DIM)}


@pytest.fixture
def files_of(make_xp):
    def build(state, cfg, max_shard_size="5GB"):
        folder = make_xp(best_state={"model": state}, **{"xp.cfg": cfg})
        checkpoint = open_checkpoint(folder / "checkpoint.th")
        return transformers_files(prepare(checkpoint, folder, ExportOptions(codec="none")), max_shard_size)
    return build


def test_a_decoder_is_one_file_of_weights_and_its_configurations(files_of):
    files = files_of(weights(), settings("none"))
    assert [*files] == ["model.safetensors", "config.json", "generation_config.json", CONFIG]
    assert files["model.safetensors"].metadata["format"] == "pt" and "transformer_lm:" in files[CONFIG]


def test_a_decoder_alone_is_released_without_its_compression_model(make_xp, dora_dir):
    folder = make_xp(best_state={"model": weights()}, **{"xp.cfg": settings("none")})
    checkpoint = open_checkpoint(folder / "checkpoint.th")
    with pytest.raises(CheckpointError, match="Cannot include the compression model"):
        prepare_release(checkpoint, folder, ExportOptions())
    report = export_xp(SIG, dora_dir, ExportOptions(format="transformers"))
    card = (report.folder / "README.md").read_text()
    assert report.manifest.codec is None and "with the compression model" not in card
    assert release_status(report.folder, folder).options == {"format": "transformers"}
    assert not export_xp(SIG, dora_dir, ExportOptions(format="transformers")).written
    assert not compare_with_checkpoint(report.folder, checkpoint, folder).problems


def test_a_release_that_claims_a_compression_model_which_it_lacks_is_stale(make_xp, dora_dir):
    make_xp(best_state={"model": weights()}, **{"xp.cfg": settings("none")})
    options = ExportOptions(format="transformers")
    report = export_xp(SIG, dora_dir, options)
    text = replace(report.manifest, codec={"pretrained": "facebook/encodec_32khz"}).text
    (report.folder / "export.json").write_text(text)
    again = export_xp(SIG, dora_dir, options)
    assert again.written and again.manifest.codec is None


def test_unmapped_tensors_get_a_separate_file_and_large_models_are_sharded(files_of):
    files = files_of({**TABLE, **weights(cross=True)}, settings("lut"), 20000)
    assert files[OTHERS].tensors.keys() == TABLE.keys()
    assert "model.safetensors.index.json" in files and CODEC_CONFIG not in files
    assert len([name for name in files if name.startswith("model-")]) > 1


def test_values_other_than_tensors_are_refused(files_of):
    with pytest.raises(CheckpointError, match=r"supports only tensors, .*other values: steps\. Use format=safetensors"):
        files_of({**weights(), "steps": 3}, settings("none"))


def test_a_codec_inside_is_needed_and_a_solver_has_to_be_known(files_of):
    with pytest.raises(CheckpointError, match="includes the compression model, but codec=none"):
        files_of(weights(cross=True), settings("text"))
    with pytest.raises(CheckpointError, match="transformers has no MAGNeT"):
        files_of(weights(), settings("none", solver="magnet"))


def test_a_compression_model_is_an_encodec_model(files_of):
    from audiocraft_export.checkpoint.torch_tensors import to_torch
    state = {name: to_torch(tensor) for name, tensor in content_with()["best_state"].items()}
    files = files_of(state, {**config_with().values, "solver": "compression", "compression_model": "encodec"})
    assert [*files] == ["model.safetensors", "config.json", "preprocessor_config.json", CONFIG]
