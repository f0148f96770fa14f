"""A codec that is only a name in AudioCraft (`//pretrained/facebook/encodec_32khz`), as transformers has it."""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError, ReleaseError, listing
from ..memory import LivingState
from ..tensor import Tensor
from .encodec import ARCHITECTURE, as_json, feature_extractor
from .parts import Parts
from .quiet import quiet

OTHERS = {  # the names that `audiocraft.models.CompressionModel.get_pretrained` does not look up on the hub
    "debug_compression_model": "it has random weights, new ones each time it is built",
    "dac_44khz": "it is a Descript Audio Codec of the package `dac`, and no EncodecModel",
    "dac_24khz": "it is a Descript Audio Codec of the package `dac`, and no EncodecModel",
}


def public_encodec(name: str) -> Parts:
    """A public codec in the form of transformers, from its cache or from the hub; nothing in it is changed.

    Args:
        name: of a model on the hub.

    Raises:
        CheckpointError: if it is no EncodecModel.
        ReleaseError: if it cannot be had here.
    """
    if name in OTHERS:
        raise CheckpointError(f"The codec {name} has no place in transformers ({OTHERS[name]}): leave it out "
                              "(codec=none), or use format=safetensors, or format=audiocraft.")
    import torch
    with quiet(), torch.random.fork_rng(devices=[]):  # a training may go on after this
        model = _loaded(name)
    tensors: dict[str, Tensor] = LivingState({"model": model})["model"]
    config = model.config.to_dict()
    return Parts(ARCHITECTURE, tensors, {"config.json": as_json(config),
                                         "preprocessor_config.json": as_json(feature_extractor(config))})


def _loaded(name: str) -> Any:
    from transformers import AutoConfig, EncodecModel
    try:
        config = AutoConfig.from_pretrained(name)
        if config.model_type != "encodec":
            raise CheckpointError(f"The codec {name} is a model of another type ({config.model_type}), no "
                                  f"{ARCHITECTURE}: leave it out (codec=none), or use format=audiocraft.")
        model, info = EncodecModel.from_pretrained(name, dtype="auto", output_loading_info=True)
    except (OSError, ValueError) as exc:  # no network, no such model, not what transformers knows
        raise ReleaseError(f"The codec {name} cannot be had from transformers' cache or the hub ({_said(exc)}): let "
                           "this machine reach the hub once, or leave the codec out (codec=none), or use "
                           "format=audiocraft, which needs its name only.") from exc
    wrong = [f"{kind.replace('_', ' ')} {each}" for kind, names in info.items() for each in names]
    if wrong:
        raise CheckpointError(f"The codec {name} has not the weights of an {ARCHITECTURE} ({listing(wrong)}): leave it "
                              "out (codec=none), or use format=audiocraft.")
    return model


def _said(exc: Exception) -> str:
    return " ".join(str(exc).split()).rstrip(".")
