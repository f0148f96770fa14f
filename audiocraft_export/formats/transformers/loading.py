"""Load models and weights with transformers and safetensors, and report what does not match."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any, Callable, TypeVar, Union

import torch
import transformers
from transformers.utils import logging

from ...errors import ReleaseError, reason
from ..safetensors.layout import read_json

T = TypeVar("T")


def load_strictly(architecture: str, source: Union[str, Path], **options: Any) -> tuple[Any, list[str]]:
    """Load a model with `from_pretrained` of a transformers class, from a folder or by its name on the Hub.

    With it come the names of the weights that are missing, unexpected or of another shape.
    """
    with hide_progress_bars(), torch.random.fork_rng(devices=[]):  # a training may go on after this
        model, info = getattr(transformers, architecture).from_pretrained(source, output_loading_info=True, **options)
    return model, [f"{kind.replace('_', ' ')} {name}" for kind, names in info.items()
                   for name in sorted(map(str, names))]


def load_cache_first(load: Callable[..., T], name: str) -> T:
    """Load a public model from the local cache, or else from the Hub.

    Raises:
        OSError: if the Hub cannot be reached or has no such model.
    """
    try:
        return load(name, local_files_only=True)  # filled by a training on this machine
    except OSError:
        return load(name)


def load_safetensors(folder: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    """Load the tensors of a safetensors file in a release folder, or of its shards; none if there is no such file.

    Raises:
        ReleaseError: if it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    try:
        return {key: tensor for path in _weight_files(folder, name) for key, tensor in load_file(path).items()}
    except (OSError, SafetensorError, LookupError, AttributeError) as exc:
        raise ReleaseError(f"The weights in {folder} cannot be read ({reason(exc)}): export again.") from exc


def _weight_files(folder: Path, name: str) -> list[Path]:
    """The file or its shards by their index: other files in the folder may belong to somebody else."""
    index = folder / f"{name}.index.json"
    if os.path.isfile(folder / name):
        return [folder / name]
    if not os.path.isfile(index):
        return []
    return [folder / shard for shard in sorted({*map(str, read_json(index)["weight_map"].values())})]


@contextmanager
def explain_errors(describe: Callable[[str], ReleaseError]) -> Iterator[None]:
    """Turn whatever a library raises into an error made of its type and message; a ReleaseError is one already."""
    try:
        yield
    except ReleaseError:
        raise
    except Exception as exc:  # transformers and AudioCraft raise many types
        frame = extract_tb(exc.__traceback__)[-1]
        message = " ".join(str(exc).split()) or f"{frame.line} in {frame.filename}"
        raise describe(f"{type(exc).__name__}: {message}") from exc


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Switch off the progress bars of transformers: an export has its own."""
    enabled = logging.is_progress_bar_enabled()  # type: ignore[no-untyped-call, unused-ignore]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
