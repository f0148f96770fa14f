"""Loading a model with transformers, and saying what does not fit instead of making it up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

import torch
import transformers
from transformers.utils import logging

from ..errors import ReleaseError, reason


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


def stored(folder: Path, pattern: str = "*.safetensors") -> dict[str, torch.Tensor]:
    """What files of safetensors in a folder hold, as its library reads them.

    Raises:
        ReleaseError: if it cannot.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    try:
        return {name: tensor for path in sorted(folder.glob(pattern)) for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as exc:
        raise ReleaseError(f"The weights in {folder} cannot be read ({reason(exc)}): export again.") from exc


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
