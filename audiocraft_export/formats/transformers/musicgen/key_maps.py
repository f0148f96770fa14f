"""Map the tensor names of a language model between AudioCraft and transformers."""

from typing import Optional

from ..key_map import KeyMap, Names, Rules
from .architecture import DECODER_ALONE, MELODY_MODEL, Layout

DECODER_NAMES = {
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
CROSS_NORM = {f"transformer.layers.*.norm_cross.{leaf}": f"model.decoder.layers.*.encoder_attn_layer_norm.{leaf}"
              for leaf in ("weight", "bias")}
TEXT_PROJECTION = {f"output_proj.{leaf}": f"enc_to_dec_proj.{leaf}" for leaf in ("weight", "bias")}
MELODY_PROJECTION = {f"output_proj.{leaf}": f"audio_enc_to_dec_proj.{leaf}" for leaf in ("weight", "bias")}
T5 = ("shared.weight", "encoder.final_layer_norm.weight", "encoder.block.*.layer.*.layer_norm.weight",
      *(f"encoder.block.*.layer.*.SelfAttention.{each}.weight" for each in (*"qkvo", "relative_attention_bias")),
      *(f"encoder.block.*.layer.*.DenseReluDense.{each}.weight" for each in ("wi", "wi_0", "wi_1", "wo")))
TEXT_ENCODER = "text_encoder."
AUDIO_ENCODER = "audio_encoder."


def musicgen_key_map(layout: Layout, fused: bool) -> KeyMap:
    """Return the map between the tensor names of a language model.

    Args:
        layout: the parts of the language model.
        fused: whether the tensors have the names of AudioCraft's own attention, see `Layout.fused`.
    """
    prefix = "" if layout.architecture == DECODER_ALONE else "decoder."
    names = {**DECODER_NAMES, **CROSS_NORM} if layout.cross else DECODER_NAMES
    rules: dict[str, Names] = {source: prefix + target for source, target in names.items()}
    rules.update(_attention("self_attn", f"{prefix}model.decoder.layers.*.self_attn", fused))
    if layout.cross:
        rules.update(_attention("cross_attention", f"{prefix}model.decoder.layers.*.encoder_attn", fused))
    if layout.text:
        rules.update(_conditioner(layout.text, TEXT_PROJECTION))
    if layout.finetuned:
        rules.update(_conditioner(layout.text, {f"t5.{name}": TEXT_ENCODER + name for name in T5}))
    if layout.melody:
        rules.update(_conditioner(layout.melody, MELODY_PROJECTION))
    return KeyMap(rules)


def unmapped_prefixes(layout: Layout) -> tuple[str, ...]:
    """Return the prefixes of tensors without a counterpart in transformers: computed buffers and embedding tables."""
    if layout.architecture == MELODY_MODEL:
        return (f"condition_provider.conditioners.{layout.melody}.chroma.",)
    return () if layout.text else ("condition_provider.conditioners.",)


def tied_names(layout: Layout) -> tuple[str, str]:
    """Return the two names of the tied embedding of a finetuned T5: the dropped name and the kept one."""
    prefix = f"condition_provider.conditioners.{layout.text}.t5"
    return f"{prefix}.encoder.embed_tokens.weight", f"{prefix}.shared.weight"


def _attention(name: str, target: str, fused: bool) -> Rules:
    """Return the rules for an attention, whose input projections transformers has as three tensors."""
    module = f"transformer.layers.*.{name}" if fused else f"transformer.layers.*.{name}.mha"
    return {f"{module}.in_proj_weight": tuple(f"{target}.{each}_proj.weight" for each in "qkv"),
            f"{module}.out_proj.weight": f"{target}.out_proj.weight"}


def _conditioner(name: Optional[str], rules: Rules) -> Rules:
    """Add the prefix of a conditioner to the names in AudioCraft."""
    return {f"condition_provider.conditioners.{name}.{source}": targets for source, targets in rules.items()}
