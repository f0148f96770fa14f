"""Load models and weights with transformers and safetensors, and report mismatches."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any, Callable, TypeVar, Union

import torch
import transformers
from transformers.utils import logging

from ...errors import ExportError, ReleaseError, describe_exception, permission_hint, reason
from ..safetensors.layout import read_json

T = TypeVar("T")


def load_strictly(architecture: str, source: Union[str, Path], **options: Any) -> tuple[Any, list[str]]:
    """Load a model with `from_pretrained` of a transformers class.

    Args:
        architecture: the name of the class.
        source: a folder, or the name of a model on the Hub.
        options: further arguments of `from_pretrained`.

    Returns:
        The model, and a list of the weights that are missing, unexpected or of another shape.
    """
    with hide_progress_bars(), torch.random.fork_rng(devices=[]):  # keeps the random state of a training
        model, info = getattr(transformers, architecture).from_pretrained(source, output_loading_info=True, **options)
    return model, [f"{kind.replace('_', ' ')} {name}" for kind, names in info.items()
                   for name in sorted(map(str, names))]


def load_cache_first(load: Callable[..., T], name: str) -> T:
    """Load a public model from the local cache, or from the Hub if it is not in the cache.

    Args:
        load: called with the name and options of `from_pretrained`.
        name: the name of the model on the Hub.

    Raises:
        OSError: if the model is not in the cache, and the Hub cannot be reached or does not have it.
    """
    try:
        return load(name, local_files_only=True)  # filled by a training on this machine
    except OSError:
        return load(name)


def load_safetensors(folder: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    """Load the tensors of a safetensors file in a release folder, or of its shards.

    Returns:
        The tensors by name; empty if the file does not exist.

    Raises:
        ReleaseError: if a file cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    try:
        return {key: tensor for path in _weight_files(folder, name) for key, tensor in load_file(path).items()}
    except (OSError, SafetensorError, LookupError, AttributeError) as exc:
        is_refused = isinstance(exc, OSError) and not isinstance(exc, FileNotFoundError)
        raise ReleaseError("read-failed" if is_refused else "damaged-release",
                           f"Cannot read the weights in {folder}: {reason(exc)}",
                           permission_hint(exc) if is_refused else "export again") from exc


def _weight_files(folder: Path, name: str) -> list[Path]:
    """Return the file, or the shards that its index lists; other files in the folder are not part of the release."""
    index = folder / f"{name}.index.json"
    if os.path.isfile(folder / name):
        return [folder / name]
    if not os.path.isfile(index):
        return []
    return [folder / shard for shard in sorted({*map(str, read_json(index)["weight_map"].values())})]


@contextmanager
def explain_errors(describe: Callable[[str], ReleaseError]) -> Iterator[None]:
    """Convert exceptions of a library to a ReleaseError.

    Args:
        describe: makes the error from the type and the message of the exception, in one line. It is not called for a
            ReleaseError, which is raised unchanged.
    """
    try:
        yield
    except ReleaseError:
        raise
    except ExportError as exc:
        raise describe(exc.message) from exc
    except Exception as exc:  # transformers and AudioCraft raise many types of exceptions
        frame = extract_tb(exc.__traceback__)[-1]
        raise describe(describe_exception(exc, f"{frame.line} in {frame.filename}")) from exc


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """Hide the progress bars of transformers, because an export shows its own."""
    enabled = logging.is_progress_bar_enabled()  # type: ignore[no-untyped-call, unused-ignore]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call, unused-ignore]
