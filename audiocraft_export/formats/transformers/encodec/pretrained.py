"""A codec that is only a name in AudioCraft (`//pretrained/facebook/encodec_32khz`), as transformers has it."""

from __future__ import annotations

import json
from typing import Any

from ....checkpoint.torch_tensors import from_torch
from ....errors import CheckpointError, ReleaseError, listing
from ..model_files import USE, Parts, as_json
from .convert import ARCHITECTURE, feature_extractor

OTHERS = {  # the names that `audiocraft.models.CompressionModel.get_pretrained` does not look up on the hub
    "debug_compression_model": "it has random weights, new ones each time it is built",
    "dac_44khz": "it is a Descript Audio Codec of the package dac, and no EncodecModel",
    "dac_24khz": "it is a Descript Audio Codec of the package dac, and no EncodecModel",
}


def public_encodec(name: str) -> Parts:
    """A public codec in the form of transformers, from its cache, or else from the hub; nothing in it is changed.

    Args:
        name: of a model on the hub.

    Raises:
        CheckpointError: if it is no EncodecModel.
        ReleaseError: if it cannot be had here.
    """
    if name in OTHERS:
        raise CheckpointError(f"The codec {name} has no place in transformers ({OTHERS[name]}): {USE}")
    model = _loaded(name)
    config = json.loads(model.config.to_json_string(use_diff=False))
    return Parts(ARCHITECTURE, from_torch(model.state_dict()), {"config.json": as_json(config),
                                         "preprocessor_config.json": as_json(feature_extractor(config))})


def _loaded(name: str) -> Any:
    try:
        return _from(name, local_files_only=True)  # which a training on it has used: no hub is asked
    except OSError:
        pass
    try:
        return _from(name)
    except OSError as exc:
        raise ReleaseError(f"The codec {name} cannot be had from the cache of transformers or from the hub "
                           f"({_said(exc)}): let this machine reach the hub once, or {USE}") from exc


def _from(name: str, **options: Any) -> Any:
    from transformers import AutoConfig

    from ..loading import load_strictly
    try:
        kind = AutoConfig.from_pretrained(name, **options).model_type
        if kind != "encodec":
            raise CheckpointError(f"The codec {name} is a model of another type ({kind}), no {ARCHITECTURE}: {USE}")
        model, wrong = load_strictly(ARCHITECTURE, name, dtype="auto", **options)
    except ValueError as exc:  # a type that transformers does not know, a configuration that builds nothing
        raise CheckpointError(f"The codec {name} is no {ARCHITECTURE} ({_said(exc)}): {USE}") from exc
    if wrong:
        raise CheckpointError(f"The codec {name} has other weights than an {ARCHITECTURE} has ({listing(wrong)}): "
                              f"{USE}")
    return model


def _said(exc: Exception) -> str:
    """The first sentence of what transformers says."""
    return " ".join(str(exc).split()).split(". ")[0].rstrip(".")
