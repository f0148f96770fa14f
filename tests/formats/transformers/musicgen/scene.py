"""Language models of a few thousand weights, by AudioCraft's names."""

import torch
from omegaconf import OmegaConf

from audiocraft_export.checkpoint.torch_tensors import to_torch
from audiocraft_export.experiment.config import Config

DIM, CARD, COUNT, LAYERS = 16, 32, 4, 2
T5 = {"model": "t5", "t5": {"name": "t5-small", "finetune": False, "word_dropout": 0.3, "normalize_text": False}}
CHROMA = {"model": "chroma_stem", "chroma_stem": {
    "sample_rate": "${sample_rate}", "n_chroma": 12, "radix2_exp": 14, "argmax": True, "match_len_on_eval": False,
    "eval_wavs": None, "n_eval_wavs": 100, "cache_path": None}}
LUT = {"model": "lut", "lut": {"n_bins": 8, "dim": 4, "tokenizer": "noop"}}
KINDS = {
    "text": ({"description": T5}, {"cross": ["description"]}),
    "melody": ({"self_wav": CHROMA, "description": T5}, {"prepend": ["self_wav", "description"]}),
    "lut": ({"genre": LUT}, {"cross": ["genre"]}),
    "none": (None, {}),
}


def settings(kind, **changes):
    """The part of xp.cfg that a language model is built from; keys of the changes have `__` for a dot."""
    conditioners, fuser = KINDS[kind]
    values = OmegaConf.create({
        "solver": "musicgen", "compression_model_checkpoint": "//sig/c0dec000", "sample_rate": 32000,
        "lm_model": "transformer_lm", "conditioners": conditioners,
        "fuser": {"cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1, "sum": [], "prepend": [],
                  "cross": [], "input_interpolate": [], **fuser},
        "codebooks_pattern": {"modeling": "delay", "delay": {
            "delays": list(range(COUNT)), "flatten_first": 0, "empty_initial": 0}},
        "classifier_free_guidance": {"training_dropout": 0.2, "inference_coef": 3.0},
        "dataset": {"segment_duration": 20},
        "transformer_lm": {
            "dim": DIM, "num_heads": 2, "num_layers": LAYERS, "hidden_scale": 4, "n_q": COUNT, "card": CARD,
            "dropout": 0.0, "emb_lr": None, "activation": "gelu", "norm_first": True, "bias_ff": False,
            "bias_attn": False, "bias_proj": False, "past_context": None, "causal": True, "custom": False,
            "memory_efficient": True, "attention_as_float32": False, "layer_scale": None,
            "positional_embedding": "sin", "xpos": False, "checkpointing": "none", "weight_init": "gaussian",
            "depthwise_init": "current", "zero_bias_init": True, "norm": "layer_norm", "cross_attention": False,
            "qk_layer_norm": False, "qk_layer_norm_cross": False, "attention_dropout": None, "kv_repeat": 1,
            "two_step_cfg": False}})
    for key, value in changes.items():
        OmegaConf.update(values, key.replace("__", "."), value, force_add=True, merge=False)
    return values


def config(kind, **changes):
    return Config(OmegaConf.to_container(settings(kind, **changes)))


def weights(fused=True, cross=False):
    """The tensors of AudioCraft's language model, all of them different."""
    mha = "" if fused else "mha."
    shapes = {f"emb.{k}.weight": (CARD + 1, DIM) for k in range(COUNT)}
    for layer in (f"transformer.layers.{index}." for index in range(LAYERS)):
        for attention, norm in (("self_attn", "norm1"), ("cross_attention", "norm_cross"))[:1 + cross]:
            shapes.update({f"{layer}{attention}.{mha}in_proj_weight": (3 * DIM, DIM),
                           f"{layer}{attention}.{mha}out_proj.weight": (DIM, DIM),
                           f"{layer}{norm}.weight": (DIM,), f"{layer}{norm}.bias": (DIM,)})
        shapes.update({f"{layer}linear1.weight": (4 * DIM, DIM), f"{layer}linear2.weight": (DIM, 4 * DIM),
                       f"{layer}norm2.weight": (DIM,), f"{layer}norm2.bias": (DIM,)})
    shapes.update({"out_norm.weight": (DIM,), "out_norm.bias": (DIM,)},
                  **{f"linears.{k}.weight": (CARD, DIM) for k in range(COUNT)})
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write(parts, folder):
    from safetensors.torch import save_file
    folder.mkdir()
    save_file({name: to_torch(tensor) for name, tensor in parts.tensors.items()}, folder / "model.safetensors",
              {"format": "pt"})
    for name, text in parts.files.items():
        (folder / name).write_text(text)
    return folder
