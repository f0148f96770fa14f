"""A release in the form of transformers: which of its classes the model is, and the files of that."""

from __future__ import annotations

from typing import Union

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing
from ...release.compression_model import CompressionModel
from ...release.content import Content, Tensors
from ...release.families.registry import COMPRESSION
from ...release.prepare import PreparedRelease
from ..safetensors.shards import split_into_shards
from .encodec.convert import encodec
from .encodec.pretrained import public_encodec
from .model_files import USE, Parts
from .musicgen.architecture import DECODER_ALONE, layout_of
from .musicgen.constraints import refuse_family
from .musicgen.convert import musicgen

CONFIG, CODEC_CONFIG, OTHERS = "config.yaml", "compression_config.yaml", "conditioners.safetensors"


def transformers_files(draft: PreparedRelease, most: Union[str, int]) -> dict[str, Content]:
    """The files of a release that `from_pretrained` of transformers takes, by name.

    Args:
        draft: the release.
        most: bytes of a file of safetensors, or as `5GB`.

    Raises:
        CheckpointError: if transformers cannot represent this model; the message says why, and which format works.
        ReleaseError: if what belongs inside (a T5, a public codec) cannot be had here.
    """
    manifest, model = draft.manifest, draft.models[0]
    others = [str(name) for name, value in model.weights.state.items() if not isinstance(value, LazyTensor)]
    if others:
        raise CheckpointError(f"The model's state holds what is no tensor ({listing(others)}), for which transformers "
                              f"has no place: {USE}")
    codec = draft.codec if draft.family is not COMPRESSION and not _is_alone(draft) else None
    parts = encodec(model.content) if draft.family is COMPRESSION else \
        musicgen(model, _inside(codec) if codec else None)
    about = {"format": "pt", "sig": manifest.sig or "", "version": model.version, "weights": manifest.weights}
    files = split_into_shards("model", parts.tensors, about, {}, most)
    if parts.others:
        files[OTHERS] = Tensors(parts.others, about)
    own = codec.content.get("xp.cfg") if codec else None
    return {**files, **parts.files, CONFIG: model.config.text, **({CODEC_CONFIG: own} if own else {})}


def _is_alone(draft: PreparedRelease) -> bool:
    """Whether the model is a decoder without anything around it.

    Raises:
        CheckpointError: if transformers has no class for it at all.
    """
    config = draft.models[0].config
    refuse_family(draft.models[0].checkpoint.config)
    return layout_of(config).architecture == DECODER_ALONE


def _inside(codec: CompressionModel) -> Parts:
    name = codec.content.get("pretrained")
    return public_encodec(name) if isinstance(name, str) else encodec(codec.content)
