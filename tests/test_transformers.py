"""Language models for transformers, as far as AudioCraft is not needed: what is refused, and decoders alone."""

import json
import random
from math import prod

import pytest
import torch
from omegaconf import OmegaConf

from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.checkpoint.torch_tensors import from_torch, to_torch
from audiocraft_export.errors import CheckpointError
from audiocraft_export.experiment.config import Config
from audiocraft_export.formats.transformers.model_files import USE
from audiocraft_export.formats.transformers.musicgen import constraints
from audiocraft_export.formats.transformers.musicgen.architecture import layout_of
from audiocraft_export.formats.transformers.musicgen.convert import from_musicgen, to_musicgen
from audiocraft_export.release.model import ReleaseModel

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
        "solver": "musicgen", "sample_rate": 32000, "lm_model": "transformer_lm", "conditioners": conditioners,
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


TABLE = {"condition_provider.conditioners.genre.embed.weight": (8, 4),
         "condition_provider.conditioners.genre.output_proj.weight": (DIM, 4),
         "condition_provider.conditioners.genre.output_proj.bias": (DIM,)}


@pytest.fixture
def model(make_xp):
    def make(state, values, dtype=None):
        folder = make_xp(best_state={"model": state}, **{"xp.cfg": values})
        return ReleaseModel.from_checkpoint(open_checkpoint(folder / "checkpoint.th"), "1.3.0", dtype=dtype)
    return make


def write(parts, folder):
    from safetensors.torch import save_file
    folder.mkdir()
    save_file({name: to_torch(tensor) for name, tensor in parts.tensors.items()}, folder / "model.safetensors",
              {"format": "pt"})
    for name, text in parts.files.items():
        (folder / name).write_text(text)
    return folder


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


def test_the_cross_attention_that_nobody_trained_changes_nothing(model, tmp_path):
    from transformers import MusicgenForCausalLM
    parts = to_musicgen(model(weights(), settings("none")))
    decoder = MusicgenForCausalLM.from_pretrained(write(parts, tmp_path / "release")).eval()
    codes = torch.randint(CARD + 1, (COUNT, 6))
    with torch.no_grad():
        alone, beside = decoder(codes).logits, decoder(codes, encoder_hidden_states=torch.randn(1, 3, DIM)).logits
    assert torch.equal(alone, beside)


