"""Compression models of a few thousand weights with AudioCraft's tensor names."""

import pytest
import torch
import transformers
from omegaconf import OmegaConf

from audiocraft_export.checkpoint.torch_tensors import SolverState
from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.encodec.config import encodec_config
from audiocraft_export.formats.transformers.encodec.convert import ZERO_LSTM_LAYERS, from_encodec
from audiocraft_export.release.content import model_content

CONFIG = {  # as in AudioCraft's config/model/encodec/default.yaml
    "compression_model": "encodec", "sample_rate": 16000, "channels": 1,
    "encodec": {"autoencoder": "seanet", "quantizer": "rvq", "sample_rate": "${sample_rate}",
                "channels": "${channels}", "causal": False, "renormalize": False},
    "seanet": {"dimension": 4, "channels": "${channels}", "causal": "${encodec.causal}", "n_filters": 2,
               "n_residual_layers": 1, "ratios": [4, 2], "activation": "ELU", "activation_params": {"alpha": 1.0},
               "norm": "weight_norm", "norm_params": {}, "kernel_size": 7, "residual_kernel_size": 3,
               "last_kernel_size": 7, "dilation_base": 2, "pad_mode": "constant", "true_skip": True, "compress": 2,
               "lstm": 1, "disable_norm_outer_blocks": 0,
               "decoder": {"trim_right_ratio": 1.0, "final_activation": None, "final_activation_params": None},
               "encoder": {}},
    "rvq": {"n_q": 2, "q_dropout": False, "bins": 8, "decay": 0.99, "kmeans_init": True, "kmeans_iters": 50,
            "threshold_ema_dead_code": 2, "orthogonal_reg_weight": 0.0, "orthogonal_reg_active_codes_only": False},
}


def config_with(*changes):
    return Config(OmegaConf.to_container(OmegaConf.merge(CONFIG, OmegaConf.from_dotlist(list(changes)))))


def content_with(*changes):
    """Build a codec with the weights of an EncodecModel of this configuration, under AudioCraft's names."""
    config = config_with(*changes)
    values = encodec_config(config)
    torch.manual_seed(0)
    model = transformers.EncodecModel(transformers.EncodecConfig(
        **{**values, "num_lstm_layers": values["num_lstm_layers"] or ZERO_LSTM_LAYERS}))
    if not values["num_lstm_layers"]:
        model.load_state_dict({name: torch.zeros_like(tensor) for name, tensor in model.state_dict().items()
                               if ".lstm." in name}, strict=False)
    state = from_encodec(SolverState({"model": model})["model"], config)
    return model_content(state, config.text, "1.3.0")


def refused(*changes):
    with pytest.raises(CheckpointError) as failure:
        encodec_config(config_with(*changes))
    return str(failure.value)
