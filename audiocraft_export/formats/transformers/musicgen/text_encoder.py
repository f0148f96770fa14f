"""The T5 through which a model takes its text: AudioCraft's checkpoints have only its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ....checkpoint.tensor import LazyTensor
from ....errors import CheckpointError, listing, reason
from ..model_files import as_json

OF_THIS_MACHINE = ("is_local", "local_files_only", "name_or_path")  # what a tokenizer writes of where it came from

NEW, OLD = "extra_special_tokens", "additional_special_tokens"  # of transformers 5; of 4, which both can read


@dataclass(frozen=True)
class TextEncoder:
    """A T5 encoder and its tokenizer.

    Args:
        config: of the encoder.
        tensors: by the names of T5EncoderModel; one name for tied ones.
        files: of the tokenizer.
    """

    config: dict[str, Any]
    tensors: dict[str, LazyTensor]
    files: dict[str, bytes]


def text_encoder(name: str) -> TextEncoder:
    """The T5 of that name, as AudioCraft takes it: from the cache of this machine, or from the hub.

    Args:
        name: on the hub, such as `t5-base`.

    Raises:
        CheckpointError: if it cannot be had.
    """
    from ....checkpoint.torch_tensors import from_torch
    try:
        try:
            tokenizer, model, wrong = _from(name, local_files_only=True)  # which the training has filled
        except OSError:
            tokenizer, model, wrong = _from(name)
    except Exception as exc:  # whatever the hub, its cache and the formats in it make of it
        raise CheckpointError(f"The text encoder {name}, of which AudioCraft's checkpoints have only the name, cannot "
                              f"be had ({type(exc).__name__}: {reason(exc)}): export where it is in the cache of "
                              "Hugging Face (HF_HOME), or where the hub can be reached.") from exc
    if wrong:
        raise CheckpointError(f"The text encoder {name} has other weights than a T5 has ({listing(wrong)}): have it "
                              "downloaded again.")
    return TextEncoder(model.config.to_dict(), from_torch(dict(model.named_parameters())), _files(tokenizer))


def _from(name: str, **options: Any) -> tuple[Any, Any, list[str]]:
    """The tokenizer, the encoder, and what of its weights nobody has; those of the decoder are passed over."""
    import torch
    from transformers import AutoTokenizer

    from ..loading import load_strictly
    tokenizer = AutoTokenizer.from_pretrained(name, **options)
    model, wrong = load_strictly("T5EncoderModel", name, dtype=torch.float32, **options)
    return tokenizer, model, [each for each in wrong if not each.startswith("unexpected")]


def _files(tokenizer: Any) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    config = json.loads(files["tokenizer_config.json"])
    kept = {OLD if key == NEW and isinstance(value, list) else key: value for key, value in config.items()
            if key not in OF_THIS_MACHINE}
    return {**files, "tokenizer_config.json": as_json(kept).encode()}
