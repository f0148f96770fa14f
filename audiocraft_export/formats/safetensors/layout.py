"""The format `safetensors`: each file of torch as one of safetensors and its configuration as YAML, without loss.

What tensors and YAML do not hold (the order of the keys, which tensors are tied, the other keys) is in the header,
under `content`; so the files of torch can be restored byte for byte.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, OptionError, listing, reason
from ...release.content import Content, Tensors
from ...release.families.registry import CODEC_FILE, OWN_NAMES
from ...release.manifest import Manifest
from ...release.owned_files import OwnedFiles, is_torch_file
from ...storage.file_reader import FileReader
from .file import read_safetensors
from .flatten import Flattened, unflatten
from .limits import MAX_TEXT_FILE

INDEX = ".safetensors.index.json"
_BESIDE = "compression_"  # prefix of the files of a compression model beside another one
_CONFIG = re.compile(r"(\w+_)?config(_\d+)?\.yaml")


def to_safetensors(contents: Mapping[str, Content], manifest: Manifest,
                   max_shard_size: Union[str, int]) -> dict[str, Content]:
    """The files of a release in safetensors, from those of the same release for AudioCraft.

    Args:
        max_shard_size: bytes of a file, or as `5GB`.

    Raises:
        CheckpointError: if safetensors cannot hold one of the tensors.
    """
    files: dict[str, Content] = {}
    for name, content in contents.items():
        if not isinstance(content, Mapping):
            files[name] = content
            continue
        model, config = _stems(name, contents)
        configs = _config_files(content, config)
        flat = Flattened(content, configs)
        text = {"file": name, "content": flat.text}
        if flat.tensors:
            metadata = _model_metadata(name, content, manifest)
            files.update(split_into_shards(model, flat.tensors, metadata, text, max_shard_size))
        else:
            files[f"{model}.json"] = json.dumps(text, indent=2) + "\n"
        files.update(configs)
    return files


def split_into_shards(stem: str, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str],
                      text: Mapping[str, str], max_shard_size: Union[str, int]) -> dict[str, Content]:
    """The files of a model: one, or several with an index, as `huggingface_hub` splits and names them.

    Args:
        metadata: of the header of each file.
        text: metadata of the one file, or of the index if there are several.
        max_shard_size: bytes, or as `5GB`; a tensor that is larger has a file of its own.

    Raises:
        OptionError: if the size is invalid.
    """
    from huggingface_hub import split_state_dict_into_shards_factory
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
    return {**shards, f"{stem}{INDEX}": json.dumps(index, indent=2, sort_keys=True) + "\n"}


def from_safetensors(folder: Path, names: Sequence[str]) -> dict[str, Content]:
    """The files of a release for AudioCraft, restored from those of `to_safetensors` by their names, in their order.

    Raises:
        CheckpointError: if they cannot be read, or do not belong together.
    """
    configs = {name: _read_text(folder / name) for name in names if _CONFIG.fullmatch(name)}
    indexes = {name: _read_index(folder / name, names) for name in names if name.endswith(INDEX)}
    shards = {shard for index in indexes.values() for shard in index["weight_map"].values()}
    contents: dict[str, Content] = {}
    for name in [name for name in names if name not in configs and name not in shards]:
        if name.endswith(".yaml"):
            contents[name] = _read_text(folder / name)
            continue
        file, content = _unflatten_file(folder / name, _read_model(folder / name, indexes.get(name)), configs)
        if file in contents or not (is_torch_file(file) and OwnedFiles.owns(file)):
            raise CheckpointError(f"{folder / name} says that it is {file!r}, as another one does or no file of "
                                  "torch in a release: export again.")
        contents[file] = content
    used = [text for content in contents.values() if isinstance(content, Mapping)
            for text in _config_files(content, "").values()]
    unused = [name for name, text in configs.items() if text not in used]
    if unused:  # a person would read them
        raise CheckpointError(f"{folder} has configurations that no model in it refers to ({listing(unused)}): export "
                              "again.")
    return contents


def expected_metadata(name: str, manifest: Manifest) -> dict[str, Optional[str]]:
    """What the metadata of a file of safetensors, or of an index, has to say of its release; None is nothing."""
    if name.startswith(_BESIDE) and manifest.codec is not None:
        sig = manifest.codec.get("sig")
        return {"format": "pt", "sig": sig if isinstance(sig, str) else None}
    sig = manifest.sig or "" if manifest.release_format == "transformers" else manifest.name
    return {"format": "pt", "sig": sig, "weights": manifest.weights}


def read_json(path: Path) -> dict[str, Any]:
    """Read a mapping from a file of JSON; CheckpointError if it holds something else."""
    try:
        values = json.loads(_read_text(path))
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} is no JSON ({exc}): export again.") from exc
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is no mapping in JSON: export again.")
    return values


def _stems(name: str, names: Collection[str]) -> tuple[str, str]:
    """The stems of the names of a model and its configuration; a compression model beside another has a prefix."""
    if name in OWN_NAMES:
        before = _BESIDE if name == CODEC_FILE and len(names) > 1 else ""
        return f"{before}model", f"{before}config"
    return Path(name).stem, f"{Path(name).stem}_config"


def _config_files(content: Mapping[Any, Any], config: str) -> dict[str, str]:
    """The configurations in a file, by the names of the files that they get: one, or one per band."""
    if isinstance(content.get("xp.cfg"), str):
        return {f"{config}.yaml": content["xp.cfg"]}
    bands = {key: band["xp.cfg"] for key, band in content.items() if isinstance(band, dict) and "xp.cfg" in band}
    return {f"{config}_{key}.yaml" if len(bands) > 1 else f"{config}.yaml": text for key, text in bands.items()}


def _model_metadata(name: str, content: Mapping[Any, Any], manifest: Manifest) -> dict[str, str]:
    codec = manifest.codec or {}
    mine = name != CODEC_FILE or manifest.codec is None
    metadata = {"format": "pt", "sig": manifest.name if mine else codec.get("sig"), "version": content.get("version"),
                "weights": manifest.weights if mine else None}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def _read_model(path: Path, index: Optional[Mapping[str, Any]]) -> Tensors:
    """A model in one file, or in several, each tensor in the one that the index names."""
    if index is None:
        return Tensors({}, read_json(path)) if path.name.endswith(".json") else read_safetensors(path)
    places = index["weight_map"]
    shards = {shard: read_safetensors(path.parent / shard).tensors for shard in {*places.values()}}
    found = [(name, shard) for shard, tensors in shards.items() for name in tensors]
    if sorted(found) != sorted(places.items()):
        raise CheckpointError(f"{path} does not say of each tensor in which file it is: export again.")
    return Tensors({name: shards[shard][name] for name, shard in places.items()}, index["metadata"])


def _unflatten_file(path: Path, model: Tensors, configs: Mapping[str, str]) -> tuple[str, dict[Any, Any]]:
    """The name of the file of torch that the metadata of a model speaks of, and its content."""
    name, text = model.metadata.get("file"), model.metadata.get("content")
    if not isinstance(name, str) or not isinstance(text, str):
        raise CheckpointError(f"{path} does not say how its tensors were nested, as a release of this tool does: "
                              "export again.")
    try:
        return name, unflatten(text, model.tensors, configs)
    except CheckpointError as exc:
        raise CheckpointError(f"{path} cannot be put together: {exc}") from exc


def _read_index(path: Path, names: Collection[str]) -> dict[str, Any]:
    index = read_json(path)
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not isinstance(index.get("metadata"), dict) \
            or any(shard not in names for shard in shards.values()):
        raise CheckpointError(f"{path} is no index of files that are in this release: export again.")
    return index


def _read_text(path: Path) -> str:
    file = FileReader(path, "a release")
    try:
        return file.read_bytes(0, min(file.nbytes, MAX_TEXT_FILE)).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise CheckpointError(f"{path} is no text ({reason(exc)}): export again.") from exc
