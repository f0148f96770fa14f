"""The names of a language model's tensors in AudioCraft and in transformers, as data."""

from __future__ import annotations

from ..key_map import KeyMap, Names, Rules
from .architecture import MELODY_MODEL, Layout

DECODER = {
    "emb.*.weight": "model.decoder.embed_tokens.*.weight",
    "transformer.layers.*.norm1.weight": "model.decoder.layers.*.self_attn_layer_norm.weight",
    "transformer.layers.*.norm1.bias": "model.decoder.layers.*.self_attn_layer_norm.bias",
    "transformer.layers.*.norm2.weight": "model.decoder.layers.*.final_layer_norm.weight",
    "transformer.layers.*.norm2.bias": "model.decoder.layers.*.final_layer_norm.bias",
    "transformer.layers.*.linear1.weight": "model.decoder.layers.*.fc1.weight",
    "transformer.layers.*.linear2.weight": "model.decoder.layers.*.fc2.weight",
    "out_norm.weight": "model.decoder.layer_norm.weight",
    "out_norm.bias": "model.decoder.layer_norm.bias",
    "linears.*.weight": "lm_heads.*.weight",
}
CROSS_NORM = {
    "transformer.layers.*.norm_cross.weight": "model.decoder.layers.*.encoder_attn_layer_norm.weight",
    "transformer.layers.*.norm_cross.bias": "model.decoder.layers.*.encoder_attn_layer_norm.bias",
}
TEXT_PROJECTION = {
    "output_proj.weight": "enc_to_dec_proj.weight",
    "output_proj.bias": "enc_to_dec_proj.bias",
}
MELODY_PROJECTION = {
    "output_proj.weight": "audio_enc_to_dec_proj.weight",
    "output_proj.bias": "audio_enc_to_dec_proj.bias",
}
T5 = ("shared.weight", "encoder.final_layer_norm.weight", "encoder.block.*.layer.*.layer_norm.weight",
      *(f"encoder.block.*.layer.*.SelfAttention.{each}.weight" for each in ("q", "k", "v", "o",
                                                                            "relative_attention_bias")),
      *(f"encoder.block.*.layer.*.DenseReluDense.{each}.weight" for each in ("wi", "wi_0", "wi_1", "wo")))
TIED = ("t5.encoder.embed_tokens.weight", "t5.shared.weight")  # the same tensor, and the name that transformers keeps
TEXT_ENCODER = "text_encoder."
AUDIO_ENCODER = "audio_encoder."


def key_map(layout: Layout, fused: bool) -> KeyMap:
    """The map of a language model.

    Args:
        layout: what it consists of.
        fused: whether the names of its attention are those of AudioCraft's own, or of torch's (`.mha.`).
    """
    decoder: dict[str, Names] = {**DECODER, **_attention("self_attn", "self_attn", fused)}
    if layout.cross:
        decoder.update({**CROSS_NORM, **_attention("cross_attention", "encoder_attn", fused)})
    rules = {theirs: _prefixed(layout.prefix, ours) for theirs, ours in decoder.items()}
    if layout.text:
        rules.update(_of_conditioner(layout.text, TEXT_PROJECTION))
        if layout.finetuned:
            rules.update(_of_conditioner(layout.text, {f"t5.{name}": TEXT_ENCODER + name for name in T5}))
    if layout.melody:
        rules.update(_of_conditioner(layout.melody, MELODY_PROJECTION))
    return KeyMap(rules)


def kept_beside(layout: Layout) -> tuple[str, ...]:
    """How the names begin of what transformers has no place for: buffers that are computed, and AudioCraft's tables."""
    if layout.architecture == MELODY_MODEL:
        return (f"condition_provider.conditioners.{layout.melody}.chroma.",)
    return () if layout.text else ("condition_provider.conditioners.",)


def tied(layout: Layout) -> tuple[str, str]:
    """The two names of the embedding of a T5 that was trained: the one that transformers drops, the one it keeps."""
    first, second = (f"condition_provider.conditioners.{layout.text}.{name}" for name in TIED)
    return first, second


def _attention(theirs: str, ours: str, fused: bool) -> Rules:
    here, there = f"transformer.layers.*.{theirs}{'' if fused else '.mha'}", f"model.decoder.layers.*.{ours}"
    return {f"{here}.in_proj_weight": tuple(f"{there}.{each}_proj.weight" for each in "qkv"),
            f"{here}.out_proj.weight": f"{there}.out_proj.weight"}


def _of_conditioner(name: str, rules: Rules) -> dict[str, Names]:
    return {f"condition_provider.conditioners.{name}.{theirs}": ours for theirs, ours in rules.items()}


def _prefixed(prefix: str, names: Names) -> Names:
    return prefix + names if isinstance(names, str) else tuple(prefix + name for name in names)
