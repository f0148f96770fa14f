"""Drop-in replacements for the functions of `audiocraft.utils.export`: same names, arguments and files."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

from .. import progress
from ..checkpoint.checkpoint import open_checkpoint
from ..errors import CheckpointError, printable, show_warning
from ..formats.encoders import encode
from ..release.compression_model import Lookup, compression_model_by_name
from ..release.families.registry import describe_model, family_of
from ..release.model import ReleaseModel
from ..release.owned_files import OwnedFiles, refuse_training_checkpoint
from ..release.provenance import nonfinite_warning, version_tag
from ..storage.writer import resolve_output, write_file

logger = logging.getLogger(__name__)
PathOrText = Union[Path, str]


def export_lm(checkpoint_path: PathOrText, out_file: PathOrText) -> PathOrText:
    """Export the best state of a language model, as `audiocraft.utils.export.export_lm` does.

    Args:
        checkpoint_path: the training checkpoint.
        out_file: the file to write; an existing file is replaced, unless it is a training checkpoint.

    Returns:
        `out_file`.

    Raises:
        ExportError: if the model cannot be exported or written.
    """
    return _export_best(checkpoint_path, out_file, "export_lm")


def export_encodec(checkpoint_path: PathOrText, out_file: PathOrText) -> PathOrText:
    """Export the best state of a compression model, as `audiocraft.utils.export.export_encodec` does.

    Args:
        checkpoint_path: the training checkpoint.
        out_file: the file to write; an existing file is replaced, unless it is a training checkpoint.

    Returns:
        `out_file`.

    Raises:
        ExportError: if the model cannot be exported or written.
    """
    return _export_best(checkpoint_path, out_file, "export_encodec")


def export_pretrained_compression_model(pretrained_encodec: PathOrText, out_file: PathOrText) -> PathOrText:
    """Export a pretrained compression model, as the function of the same name in `audiocraft.utils.export` does.

    Args:
        pretrained_encodec: the name of a public model without `//pretrained/`, such as `facebook/encodec_32khz`, or
            the path of an exported compression model.
        out_file: the file to write; an existing file is replaced, unless it is a training checkpoint.

    Returns:
        `out_file`.

    Raises:
        ExportError: if the model cannot be exported or written.
    """
    name = str(pretrained_encodec)
    if not name or name.startswith("//"):
        raise CheckpointError("unknown-model-name", f"{name!r} is neither the name of a public model nor a path",
                              "give the name that follows //pretrained/ in the configuration")
    return _write(out_file, compression_model_by_name(name, Lookup(Path(), Path(), version_tag())).content)


def _export_best(checkpoint_path: PathOrText, out_file: PathOrText, drop_in: str) -> PathOrText:
    """Export the best state of a model to a file, if `drop_in` is the function for its family."""
    checkpoint = open_checkpoint(Path(checkpoint_path))
    expected = family_of(checkpoint.config).drop_in
    if expected not in (drop_in, None):
        raise CheckpointError("family-mismatch", f"{checkpoint_path} is {describe_model(checkpoint.config)}",
                              f"use {expected} instead of {drop_in}")
    model = ReleaseModel.from_checkpoint(checkpoint, version_tag(), of_audiocraft=True)
    for note in model.weights.notes:
        logger.warning(show_warning(note, str(checkpoint_path)))
    return _write(out_file, model.content)


def _write(out_file: PathOrText, content: Mapping[str, Any]) -> PathOrText:
    path = resolve_output(Path(out_file), is_valid=os.path.isfile)
    refuse_training_checkpoint(path)
    with progress.track(printable(path.name)):
        encoder = encode(content)
        write_file(path, encoder, OwnedFiles.owns)
    if encoder.nonfinite:
        logger.warning(show_warning(nonfinite_warning(str(out_file), encoder.nonfinite)))
    return out_file
