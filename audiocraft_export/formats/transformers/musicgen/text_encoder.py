"""Load the public T5 text encoder of a model, because AudioCraft's checkpoints store only its name."""

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

LOCAL_KEYS = ("is_local", "local_files_only", "name_or_path")  # keys of a tokenizer that depend on this machine
NEW, OLD = "extra_special_tokens", "additional_special_tokens"  # names in transformers 5 and 4; both read the old name


@dataclass(frozen=True)
class TextEncoder:
    """A T5 encoder and its tokenizer."""

    config: dict[str, Any]
    tensors: dict[str, LazyTensor]  # tensors by name in T5EncoderModel; tied tensors have one name
    files: dict[str, bytes]  # files of the tokenizer by name


def load_text_encoder(name: str) -> TextEncoder:
    """Load a T5 such as `t5-base` as AudioCraft does, from the local cache or from the Hub.

    Raises:
        CheckpointError: if the T5 cannot be loaded, or weights are missing.
    """
    try:
        from ..loading import load_cache_first
        tokenizer, model, wrong = load_cache_first(_load, name)
    except Exception as exc:  # the Hub client and the file formats raise many types of exceptions
        raise CheckpointError("pretrained-unavailable",
                              f"The text encoder {name}, which AudioCraft's checkpoints do not include, cannot be "
                              f"loaded: {type(exc).__name__}: {reason(exc)}",
                              "export where it is in the Hugging Face cache (HF_HOME) or where the Hub can be reached"
                              ) from exc
    if wrong:
        raise CheckpointError("pretrained-unavailable", f"The text encoder {name} does not have the weights of a T5: "
                              f"{listing(wrong)}", "delete it from the Hugging Face cache (HF_HOME) and export again")
    return TextEncoder(model.config.to_dict(), from_torch(dict(model.named_parameters())), _tokenizer_files(tokenizer))


def _load(name: str, **options: Any) -> tuple[Any, Any, list[str]]:
    """Load the tokenizer and the encoder, and list missing weights of the encoder; the decoder is unused."""
    from transformers import AutoTokenizer

    from ..loading import load_strictly
    tokenizer = AutoTokenizer.from_pretrained(name, **options)
    model, wrong = load_strictly("T5EncoderModel", name, dtype=torch.float32, **options)
    return tokenizer, model, [each for each in wrong if not each.startswith("unexpected")]


def _tokenizer_files(tokenizer: Any) -> dict[str, bytes]:
    """Return the files of a tokenizer, without settings that depend on this machine."""
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    config = json.loads(files["tokenizer_config.json"])
    portable = {OLD if key == NEW and isinstance(value, list) else key: value for key, value in config.items()
                if key not in LOCAL_KEYS}
    return {**files, "tokenizer_config.json": as_json(portable).encode()}
