"""A language model that AudioCraft trained, as a MusicGen of transformers, and back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Optional, Union

from ..config import Config
from ..errors import CheckpointError, listing
from ..model import Model
from ..tensor import Tensor
from .built import check_shapes
from .constant import constant
from .generation import decoder_config, generation_config
from .layout import DECODER_ALONE, MELODY_MODEL, TEXT_MODEL, Layout, layout_of
from .maps import AUDIO_ENCODER, NO_CROSS, TEXT_ENCODER, kept_beside, key_map, tied
from .melody import chroma_config, chroma_extractor
from .parts import Parts
from .text import TextEncoder, as_json, text_encoder

Tensors = dict[str, Tensor]
Files = dict[str, Union[str, bytes]]
MODEL_TYPES = {TEXT_MODEL: "musicgen", MELODY_MODEL: "musicgen_melody", DECODER_ALONE: "musicgen_decoder"}


def musicgen(model: Model, codec: Optional[Parts] = None) -> Parts:
    """A language model in the form of transformers.

    Args:
        model: as it is released.
        codec: the compression model beside it, in the form of transformers; only a decoder alone needs none.

    Raises:
        CheckpointError: if transformers cannot represent it, or its text encoder cannot be had.
    """
    layout = layout_of(model.config)
    if codec is None and layout.architecture != DECODER_ALONE:
        raise CheckpointError(f"transformers' {layout.architecture} has its compression model inside, and there is "
                              "none here that it could be given: use codec=auto with one that was trained or exported "
                              "here, or format=safetensors.")
    encoder = text_encoder(_t5(model.config, layout)) if layout.text else None
    tensors, others = _renamed(model.weights.tensors, layout)
    dtype = next(iter(tensors.values())).dtype
    values = _config(model.config, layout, encoder, codec, dtype)
    tensors = {**_own_encoder(encoder, layout), **tensors}
    if layout.architecture == DECODER_ALONE and not layout.cross:
        tensors.update(_without_cross(values, dtype))
    check_shapes(layout.architecture, values, {**tensors, **_of_codec(codec, layout)})
    return Parts(layout.architecture, {**tensors, **_of_codec(codec, layout)},
                 _files(model.config, layout, values, encoder, codec), others)


def audiocraft_state(tensors: Mapping[str, Tensor], others: Mapping[str, Tensor], config: Config) -> Tensors:
    """The weights of a language model by the names of AudioCraft, as `musicgen` was given them.

    Args:
        tensors: by the names of transformers; those of a codec, and of a T5 that was not trained, are passed over.
        others: by AudioCraft's names, from beside them.
        config: of the experiment (xp.cfg).

    Raises:
        CheckpointError: if they are not those of such a model.
    """
    layout = layout_of(config)
    passed = (AUDIO_ENCODER,) if layout.finetuned else (AUDIO_ENCODER, TEXT_ENCODER)
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(passed)}
    if layout.architecture == DECODER_ALONE and not layout.cross:
        own = _left_out(own)
    state = {**key_map(layout, layout.fused).to_audiocraft(own), **others}
    if layout.finetuned:
        second, first = tied(layout)
        state[second] = state[first]
    return state


def _renamed(tensors: Mapping[str, Tensor], layout: Layout) -> tuple[Tensors, Tensors]:
    """Tensors by the names of transformers, and those that it has no place for."""
    beside = kept_beside(layout)
    others = {name: tensor for name, tensor in tensors.items() if name.startswith(beside)}
    own = {name: tensor for name, tensor in tensors.items() if name not in others}
    if layout.finetuned:
        _drop_second_name(own, *tied(layout))
    fused = not any(".mha." in name for name in own)
    return key_map(layout, fused).to_transformers(own), others


def _drop_second_name(tensors: Tensors, second: str, first: str) -> None:
    dropped, kept = tensors.pop(second, None), tensors.get(first)
    if dropped and kept and dropped.blob is not kept.blob and _bytes(dropped) != _bytes(kept):
        raise CheckpointError(f"{second} and {first} are the same tensor in T5, and not the same here: use "
                              "format=safetensors, or format=audiocraft.")


def _bytes(tensor: Tensor) -> bytes:
    return b"".join(tensor.own_bytes.checked_pieces())


def _own_encoder(encoder: Optional[TextEncoder], layout: Layout) -> Tensors:
    """The text encoder as it was downloaded, if the training left it so."""
    if encoder is None or layout.finetuned:
        return {}
    return {TEXT_ENCODER + name: tensor for name, tensor in encoder.tensors.items()}


def _of_codec(codec: Optional[Parts], layout: Layout) -> Tensors:
    if codec is None or layout.architecture == DECODER_ALONE:
        return {}
    return {AUDIO_ENCODER + name: tensor for name, tensor in codec.tensors.items()}


def _without_cross(values: Mapping[str, Any], dtype: str) -> Tensors:
    """What the layers of transformers have, and those of a model without cross attention do not."""
    size = values["hidden_size"]
    return {name: constant(value, dtype, (size,) if "norm" in name else (size, size), name)
            for pattern, value in NO_CROSS.items()
            for name in (pattern.replace("*", str(layer)) for layer in range(values["num_hidden_layers"]))}


def _left_out(tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors of a model without cross attention, without those that transformers has instead."""
    filled = {name: NO_CROSS[pattern] for name in tensors
              if (pattern := re.sub(r"layers\.\d+\.", "layers.*.", name)) in NO_CROSS}
    changed = [name for name, value in filled.items()
               if _bytes(tensors[name]) != _bytes(constant(value, tensors[name].dtype, tensors[name].shape, name))]
    if changed:
        raise CheckpointError(f"AudioCraft's model has no cross attention, and {listing(changed)} has got weights: it "
                              "was trained further in transformers, and stays there.")
    return {name: tensor for name, tensor in tensors.items() if name not in filled}


def _t5(config: Config, layout: Layout) -> str:
    return str(config.get(f"conditioners.{layout.text}.t5.name"))


def _config(config: Config, layout: Layout, encoder: Optional[TextEncoder], codec: Optional[Parts],
            dtype: str) -> dict[str, Any]:
    """The values of config.json."""
    about = {"architectures": [layout.architecture], "model_type": MODEL_TYPES[layout.architecture], "dtype": dtype}
    decoder = decoder_config(config)
    if encoder is None or codec is None:
        return {**about, **decoder}
    chroma = chroma_config(config, layout.melody) if layout.melody else {}
    kind = "musicgen_melody_decoder" if layout.melody else "musicgen_decoder"
    return {**about, **chroma, "is_encoder_decoder": True, "text_encoder": encoder.config,
            "audio_encoder": _codec_config(codec), "decoder": {**decoder, "model_type": kind}}


def _codec_config(codec: Parts) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(codec.files["config.json"])
    return values


def _files(config: Config, layout: Layout, values: Mapping[str, Any], encoder: Optional[TextEncoder],
           codec: Optional[Parts]) -> Files:
    generation = generation_config(config, layout, codec and _codec_config(codec))
    files: Files = {"config.json": as_json(values), "generation_config.json": as_json(generation)}
    if encoder and codec:
        extractor = chroma_extractor(config, layout.melody) if layout.melody else _codec_extractor(codec)
        files.update({"preprocessor_config.json": as_json(extractor), **encoder.files})
    return files


def _codec_extractor(codec: Parts) -> dict[str, Any]:
    """The feature extractor of the codec as that of a MusicGen, which goes on where the audio ends."""
    values: dict[str, Any] = json.loads(codec.files["preprocessor_config.json"])
    return {**values, "processor_class": "MusicgenProcessor", "padding_side": "left"}
