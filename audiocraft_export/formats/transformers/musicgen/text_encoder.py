"""Load the T5 that encodes a model's text: AudioCraft's checkpoints have only its name."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ....checkpoint.tensor import LazyTensor
from ....checkpoint.torch_tensors import from_torch
from ....errors import CheckpointError, listing, reason
from ..model_files import as_json

LOCAL_KEYS = ("is_local", "local_files_only", "name_or_path")  # what a tokenizer writes about this machine
NEW, OLD = "extra_special_tokens", "additional_special_tokens"  # of transformers 5; of 4, which both can read


@dataclass(frozen=True)
class TextEncoder:
    """A T5 encoder and its tokenizer."""

    config: dict[str, Any]
    tensors: dict[str, LazyTensor]  # by the names of T5EncoderModel; tied tensors have one name
    files: dict[str, bytes]  # of the tokenizer


def load_text_encoder(name: str) -> TextEncoder:
    """Load a T5 such as `t5-base` as AudioCraft does, from the local cache or from the Hub.

    Raises:
        CheckpointError: if it cannot be loaded.
    """
    try:
        from ..loading import load_cache_first
        tokenizer, model, wrong = load_cache_first(_load, name)
    except Exception as exc:  # the Hub, its cache and the file formats in it raise many types
        raise CheckpointError(f"The text encoder {name}, of which AudioCraft's checkpoints have only the name, cannot "
                              f"be had ({type(exc).__name__}: {reason(exc)}): export where it is in the cache of "
                              "Hugging Face (HF_HOME), or where the hub can be reached.") from exc
    if wrong:
        raise CheckpointError(f"The text encoder {name} has other weights than a T5 has ({listing(wrong)}): have it "
                              "downloaded again.")
    return TextEncoder(model.config.to_dict(), from_torch(dict(model.named_parameters())), _tokenizer_files(tokenizer))


def _load(name: str, **options: Any) -> tuple[Any, Any, list[str]]:
    """The tokenizer, the encoder, and which of its weights are missing; those of the decoder are not needed."""
    from transformers import AutoTokenizer

    from ..loading import load_strictly
    tokenizer = AutoTokenizer.from_pretrained(name, **options)
    model, wrong = load_strictly("T5EncoderModel", name, dtype=torch.float32, **options)
    return tokenizer, model, [each for each in wrong if not each.startswith("unexpected")]


def _tokenizer_files(tokenizer: Any) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    config = json.loads(files["tokenizer_config.json"])
    portable = {OLD if key == NEW and isinstance(value, list) else key: value for key, value in config.items()
                if key not in LOCAL_KEYS}
    return {**files, "tokenizer_config.json": as_json(portable).encode()}
