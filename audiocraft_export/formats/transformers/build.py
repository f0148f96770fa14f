"""Convert a release to the transformers format."""

from collections.abc import Mapping
from typing import Any, Optional, Union

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
from .musicgen.architecture import DECODER_ALONE, layout_of
from .musicgen.constraints import refuse_family
from .musicgen.convert import to_musicgen


def transformers_files(prepared: PreparedRelease, max_shard_size: Union[str, int]) -> dict[str, Content]:
    """Convert a release to the files that `from_pretrained` of transformers loads, by name.

    Args:
        max_shard_size: in bytes or as `5GB`.

    Raises:
        CheckpointError: if transformers cannot represent this model; the message says why, and which format works.
        ReleaseError: if what belongs inside (a T5, a public codec) cannot be loaded here.
    """
    manifest, model = prepared.manifest, prepared.models[0]
    _refuse_other_types(model.weights.state)
    codec = _find_inner_codec(prepared)
    if prepared.family is COMPRESSION_FAMILY:
        converted = to_encodec(model.content)
    else:
        converted = to_musicgen(model, _convert_codec(codec) if codec else None)
    metadata = {"format": "pt", "sig": manifest.sig or "", "version": model.version, "weights": manifest.weights}
    files = split_into_shards("model", converted.tensors, metadata, {}, max_shard_size)
    if converted.others:
        files[OTHERS] = Tensors(converted.others, metadata)
    files.update({**converted.files, CONFIG: model.config.text})
    if codec and codec.content.get("xp.cfg"):
        files[CODEC_CONFIG] = codec.content["xp.cfg"]
    return files


def _refuse_other_types(state: Mapping[str, Any]) -> None:
    others = [str(name) for name, value in state.items() if not isinstance(value, LazyTensor)]
    if others:
        raise CheckpointError(f"The model's state holds what is no tensor ({listing(others)}), for which transformers "
                              f"has no place: {USE}")


def _find_inner_codec(prepared: PreparedRelease) -> Optional[CompressionModel]:
    """The compression model that a language model has inside in transformers; a decoder alone has none.

    Raises:
        CheckpointError: if transformers has no class for the model.
    """
    if prepared.family is COMPRESSION_FAMILY:
        return None
    model = prepared.models[0]
    refuse_family(model.checkpoint.config)
    return None if layout_of(model.config).architecture == DECODER_ALONE else prepared.codec


def _convert_codec(codec: CompressionModel) -> ModelFiles:
    name = codec.content.get("pretrained")
    return pretrained_encodec(name) if isinstance(name, str) else to_encodec(codec.content)
