"""The LSTM of zeros in a codec without one."""

from dataclasses import replace

import pytest
import torch
import transformers

from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.encodec.config import encodec_config
from audiocraft_export.formats.transformers.encodec.convert import (
    ZERO_LSTM_LAYERS,
    from_encodec,
    to_encodec,
    zero_lstm,
)
from audiocraft_export.storage.lazy_bytes import LazyBytes

from .scene import config_with, content_with


def test_an_lstm_of_zeros_changes_nothing():
    from transformers.models.encodec.modeling_encodec import EncodecLSTM
    values = {**encodec_config(config_with("seanet.lstm=0")), "num_lstm_layers": ZERO_LSTM_LAYERS}
    layer = EncodecLSTM(transformers.EncodecConfig(**values), 8)
    zeros = {name.split(".")[-1]: torch.frombuffer(bytearray(tensor.own_bytes.read_checked()), dtype=torch.float32)
             .reshape(tensor.shape) for name, tensor in zero_lstm(values, "float32").items()}
    layer.lstm.load_state_dict({name: zeros[name] for name in layer.lstm.state_dict()})
    sound = torch.randn(2, 8, 100)
    assert torch.equal(layer(sound), sound)


def test_an_lstm_that_was_trained_later_has_no_way_back():
    parts = to_encodec(content_with("seanet.lstm=0"))
    name = "decoder.layers.1.lstm.bias_hh_l0"
    trained = replace(parts.tensors[name], blob=LazyBytes.from_data(bytes(32 * 4 - 1) + b"\1"))
    with pytest.raises(CheckpointError, match=f"no LSTM .seanet.lstm=0., but {name} is not zero"):
        from_encodec({**parts.tensors, name: trained}, config_with("seanet.lstm=0"))
