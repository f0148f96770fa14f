"""Convert a release to the transformers format."""

from typing import Union

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing
from ...release.compression_model import CompressionModel
from ...release.content import Content, Tensors
from ...release.families.registry import COMPRESSION_FAMILY
from ...release.prepare import PreparedRelease
from ..safetensors.layout import split_into_shards
from .encodec.convert import to_encodec
from .encodec.pretrained import pretrained_encodec
from .model_files import CODEC_CONFIG, CONFIG, OTHERS, USE, ModelFiles
from .musicgen.constraints import refuse_family
from .musicgen.convert import to_musicgen


def transformers_files(prepared: PreparedRelease, max_shard_size: Union[str, int]) -> dict[str, Content]:
    """Convert a release to the files that `from_pretrained` of transformers loads.

    Args:
        prepared: the release.
        max_shard_size: maximum size of a file in bytes, or as `5GB`.

    Returns:
        The contents of the files by file name.

    Raises:
        CheckpointError: if transformers does not support this model, or its text encoder cannot be loaded.
        OptionError: if `max_shard_size` is invalid.
        ReleaseError: if a public codec that the release includes cannot be loaded.
    """
    manifest, model = prepared.manifest, prepared.models[0]
    others = [str(name) for name, value in model.weights.state.items() if not isinstance(value, LazyTensor)]
    if others:
        raise CheckpointError("unsupported-by-transformers", "transformers supports only tensors, and the state of the "
                              f"model has other values: {listing(others)}", USE)
    codec = prepared.codec
    if prepared.family is COMPRESSION_FAMILY:
        converted = to_encodec(model.content)
    else:
        refuse_family(model.checkpoint.config, prepared.family)
        converted = to_musicgen(model, _convert_codec(codec) if codec else None)
    metadata = {"format": "pt", "sig": manifest.sig or "", "version": model.version, "weights": manifest.weights}
    files = split_into_shards("model", converted.tensors, metadata, {}, max_shard_size)
    if converted.others:
        files[OTHERS] = Tensors(converted.others, metadata)
    files.update({**converted.files, CONFIG: model.config.text})
    if codec and codec.content.get("xp.cfg"):
        files[CODEC_CONFIG] = codec.content["xp.cfg"]
    return files


def _convert_codec(codec: CompressionModel) -> ModelFiles:
    name = codec.content.get("pretrained")
    return pretrained_encodec(name) if isinstance(name, str) else to_encodec(codec.content)