def test_one_that_somebody_trained_does_not_come_back(model):
    parts = to_musicgen(model(weights(), settings("none")))
    name = "model.decoder.layers.1.encoder_attn.v_proj.weight"
    changed = {**parts.tensors, **from_torch({name: torch.rand(DIM, DIM)})}
    with pytest.raises(CheckpointError, match=f"no cross attention, and {name} is no longer"):
        from_musicgen(changed, {}, config("none"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_is_that_of_the_weights(model, tmp_path, dtype):
    from transformers import MusicgenForCausalLM
    parts = to_musicgen(model(weights(), settings("none"), dtype))
    assert MusicgenForCausalLM.from_pretrained(write(parts, tmp_path / "release")).dtype == getattr(torch, dtype)
    assert {tensor.dtype for tensor in parts.tensors.values()} == {dtype}


def test_the_table_of_a_conditioner_is_kept_beside_the_decoder(model):
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
    (lambda state: state.update(strange=torch.rand(2)), "no place for strange"),
    (lambda state: state.pop("out_norm.bias"), "model.decoder.layer_norm.bias is missing"),
    (lambda state: state.update({"emb.4.weight": torch.rand(CARD + 1, DIM)}), "embed_tokens.4.weight is too many"),
    (lambda state: state.update({"linears.0.weight": torch.rand(CARD, DIM + 1)}),
     r"lm_heads.0.weight is \[32, 17\], not \[32, 16\]"),
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


@pytest.mark.parametrize("kind", KINDS)
def test_what_audiocraft_trains_by_default_is_not_refused(kind):
    assert layout_of(config(kind)).architecture


def other_value(rule):
    value = rule.allowed[0]
    return {bool: not value, str: "other", int: 7, type(None): 3, list: ["description"]}[type(value)]


@pytest.mark.parametrize(("kind", "rule"), [
    *(("text", rule) for rule in (*constraints.DECODER.rules, *constraints.TEXT.rules)),
    *(("melody", rule) for rule in constraints.MELODY.rules)], ids=lambda value: getattr(value, "key", value))
def test_every_setting_that_transformers_does_not_have_is_refused_with_its_reason(kind, rule):
    name = "self_wav" if "chroma_stem" in rule.key else "description"
    key = rule.key.format(name)
    with pytest.raises(CheckpointError) as caught:
        layout_of(config(kind, **{key.replace(".", "__"): other_value(rule)}))
    assert str(caught.value).startswith(f"{key}=") and rule.why in str(caught.value)
    assert str(caught.value).endswith(USE)


@pytest.mark.parametrize("key", ["norm_first", "bias_attn", "bias_ff", "bias_proj", "causal", "activation"])
def test_what_is_missing_is_what_audiocraft_takes_for_it(key):
    values = settings("text")
    del values.transformer_lm[key]
    if key == "activation":  # nn.TransformerEncoderLayer's relu, which transformers has
        assert layout_of(Config(OmegaConf.to_container(values)))
    else:
        with pytest.raises(CheckpointError, match=f"transformer_lm.{key}="):
            layout_of(Config(OmegaConf.to_container(values)))


@pytest.mark.parametrize("solver", [*constraints.SOLVERS, "mine", None])
def test_other_families_are_refused_with_the_format_that_works(solver):
    with pytest.raises(CheckpointError, match="cannot be released for transformers .*format=safetensors"):
        layout_of(config("text", solver=solver))


@pytest.mark.parametrize(("kind", "changes", "said"), [
    ("text", {"transformer_lm__dim": 512, "conditioners__description__t5__finetune": True},
     "t5-small has the same size"),
    ("melody", {"transformer_lm__dim": 12}, "n_chroma is the same"),
    ("none", {"transformer_lm__dim": 15}, "an even number"),
    ("none", {"transformer_lm__dim": 2}, "an even number"),
    ("none", {"transformer_lm__rope_base": 5}, "rope_base=5 .*nobody knows"),
    ("text", {"fuser__gate": True}, "fuser.gate=True .*nobody knows"),
    ("text", {"conditioners__description__t5__pool": "mean"}, "t5.pool=mean .*nobody knows"),
    ("melody", {"conditioners__self_wav__chroma_stem__tuning": 3}, "chroma_stem.tuning=3 .*nobody knows"),
    ("none", {"transformer_lm__n_q": 10 ** 9}, "n_q=1000000000 .*whole number from 1 to 256"),
    ("none", {"transformer_lm__card": "many"}, "card=many .*whole number"),
    ("none", {"transformer_lm__num_layers": None}, "num_layers=None .*whole number"),
    ("none", {"transformer_lm__hidden_scale": "big"}, "hidden_scale=big .*a number from"),
    ("none", {"transformer_lm__cross_attention": True}, "no condition goes there"),
    ("text", {"dataset__segment_duration": None}, "segment_duration=None .*a number from"),
    ("text", {"classifier_free_guidance__inference_coef": 0.5}, "inference_coef=0.5 .*a number from 1"),
    ("melody", {"conditioners__self_wav__chroma_stem__radix2_exp": 60}, "radix2_exp=60"),
    ("none", {"codebooks_pattern__modeling": "unroll"}, "codebooks_pattern.modeling=unroll"),
    ("none", {"codebooks_pattern__modeling": "parallel"}, r"parallel with the delays \[0, 0, 0, 0\]"),
    ("none", {"codebooks_pattern__delay__delays": [0, 2, 4, 6]}, r"delays \[0, 2, 4, 6\].*by \[0, 1, 2, 3\]"),
    ("none", {"interleave_stereo_codebooks__use": True}, r"by \[0, 0, 1, 1\]"),
    ("text", {"fuser__cross": [], "fuser__prepend": ["description"]}, r"description \(t5\) in prepend"),
    ("text", {"conditioners__genre": LUT, "fuser__cross": ["description", "genre"]}, r"genre \(lut\) in cross"),
    ("text", {"conditioners__genre": LUT}, "the fuser names others"),
    ("text", {"fuser__cross": ["description", "self_wav"]}, "the fuser names others"),
    ("text", {"conditioners__description": {"model": "clap", "clap": {}}}, "no CLAP"),
    ("text", {"conditioners__description": {"model": "style", "style": {}}}, "no style"),
    ("text", {"conditioners__description": {"model": "mine", "mine": {}}}, r"description \(mine\) in cross"),
    ("lut", {"fuser__cross": [], "fuser__prepend": ["genre"]}, r"genre \(lut\) in prepend"),
])
def test_what_cannot_be_told_by_one_key_is_refused_too(kind, changes, said):
    with pytest.raises(CheckpointError, match=f"{said}.*format=safetensors, or format=audiocraft"):
        layout_of(config(kind, **changes))


@pytest.mark.parametrize(("changes", "architecture"), [
    ({"transformer_lm__activation": "relu"}, "MusicgenForConditionalGeneration"),
    ({"codebooks_pattern__delay__delays": None}, "MusicgenForConditionalGeneration"),
    ({"interleave_stereo_codebooks__use": True, "codebooks_pattern__delay__delays": [0, 0, 1, 1]},
     "MusicgenForConditionalGeneration"),
    ({"transformer_lm__n_q": 1, "codebooks_pattern__modeling": "parallel"}, "MusicgenForConditionalGeneration"),
])
def test_what_is_the_same_by_another_name_is_not(changes, architecture):
    assert layout_of(config("text", **changes)).architecture == architecture


def test_a_text_encoder_with_more_channels_says_the_same():
    from transformers import T5Config, T5EncoderModel

    from audiocraft_export.formats.transformers.musicgen.t5_padding import PADDING, pad_t5
    from audiocraft_export.formats.transformers.musicgen.text_encoder import TextEncoder
    for kind in ("relu", "gated-gelu"):  # t5, flan-t5
        t5 = T5EncoderModel(T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=24, num_layers=2, num_heads=2,
                                     feed_forward_proj=kind, layer_norm_epsilon=0.1)).eval()
        with torch.no_grad():
            for parameter in t5.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        encoder = pad_t5(TextEncoder(t5.config.to_dict(), from_torch(dict(t5.named_parameters())), {}))
        wide = T5EncoderModel(T5Config(**encoder.config)).eval()
        wide.load_state_dict({name: to_torch(tensor) for name, tensor in encoder.tensors.items()}, strict=False)
        with torch.no_grad():
            there, here = wide(torch.arange(9)[None])[0], t5(torch.arange(9)[None])[0]
        assert there.shape[2] == 32 + PADDING and not there[..., 32:].any()
        assert torch.allclose(there[..., :32], here, rtol=1e-5, atol=1e-5)


def test_a_model_with_a_codec_inside_needs_one(model):
    with pytest.raises(CheckpointError, match="has its compression model inside"):
        to_musicgen(model(weights(cross=True), settings("text")))


def test_a_text_encoder_that_cannot_be_had_is_one_sentence(monkeypatch, tmp_path):
    from audiocraft_export.formats.transformers.musicgen.text_encoder import load_text_encoder
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"The text encoder t5-small, .* cannot be had \(.*HF_HOME"):
        load_text_encoder("t5-small")


def test_a_filler_takes_no_memory_and_can_be_read_anywhere():
    from audiocraft_export.formats.transformers.musicgen.zero_cross_attention import zero_cross_attention
    for name, tensor in zero_cross_attention(1, 512, "float16").items():
        expected = torch.full(tensor.shape, 1.0 if "norm.weight" in name else 0.0, dtype=torch.float16)
        assert torch.equal(to_torch(tensor), expected) and tensor.nbytes == 2 * prod(tensor.shape)
        middle = b"".join(bytes(piece) for piece in tensor.blob.read(100, 140))
        assert middle == expected.flatten()[50:70].numpy().tobytes()
