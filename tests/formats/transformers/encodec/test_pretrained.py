"""Load public compression models by name."""

import json
import os
import subprocess
import sys

import pytest
import transformers

from audiocraft_export.checkpoint.torch_tensors import SolverState
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.encodec.pretrained import NOT_ON_THE_HUB, pretrained_encodec

PUBLIC = """
import sys, json
from hashlib import sha256
from audiocraft_export.errors import ExportError
from audiocraft_export.formats.transformers.encodec.pretrained import pretrained_encodec
for name in sys.argv[1:]:
    try:
        parts = pretrained_encodec(name)
        print(json.dumps({"sha": {key: sha256(each.own_bytes.read_checked()).hexdigest() for key, each in
                                  parts.tensors.items()}, "files": parts.files}))
    except ExportError as exc:
        print(json.dumps(f"{type(exc).__name__}: {exc}"))
"""


def cached(home, name, model):
    """Put a model into the cache of the Hub client."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    model.save_pretrained(folder / "snapshots" / "0123")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123")
    return folder / "snapshots" / "0123"


def test_public_codecs_come_from_the_cache_as_they_are_and_others_are_refused(tmp_path):
    model = transformers.EncodecModel(transformers.EncodecConfig(
        num_filters=2, hidden_size=4, codebook_size=8, upsampling_ratios=[4, 2], target_bandwidths=[12.0, 18.0],
        sampling_rate=8000))
    cached(tmp_path, "somebody/codec", model)
    for name, change in [("somebody/text", ('"encodec"', '"bert"')), ("somebody/broken", ('layers": 2', 'layers": 3'))]:
        path = cached(tmp_path, name, model) / "config.json"
        path.write_text(path.read_text().replace(*change))
    names = ["somebody/codec", "somebody/text", "somebody/broken", "nobody/nothing", "dac_44khz",
             "debug_compression_model"]
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", PUBLIC, *names], text=True, capture_output=True,
                            env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}, check=True)
    codec, *errors = map(json.loads, result.stdout.splitlines())
    state = SolverState({"model": model})["model"]
    assert codec["sha"].keys() == state.keys() and str(tmp_path) not in result.stdout
    assert json.loads(codec["files"]["config.json"])["target_bandwidths"] == [12.0, 18.0]
    assert json.loads(codec["files"]["preprocessor_config.json"])["sampling_rate"] == 8000
    assert errors[0].startswith("CheckpointError: The codec somebody/text has the model type bert, expected encodec")
    assert "CheckpointError: The weights of the codec somebody/broken do not match an EncodecModel" in errors[1]
    assert errors[2].startswith("ReleaseError: The codec nobody/nothing is not in the Hugging Face cache")
    assert "Descript Audio Codec" in errors[3] and "random weights" in errors[4]
    assert all(error.endswith("se format=safetensors or format=audiocraft.") for error in errors)


@pytest.mark.parametrize("name", NOT_ON_THE_HUB)
def test_a_name_that_is_not_on_the_hub_is_refused_with_its_reason(name):
    with pytest.raises(CheckpointError, match=f"transformers does not support the codec {name}: it "):
        pretrained_encodec(name)
