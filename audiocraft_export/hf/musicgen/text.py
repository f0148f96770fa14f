"""The T5 through which a model takes its text: AudioCraft's checkpoints have only its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...errors import CheckpointError, reason
from ...tensor import Tensor
from ..parts import as_json

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
    tensors: dict[str, Tensor]
    files: dict[str, bytes]


def text_encoder(name: str) -> TextEncoder:
    """The T5 of that name, as AudioCraft takes it: from the cache of this machine, or from the hub.

    Args:
        name: on the hub, such as `t5-base`.

    Raises:
        CheckpointError: if it cannot be had.
    """
    import torch
    from transformers import AutoTokenizer, T5EncoderModel

    from ...memory import described
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        with torch.random.fork_rng(devices=[]):  # a training may go on after this
            model = T5EncoderModel.from_pretrained(name, dtype=torch.float32)
    except Exception as exc:  # whatever the hub, its cache and the formats in it make of it
        raise CheckpointError(f"The text encoder {name}, of which AudioCraft's checkpoints have only the name, cannot "
                              f"be had ({type(exc).__name__}: {reason(exc)}): export where it is in the cache of "
                              "Hugging Face (HF_HOME), or where the hub can be reached.") from exc
    return TextEncoder(model.config.to_dict(), described(dict(model.named_parameters())), _files(tokenizer))


def _files(tokenizer: Any) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    config = json.loads(files["tokenizer_config.json"])
    kept = {OLD if key == NEW and isinstance(value, list) else key: value for key, value in config.items()
            if key not in OF_THIS_MACHINE}
    return {**files, "tokenizer_config.json": as_json(kept).encode()}
