"""Small models under the names of the large public models that AudioCraft downloads."""

import io
import json
from pathlib import Path

import torch

TEXT = "happy rock loud calm piano somebody plays a sad slow song of the sea with drums and bass in the key of C"
HASH = "0" * 40


def text_encoder(cache, name="t5-small", d_model=512):
    """Write a T5 of two layers and its sentencepiece model to the Hugging Face cache (`$HF_HUB_CACHE`)."""
    from transformers import T5Config, T5EncoderModel
    home = Path(cache) / f"models--{name.replace('/', '--')}"
    folder = home / "snapshots" / HASH
    folder.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(HASH)
    (folder / "spiece.model").write_bytes(_sentencepiece())
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "T5Tokenizer", "extra_ids": 10, "model_max_length": 512, "eos_token": "</s>",
        "unk_token": "<unk>", "pad_token": "<pad>"}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = T5Config(vocab_size=128, d_model=d_model, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
                          decoder_start_token_id=0)
        T5EncoderModel(config).save_pretrained(folder)
    return folder


def separator(hub):
    """Write a small demucs to the cache of torch.hub (`$TORCH_HOME/hub`), under the name that demucs loads."""
    from demucs.htdemucs import HTDemucs
    from demucs.pretrained import SOURCES
    options = {"sources": SOURCES, "channels": 8, "depth": 4, "t_layers": 1, "t_heads": 2, "samplerate": 44100,
               "segment": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = HTDemucs(**options)
    folder = Path(hub) / "checkpoints"
    folder.mkdir(parents=True)
    torch.save({"klass": HTDemucs, "args": (), "kwargs": options, "state": model.state_dict()},
               folder / "955717e8-8726e21a.th")


def _sentencepiece():
    import sentencepiece
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 4), model_writer=model, vocab_size=60, hard_vocab_limit=False, pad_id=0,
        eos_id=1, unk_id=2, bos_id=-1, minloglevel=2)
    return model.getvalue()


def codec(sample_rate=32000, bins=400, n_q=4):
    """Write a codec in the transformers format with 25 frames per second."""
    from transformers import EncodecConfig, EncodecFeatureExtractor, EncodecModel

    from audiocraft_export.checkpoint.torch_tensors import from_torch
    from audiocraft_export.formats.transformers.model_files import ModelFiles
    from audiocraft_export.formats.transformers.musicgen.text_encoder import as_json
    ratios = [sample_rate // 2000, 10, 8]
    bandwidth = 25 * (bins - 1).bit_length() * n_q / 1000
    config = EncodecConfig(target_bandwidths=[bandwidth], sampling_rate=sample_rate, codebook_size=bins,
                           upsampling_ratios=ratios, num_filters=4, hidden_size=16, num_lstm_layers=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = EncodecModel(config)
    extractor = EncodecFeatureExtractor(sampling_rate=sample_rate)
    return ModelFiles("EncodecModel", from_torch(model.state_dict()), {
        "config.json": as_json(config.to_dict()), "preprocessor_config.json": as_json(extractor.to_dict())})


def use(folder, patch):
    """Let Hugging Face and torch look for models only in a folder; `patch` is pytest's monkeypatch."""
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    patch.setenv("TORCH_HOME", str(folder / "torch"))
    import huggingface_hub.constants
    patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub"))
    patch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(folder / "hub"), raising=False)  # transformers 4


def write(parts, folder, config):
    """Write a release in the transformers format."""
    from safetensors.torch import save_file

    from audiocraft_export.checkpoint.torch_tensors import to_torch
    folder.mkdir()
    for name, tensors in (("model", parts.tensors), ("conditioners", parts.others)):
        if tensors:
            save_file({key: to_torch(tensor) for key, tensor in tensors.items()}, folder / f"{name}.safetensors",
                      {"format": "pt"})
    for name, content in {**parts.files, "config.yaml": config}.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
