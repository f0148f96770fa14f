"""Convert a language model of AudioCraft to a MusicGen of transformers, and back."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Optional

from ....checkpoint.tensor import LazyTensor
from ....errors import CheckpointError
from ....experiment.config import Config
from ....release.model import ReleaseModel
from ..constants import constant, remove_constants
from ..key_map import TensorsByName
from ..model_files import USE, ModelFiles
from ..shapes import check_shapes
from .architecture import DECODER_ALONE, Layout, layout_of
from .configs import check_codec, composite_config, composite_files, decoder_alone_config, musicgen_config_files
from .key_maps import AUDIO_ENCODER, TEXT_ENCODER, musicgen_key_map, tied_names, unmapped_prefixes
from .t5_padding import pad_projection, pad_t5, unpad_projection
from .text_encoder import load_text_encoder

ZERO_CROSS_ATTENTION = {  # value of all elements by tensor name
    **{f"model.decoder.layers.*.encoder_attn.{each}_proj.weight": 0 for each in ("q", "k", "v", "out")},
    "model.decoder.layers.*.encoder_attn_layer_norm.weight": 1,
    "model.decoder.layers.*.encoder_attn_layer_norm.bias": 0,
}


def to_musicgen(model: ReleaseModel, codec: Optional[ModelFiles] = None) -> ModelFiles:
    """Convert a language model to the transformers format.

    Args:
        model: the language model.
        codec: the converted compression model to include; ignored for a decoder without text encoder.

    Raises:
        CheckpointError: if transformers does not support the model, its text encoder cannot be loaded, a codec is
            needed and missing, or a setting comes from the environment.
    """
    model = replace(model, config=model.config.without_environment())
    layout = layout_of(model.config)
    if layout.architecture == DECODER_ALONE:
        return _to_decoder(model, layout)
    if codec is None:
        raise CheckpointError("conflicting-options", f"{layout.architecture} of transformers includes the compression "
                              "model, but codec=none leaves it out",
                              "use codec=auto, format=safetensors or format=audiocraft")
    check_codec(model.config, codec)
    return _to_composite(model, layout, codec)


def from_musicgen(tensors: Mapping[str, LazyTensor], others: Mapping[str, LazyTensor], config: Config) -> TensorsByName:
    """Convert the weights of a MusicGen back to AudioCraft's language model.

    Args:
        tensors: the weights by their names in transformers. Those of the codec, and of a T5 that was not trained, are
            ignored.
        others: the tensors without a counterpart in transformers (`ModelFiles.others`).
        config: the configuration (xp.cfg) of the language model.

    Raises:
        CheckpointError: if the weights do not match the configuration, or were trained further in transformers.
    """
    layout = layout_of(config)
    ignored = (AUDIO_ENCODER,) if layout.finetuned else (AUDIO_ENCODER, TEXT_ENCODER)
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(ignored)}
    if layout.architecture == DECODER_ALONE and not layout.cross:
        own = _remove_zero_cross_attention(own)
    if layout.pads_t5:
        own = unpad_projection(own)
    state = {**musicgen_key_map(layout, layout.fused).to_audiocraft(own), **others}
    if layout.finetuned:
        dropped, kept = tied_names(layout)
        state[dropped] = state[kept]
    return state


def _to_decoder(model: ReleaseModel, layout: Layout) -> ModelFiles:
    tensors, others = _rename(model.weights.tensors, layout)
    values = decoder_alone_config(model.config, next(iter(tensors.values())).dtype)
    if not layout.cross:
        tensors.update(zero_cross_attention(values["num_hidden_layers"], values["hidden_size"], values["dtype"]))
    check_shapes(layout.architecture, values, tensors)
    return ModelFiles(layout.architecture, tensors, musicgen_config_files(model.config, layout, values), others)


def _to_composite(model: ReleaseModel, layout: Layout, codec: ModelFiles) -> ModelFiles:
    encoder = load_text_encoder(str(model.config.get(f"conditioners.{layout.text}.t5.name")))
    own, others = _rename(model.weights.tensors, layout)
    if layout.pads_t5:
        encoder, own = pad_t5(encoder), pad_projection(own)
    values = composite_config(model.config, layout, next(iter(own.values())).dtype, encoder, codec)
    untrained = {} if layout.finetuned else {TEXT_ENCODER + name: tensor for name, tensor in encoder.tensors.items()}
    tensors = {**untrained, **{AUDIO_ENCODER + name: tensor for name, tensor in codec.tensors.items()}, **own}
    check_shapes(layout.architecture, values, tensors)
    files = composite_files(model.config, layout, values, encoder, codec)
    return ModelFiles(layout.architecture, tensors, files, others)


def _rename(tensors: Mapping[str, LazyTensor], layout: Layout) -> tuple[TensorsByName, TensorsByName]:
    """Rename tensors for transformers; also return the tensors without a counterpart there."""
    prefixes = unmapped_prefixes(layout)
    others = {name: tensor for name, tensor in tensors.items() if name.startswith(prefixes)}
    own = {name: tensor for name, tensor in tensors.items() if name not in others}
    if layout.finetuned:
        _drop_tied(own, *tied_names(layout))
    fused = not any(".mha." in name for name in own)
    return musicgen_key_map(layout, fused).to_transformers(own), others


def _drop_tied(tensors: TensorsByName, second: str, first: str) -> None:
    """Remove the second name of a tied tensor; raise an error if the two tensors differ."""
    dropped, kept = tensors.pop(second, None), tensors.get(first)
    if dropped is None or kept is None or dropped.blob is kept.blob:
        return
    if dropped.own_bytes.read_checked() != kept.own_bytes.read_checked():
        raise CheckpointError("unsupported-by-transformers",
                              f"{second} and {first} are the same tensor in T5, but differ in this model", USE)


def zero_cross_attention(layers: int, size: int, dtype: str) -> TensorsByName:
    """Return weights of a cross attention without effect, because a decoder of transformers always has one.

    MusicgenForCausalLM skips the cross attention unless it gets encoder states; with weights of 0 its output is 0.

    Args:
        layers: the number of layers.
        size: the hidden size.
        dtype: the dtype of the weights.
    """
    names = {pattern.replace("*", str(layer)): value
             for pattern, value in ZERO_CROSS_ATTENTION.items() for layer in range(layers)}
    return {name: constant(value, dtype, (size,) if "norm" in name else (size, size), name)
            for name, value in names.items()}


def _remove_zero_cross_attention(tensors: TensorsByName) -> TensorsByName:
    """Remove the tensors that `zero_cross_attention` added; raise an error if they were trained."""
    patterns = {name: re.sub(r"\.\d+\.", ".*.", name, count=1) for name in tensors}
    values = {name: ZERO_CROSS_ATTENTION[pattern] for name, pattern in patterns.items()
              if pattern in ZERO_CROSS_ATTENTION}
    return remove_constants(tensors, values, "model has no cross attention", "without effect")
