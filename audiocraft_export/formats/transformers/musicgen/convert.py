"""A language model that AudioCraft trained, as a MusicGen of transformers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ....checkpoint.tensor import LazyTensor
from ....errors import CheckpointError
from ....experiment.config import Config
from ....release.model import ReleaseModel
from ..model_files import USE, Parts
from ..shapes import check_shapes
from . import t5_padding, zero_cross_attention
from .architecture import DECODER_ALONE, Layout, layout_of
from .configs import check_codec, model_config, model_files
from .key_maps import AUDIO_ENCODER, TEXT_ENCODER, kept_beside, key_map, tied
from .text_encoder import TextEncoder, text_encoder

Tensors = dict[str, LazyTensor]


def musicgen(model: ReleaseModel, codec: Optional[Parts] = None) -> Parts:
    """A language model in the form of transformers.

    Args:
        model: as it is released.
        codec: the compression model beside it, in the form of transformers; only a decoder alone needs none.

    Raises:
        CheckpointError: if transformers cannot represent it, or its text encoder cannot be had.
    """
    config, layout = model.config, layout_of(model.config)
    if codec is None and layout.architecture != DECODER_ALONE:
        raise CheckpointError(f"transformers' {layout.architecture} has its compression model inside, which "
                              f"codec=none leaves out: use codec=auto, or {USE}")
    if codec and layout.architecture != DECODER_ALONE:
        check_codec(config, codec)
    encoder = text_encoder(str(config.get(f"conditioners.{layout.text}.t5.name"))) if layout.text else None
    own, others = _renamed(model.weights.tensors, layout)
    if encoder and layout.widened:
        encoder, own = t5_padding.widened(encoder), t5_padding.with_more_columns(own)
    dtype = next(iter(own.values())).dtype
    values = model_config(config, layout, dtype, encoder, codec)
    if layout.architecture == DECODER_ALONE and not layout.cross:
        own.update(zero_cross_attention.fillers(values["num_hidden_layers"], values["hidden_size"], dtype))
    tensors = {**_of_encoder(encoder, layout), **_of_codec(codec, layout), **own}
    check_shapes(layout.architecture, values, tensors)
    return Parts(layout.architecture, tensors, model_files(config, layout, values, encoder, codec), others)


def audiocraft_state(tensors: Mapping[str, LazyTensor], others: Mapping[str, LazyTensor], config: Config) -> Tensors:
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
        own = zero_cross_attention.without(own)
    if layout.widened:
        own = t5_padding.with_fewer_columns(own)
    state = {**key_map(layout, layout.fused).to_audiocraft(own), **others}
    if layout.finetuned:
        second, first = tied(layout)
        state[second] = state[first]
    return state


def _renamed(tensors: Mapping[str, LazyTensor], layout: Layout) -> tuple[Tensors, Tensors]:
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
    if dropped and kept and dropped.blob is not kept.blob and dropped.own_bytes.read_checked() != kept.own_bytes.read_checked():
        raise CheckpointError(f"{second} and {first} are the same tensor in T5, and differ here: {USE}")


def _of_encoder(encoder: Optional[TextEncoder], layout: Layout) -> Tensors:
    """The text encoder as it was downloaded, if the training left it so."""
    if encoder is None or layout.finetuned:
        return {}
    return {TEXT_ENCODER + name: tensor for name, tensor in encoder.tensors.items()}


def _of_codec(codec: Optional[Parts], layout: Layout) -> Tensors:
    if codec is None or layout.architecture == DECODER_ALONE:
        return {}
    return {AUDIO_ENCODER + name: tensor for name, tensor in codec.tensors.items()}
