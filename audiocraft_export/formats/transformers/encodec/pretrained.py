"""Load a public compression model that AudioCraft refers to by name (`//pretrained/facebook/encodec_32khz`)."""

import json
from typing import Any

from ....checkpoint.torch_tensors import from_torch
from ....errors import CheckpointError, ReleaseError, listing
from ..model_files import USE, ModelFiles
from .convert import ARCHITECTURE, encodec_config_files

NOT_ON_THE_HUB = {  # names that `audiocraft.models.CompressionModel.get_pretrained` does not look up on the Hub
    "debug_compression_model": "it has new random weights each time it is built",
    **dict.fromkeys(("dac_44khz", "dac_24khz"), "it is a Descript Audio Codec of the package dac"),
}


def pretrained_encodec(name: str) -> ModelFiles:
    """Load a public compression model from the local cache or the Hub, unchanged.

    Raises:
        CheckpointError: if the model is not an EncodecModel.
        ReleaseError: if the model is neither in the cache nor can be downloaded.
    """
    if name in NOT_ON_THE_HUB:
        raise CheckpointError("unsupported-by-transformers", f"transformers does not support the codec {name}: "
                              f"{NOT_ON_THE_HUB[name]}", USE)
    from ..loading import load_cache_first
    try:
        model = load_cache_first(_load, name)
    except OSError as exc:
        raise ReleaseError("pretrained-unavailable", f"The codec {name} is not in the Hugging Face cache and cannot be "
                           f"downloaded: {_first_sentence(exc)}", "export where it is in the cache (HF_HOME) or where "
                           f"the Hub can be reached, or {USE}") from exc
    config = json.loads(model.config.to_json_string(use_diff=False))
    return ModelFiles(ARCHITECTURE, from_torch(model.state_dict()), encodec_config_files(config))


def _load(name: str, **options: Any) -> Any:
    from transformers import AutoConfig

    from ..loading import load_strictly
    try:
        kind = AutoConfig.from_pretrained(name, **options).model_type
        if kind != "encodec":
            raise CheckpointError("unsupported-by-transformers",
                                  f"The codec {name} has the model type {kind}, expected encodec", USE)
        model, wrong = load_strictly(ARCHITECTURE, name, dtype="auto", **options)
    except ValueError as exc:  # an unknown model type, or an invalid configuration
        raise CheckpointError("unsupported-by-transformers", f"The codec {name} cannot be loaded as an {ARCHITECTURE}: "
                              f"{_first_sentence(exc)}", USE) from exc
    if wrong:
        raise CheckpointError("unsupported-by-transformers", f"The weights of the codec {name} do not match an "
                              f"{ARCHITECTURE}: {listing(wrong)}", USE)
    return model


def _first_sentence(exc: Exception) -> str:
    return " ".join(str(exc).split()).split(". ")[0].rstrip(".")
