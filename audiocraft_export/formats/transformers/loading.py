"""Loading a model with transformers, and saying what does not fit instead of making it up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

import torch
import transformers
from transformers.utils import logging

from ...errors import ReleaseError, reason
from ..safetensors.layout import read_json


def load_strictly(architecture: str, source: Union[str, Path], **options: Any) -> tuple[Any, list[str]]:
    """A model of transformers, and what of its weights is missing, unexpected or of another shape: nothing should be.

    Args:
        architecture: the class.
        source: a folder, or a name on the hub.
        options: of its `from_pretrained`.
    """
    with quiet(), torch.random.fork_rng(devices=[]):  # a training may go on after this
        model, info = getattr(transformers, architecture).from_pretrained(source, output_loading_info=True, **options)
    return model, [f"{kind.replace('_', ' ')} {name}" for kind, names in info.items()
                   for name in sorted(map(str, names))]


def stored(folder: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    """What a file of safetensors in a folder holds, or else its shards, as its library reads them; nothing without one.

    Args:
        folder: of a release, in which somebody may keep other files.
        name: of the file.

    Raises:
        ReleaseError: if it cannot.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    try:
        return {key: tensor for path in _files(folder, name) for key, tensor in load_file(path).items()}
    except (OSError, SafetensorError, LookupError, AttributeError) as exc:
        raise ReleaseError(f"The weights in {folder} cannot be read ({reason(exc)}): export again.") from exc


def _files(folder: Path, name: str) -> list[Path]:
    index = folder / f"{name}.index.json"
    if os.path.isfile(folder / name) or not os.path.isfile(index):
        return [folder / name] if os.path.isfile(folder / name) else []
    return [folder / shard for shard in sorted({*map(str, read_json(index)["weight_map"].values())})]


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bar of transformers: an export has one of its own."""
    drawn = logging.is_progress_bar_enabled()  # type: ignore[no-untyped-call, unused-ignore]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    try:
        yield
    finally:
        if drawn:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
