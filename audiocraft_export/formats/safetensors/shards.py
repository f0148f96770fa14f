"""Split a model into several files of safetensors and an index."""

import json
from collections.abc import Mapping
from typing import Union

from huggingface_hub import split_state_dict_into_shards_factory

from ...checkpoint.tensor import LazyTensor
from ...errors import OptionError
from ...release.content import Content, Tensors


def split_into_shards(stem: str, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str],
                      text: Mapping[str, str], max_shard_size: Union[str, int]) -> dict[str, Content]:
    """The files of a model: one, or several with an index, as `huggingface_hub` splits and names them.

    Args:
        stem: of the names of the files.
        tensors: of the model, by name.
        metadata: of the header of each file.
        text: metadata of the one file, or of the index if there are several.
        max_shard_size: bytes, or as `5GB`; a tensor that is larger has a file of its own.

    Raises:
        OptionError: if the size is invalid.
    """
    try:
        split = split_state_dict_into_shards_factory(
            dict(tensors), get_storage_size=lambda tensor: tensor.nbytes, max_shard_size=max_shard_size,
            filename_pattern=f"{stem}{{suffix}}.safetensors")
    except ValueError as exc:
        raise OptionError(f"max_shard_size={max_shard_size} is no option ({exc}): use a size such as 5GB.") from exc
    if not split.is_sharded:
        return {f"{stem}.safetensors": Tensors(tensors, {**metadata, **text})}
    index = {"metadata": {**split.metadata, **metadata, **text}, "weight_map": split.tensor_to_filename}
    shards: dict[str, Content] = {file: Tensors({name: tensors[name] for name in names}, metadata)
                                  for file, names in split.filename_to_tensors.items()}
    return {**shards, f"{stem}.safetensors.index.json": json.dumps(index, indent=2, sort_keys=True) + "\n"}
