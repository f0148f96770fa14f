"""Compare two codecs, with an EncodecModel instead of AudioCraft's; tests/audiocraft has real ones."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file

from audiocraft_export.checkpoint.torch_tensors import to_torch
from audiocraft_export.errors import ReleaseError
from audiocraft_export.formats.transformers.encodec.convert import to_encodec
from audiocraft_export.formats.transformers.encodec.verify import compare_codecs, load_transformers_codec, waveforms

from .scene import content_with


class AudioCraft:
    """An EncodecModel with the methods of AudioCraft's compression model."""

    def __init__(self, model):
        self.model, self.sample_rate, self.channels = model, model.config.sampling_rate, model.config.audio_channels

    def encode(self, sound):
        codes, scales, _ = self.model.encode(sound, return_dict=False)
        return codes[0], scales

    def decode(self, codes, scales):
        return self.model.decode(codes[None], scales, return_dict=False)[0]


@pytest.fixture
def folder(tmp_path):
    converted = to_encodec(content_with())
    save_file({name: to_torch(tensor) for name, tensor in converted.tensors.items()}, tmp_path / "model.safetensors",
              {"format": "pt"})
    for name, text in converted.files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_equal_codecs_agree(folder):
    model = load_transformers_codec(folder)
    agreement = compare_codecs(AudioCraft(model), model)
    frames = -(-waveforms(16000, 1).shape[-1] // 8)
    assert (agreement.codes, agreement.audio) == (2 * 2 * frames, 0)


@pytest.mark.parametrize(("name", "says"), [
    ("quantizer.layers.0.codebook.embed", r"codes differ|decoded samples differ"),
    ("decoder.layers.9.conv.bias", r"decoded samples differ by up to 1 \(tolerance 0.0001\)")])
def test_other_weights_are_reported_with_numbers(folder, name, says):
    model = load_transformers_codec(folder)
    other = copy.deepcopy(model)
    other.state_dict()[name].add_(1)
    with pytest.raises(ReleaseError, match=f"does not reproduce AudioCraft's codec: .*{says}"):
        compare_codecs(AudioCraft(model), other)


def test_errors_of_both_libraries_are_reported_in_one_line(folder):
    model = load_transformers_codec(folder)
    theirs = AudioCraft(model)
    theirs.decode = None
    with pytest.raises(ReleaseError, match=r"AudioCraft's codec: TypeError: 'NoneType' object is not callable\."):
        compare_codecs(theirs, model)


def test_a_folder_that_transformers_does_not_load_is_reported(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_lstm_layers": 2}))
    with pytest.raises(ReleaseError, match=r"does not load in transformers .*missing keys decoder\.layers\.1\.lstm"):
        load_transformers_codec(folder)


def test_the_sound_is_the_same_each_time():
    assert torch.equal(waveforms(8000, 2), waveforms(8000, 2)) and waveforms(8000, 2).shape == (2, 2, 9142)
