"""Convert language models to MusicGen of transformers and back, without AudioCraft."""

import json
import random

import pytest
import torch

from audiocraft_export.checkpoint.torch_tensors import to_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.transformers.musicgen.convert import from_musicgen, to_musicgen

from .scene import CARD, DIM, config, settings, weights, write

TABLE = {"condition_provider.conditioners.genre.embed.weight": (8, 4),
         "condition_provider.conditioners.genre.output_proj.weight": (DIM, 4),
         "condition_provider.conditioners.genre.output_proj.bias": (DIM,)}


def same(tensors, state):
    return tensors.keys() == state.keys() and all(torch.equal(to_torch(tensors[name]), state[name]) for name in state)


@pytest.mark.parametrize("fused", [True, False])
def test_a_decoder_without_conditions_loads_strictly_and_comes_back(model, tmp_path, fused):
    from transformers import MusicgenForCausalLM
    state, values = weights(fused), settings("none", transformer_lm__memory_efficient=fused)
    parts = to_musicgen(model(state, values))
    loaded, info = MusicgenForCausalLM.from_pretrained(write(parts, tmp_path / "release"), output_loading_info=True)
    assert not any(info.values()) and not parts.others
    assert same(from_musicgen(parts.tensors, parts.others, config("none", **{
        "transformer_lm__memory_efficient": fused})), state)
    q, k, v = state[f"transformer.layers.1.self_attn.{'' if fused else 'mha.'}in_proj_weight"].chunk(3)
    attention = loaded.model.decoder.layers[1].self_attn
    assert torch.equal(attention.q_proj.weight, q) and torch.equal(attention.k_proj.weight, k)
    assert torch.equal(attention.v_proj.weight, v)


@pytest.mark.parametrize(("key", "value"), [("activation", "relu"), ("activation", "hunter2"), ("dropout", "0.123"),
                                            ("num_layers", "2")])
def test_no_value_of_the_environment_is_released_or_shown(model, monkeypatch, key, value):
    monkeypatch.setenv("SECRET", value)
    values = settings("none", **{f"transformer_lm__{key}": "${oc.env:SECRET}"})
    with pytest.raises(CheckpointError, match=f"`transformer_lm.{key}` of the configuration") as error:
        to_musicgen(model(weights(True), values))
    assert error.value.code == "unresolved-config" and value not in str(error.value)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_is_that_of_the_weights(model, tmp_path, dtype):
    from transformers import MusicgenForCausalLM
    parts = to_musicgen(model(weights(), settings("none"), dtype))
    folder = write(parts, tmp_path / "release")
    assert MusicgenForCausalLM.from_pretrained(folder, dtype="auto").dtype == getattr(torch, dtype)
    assert {tensor.dtype for tensor in parts.tensors.values()} == {dtype}


def test_the_embedding_table_of_a_conditioner_is_kept_in_a_separate_file(model):
    table = {name: torch.rand(shape) for name, shape in TABLE.items()}
    state = {**table, **weights(cross=True)}
    parts = to_musicgen(model(state, settings("lut")))
    assert same(parts.others, table)
    assert same(from_musicgen(parts.tensors, parts.others, config("lut")), state)
    assert json.loads(parts.files["generation_config.json"])["use_cache"] is False


def test_the_special_token_is_the_card(model):
    parts = to_musicgen(model(weights(), settings("none")))
    for name in ("config.json", "generation_config.json"):
        values = json.loads(parts.files[name])
        assert {values[f"{each}_token_id"] for each in ("pad", "bos", "decoder_start")} == {CARD}


@pytest.mark.parametrize(("change", "said"), [
    (lambda state: state.update(strange=torch.rand(2)), "transformers has no tensor that corresponds to strange"),
    (lambda state: state.pop("out_norm.bias"), "model.decoder.layer_norm.bias is missing"),
    (lambda state: state.update({"emb.4.weight": torch.rand(CARD + 1, DIM)}), "embed_tokens.4.weight is unexpected"),
    (lambda state: state.update({"linears.0.weight": torch.rand(CARD, DIM + 1)}),
     r"lm_heads.0.weight has the shape \[32, 17\], expected \[32, 16\]"),
])
def test_weights_that_are_not_those_of_the_configuration_are_named(model, change, said):
    state = weights()
    change(state)
    with pytest.raises(CheckpointError, match=said):
        to_musicgen(model(state, settings("none")))


def test_a_training_that_goes_on_draws_the_same_numbers(model):
    before = torch.get_rng_state(), random.getstate()
    to_musicgen(model(weights(), settings("none")))
    assert torch.equal(before[0], torch.get_rng_state()) and before[1] == random.getstate()


def test_a_model_with_a_codec_inside_needs_one(model):
    with pytest.raises(CheckpointError, match="includes the compression model, but codec=none"):
        to_musicgen(model(weights(cross=True), settings("text")))
