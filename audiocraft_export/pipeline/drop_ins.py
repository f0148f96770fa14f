"""Drop-ins for `audiocraft.utils.export`: same names, arguments and files, so that a script changes only its import."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

from .. import progress
from ..checkpoint.checkpoint import open_checkpoint
from ..errors import CheckpointError, printable
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
    """Drop-in for `audiocraft.utils.export.export_lm`: write the best state of a language model, return `out_file`.

    Raises:
        ExportError: if it cannot be exported or written.
    """
    return _export_best(checkpoint_path, out_file, "export_lm")


def export_encodec(checkpoint_path: PathOrText, out_file: PathOrText) -> PathOrText:
    """Drop-in for `audiocraft.utils.export.export_encodec`, as `export_lm` for a compression model.

    Raises:
        ExportError: if it cannot be exported or written.
    """
    return _export_best(checkpoint_path, out_file, "export_encodec")


def export_pretrained_compression_model(pretrained_encodec: PathOrText, out_file: PathOrText) -> PathOrText:
    """Drop-in for `audiocraft.utils.export.export_pretrained_compression_model`, which returns `out_file`, too.

    The model is a public name without `//pretrained/`, such as `facebook/encodec_32khz`, or the path of a compression
    model that was exported before.

    Raises:
        ExportError: if it cannot be exported or written.
    """
    name = str(pretrained_encodec)
    if not name or name.startswith("//"):
        raise CheckpointError(f"{name!r} is no name of a public model and no path: give what follows //pretrained/ in "
                              "the configuration.")
    return _write(out_file, compression_model_by_name(name, Lookup(Path(), Path(), version_tag())).content)


def _export_best(checkpoint_path: PathOrText, out_file: PathOrText, drop_in: str) -> PathOrText:
    checkpoint = open_checkpoint(Path(checkpoint_path))
    right = family_of(checkpoint.config).drop_in
    if right not in (drop_in, None):
        raise CheckpointError(f"{checkpoint_path} is {describe_model(checkpoint.config)}: use {right}.")
    model = ReleaseModel.from_checkpoint(checkpoint, version_tag(), of_audiocraft=True)
    for note in model.weights.notes:
        logger.warning(printable(f"{checkpoint_path}: {note}"))
    return _write(out_file, model.content)


def _write(out_file: PathOrText, content: Mapping[str, Any]) -> PathOrText:
    path = resolve_output(Path(out_file), is_valid=os.path.isfile)
    refuse_training_checkpoint(path)
    with progress.track(printable(path.name)):
        encoder = encode(content)
        write_file(path, encoder, OwnedFiles.owns)
    if encoder.nonfinite:
        logger.warning(printable(nonfinite_warning(str(out_file), encoder.nonfinite)))
    return out_file
