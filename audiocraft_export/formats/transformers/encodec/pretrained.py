"""A public compression model that AudioCraft refers to by name (`//pretrained/facebook/encodec_32khz`)."""

import json
from typing import Any

from ....checkpoint.torch_tensors import from_torch
from ....errors import CheckpointError, ReleaseError, listing
from ..model_files import USE, ModelFiles
from .convert import ARCHITECTURE, encodec_config_files

NOT_ON_THE_HUB = {  # the names that `audiocraft.models.CompressionModel.get_pretrained` does not look up there
    "debug_compression_model": "it has random weights, new ones each time it is built",
    **dict.fromkeys(("dac_44khz", "dac_24khz"), "it is a Descript Audio Codec of the package dac, and no EncodecModel"),
}


def pretrained_encodec(name: str) -> ModelFiles:
    """Load a public compression model from the local cache or the Hub, unchanged.

    Raises:
        CheckpointError: if it is not an EncodecModel.
        ReleaseError: if it is neither in the cache nor on the Hub.
    """
    if name in NOT_ON_THE_HUB:
        raise CheckpointError(f"The codec {name} has no place in transformers ({NOT_ON_THE_HUB[name]}): {USE}")
    from ..loading import load_cache_first
    try:
        model = load_cache_first(_load, name)
    except OSError as exc:
        raise ReleaseError(f"The codec {name} cannot be had from the cache of transformers or from the hub "
                           f"({_first_sentence(exc)}): let this machine reach the hub once, or {USE}") from exc
    config = json.loads(model.config.to_json_string(use_diff=False))
    return ModelFiles(ARCHITECTURE, from_torch(model.state_dict()), encodec_config_files(config))


def _load(name: str, **options: Any) -> Any:
    from transformers import AutoConfig

    from ..loading import load_strictly
    try:
        kind = AutoConfig.from_pretrained(name, **options).model_type
        if kind != "encodec":
            raise CheckpointError(f"The codec {name} is a model of another type ({kind}), no {ARCHITECTURE}: {USE}")
        model, wrong = load_strictly(ARCHITECTURE, name, dtype="auto", **options)
    except ValueError as exc:  # a type that transformers does not know, or an invalid configuration
        raise CheckpointError(f"The codec {name} is no {ARCHITECTURE} ({_first_sentence(exc)}): {USE}") from exc
    if wrong:
        raise CheckpointError(f"The codec {name} has other weights than an {ARCHITECTURE} has ({listing(wrong)}): "
                              f"{USE}")
    return model


def _first_sentence(exc: Exception) -> str:
    return " ".join(str(exc).split()).split(". ")[0].rstrip(".")
