"""Convert between torch files and the safetensors format (a safetensors and a YAML file for each), without loss.

The metadata key `content` stores the order of the keys, which tensors are tied, and all other values, so that the
torch files can be restored byte for byte.
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
from ..text_file import AGAIN, MAX_TEXT_FILE, read_text
from .file import read_safetensors, refuse_large_text
from .flatten import Flattened, unflatten

INDEX = ".safetensors.index.json"
CODEC_PREFIX = "compression_"  # file name prefix of a compression model next to another model
_CONFIG = re.compile(r"(\w+_)?config(_\d+)?\.yaml")


def to_safetensors(contents: Mapping[str, Content], manifest: Manifest,
                   max_shard_size: Union[str, int]) -> dict[str, Content]:
    """Convert the files of a release for AudioCraft to the safetensors format.

    Args:
        contents: the contents of the files for AudioCraft by file name.
        manifest: the manifest of the release.
        max_shard_size: maximum size of a file in bytes, or as `5GB`.

    Returns:
        The contents of the converted files by file name.

    Raises:
        CheckpointError: if safetensors does not support the content.
        OptionError: if `max_shard_size` is invalid.
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
            files[f"{model}.json"] = _to_json(text)
        files.update(configs)
    return files


def split_into_shards(stem: str, tensors: Mapping[str, LazyTensor], metadata: Mapping[str, str],
                      text: Mapping[str, str], max_shard_size: Union[str, int]) -> dict[str, Content]:
    """Split the tensors of a model into one file, or into shards with an index, as `huggingface_hub` does.

    Args:
        stem: the stem of the file names.
        tensors: the tensors by name.
        metadata: metadata for the header of each file.
        text: additional metadata for the single file, or for the index if there are several files.
        max_shard_size: maximum size of a file in bytes, or as `5GB`. A larger tensor gets a separate file.

    Returns:
        The contents of the files by file name.

    Raises:
        CheckpointError: if the index would be too large.
        OptionError: if `max_shard_size` is invalid.
    """
    from huggingface_hub import split_state_dict_into_shards_factory
    try:
        split = split_state_dict_into_shards_factory(
            dict(tensors), get_storage_size=lambda tensor: tensor.nbytes, max_shard_size=max_shard_size,
            filename_pattern=f"{stem}{{suffix}}.safetensors")
    except ValueError as exc:
        raise OptionError("invalid-option", f"Invalid value {max_shard_size!r} for max_shard_size: {reason(exc)}",
                          "use a size such as 5GB") from exc
    if not split.is_sharded:
        return {f"{stem}.safetensors": Tensors(tensors, {**metadata, **text})}
    index = {"metadata": {**split.metadata, **metadata, **text}, "weight_map": split.tensor_to_filename}
    shards: dict[str, Content] = {file: Tensors({name: tensors[name] for name in names}, metadata)
                                  for file, names in split.filename_to_tensors.items()}
    return {**shards, f"{stem}{INDEX}": _to_json(index, sort_keys=True)}


def config_files(contents: Mapping[str, Content], names: Collection[str]) -> dict[str, str]:
    """Return the configurations of a release as YAML, by the names of their files in the safetensors format.

    Args:
        contents: the contents of files in AudioCraft's format, by name.
        names: the names of all files of the release in AudioCraft's format.
    """
    texts = {name: content for name, content in contents.items() if isinstance(content, str)}
    for name, content in contents.items():
        if isinstance(content, Mapping):
            texts.update(_config_files(content, _stems(name, names)[1]))
    return texts


def from_safetensors(folder: Path, names: Sequence[str]) -> dict[str, Content]:
    """Restore the files of a release for AudioCraft from the files that `to_safetensors` made.

    Args:
        folder: the release folder.
        names: names of the files of the release, in the order of its manifest.

    Returns:
        The contents of the restored files by file name, in the same order.

    Raises:
        CheckpointError: if a file cannot be read, or the files do not belong together.
    """
    configs = {name: read_text(folder / name) for name in names if _CONFIG.fullmatch(name)}
    indexes = {name: _read_index(folder / name, names) for name in names if name.endswith(INDEX)}
    shards = {shard for index in indexes.values() for shard in index["weight_map"].values()}
    contents: dict[str, Content] = {}
    for name in [name for name in names if name not in configs and name not in shards]:
        if name.endswith(".yaml"):
            contents[name] = read_text(folder / name)
            continue
        file, content = _unflatten_file(folder / name, _read_model(folder / name, indexes.get(name)), configs)
        if file in contents or not (is_torch_file(file) and OwnedFiles.owns(file)):
            problem = "duplicate" if file in contents else "invalid"
            raise CheckpointError("damaged-release", f"{folder / name}: {problem} file name {file!r} in its metadata",
                                  AGAIN)
        contents[file] = content
    used = [text for content in contents.values() if isinstance(content, Mapping)
            for text in _config_files(content, "").values()]
    unused = [name for name, text in configs.items() if text not in used]
    if unused:  # they could be mistaken for the configuration of the model
        raise CheckpointError("damaged-release", f"{folder} has configurations that no model refers to: "
                              f"{listing(unused)}", AGAIN)
    return contents


def expected_metadata(name: str, manifest: Manifest) -> dict[str, Optional[str]]:
    """Return the metadata that a safetensors file or an index must have; keys with the value None must be absent."""
    if name.startswith(CODEC_PREFIX) and manifest.codec is not None:
        sig = manifest.codec.get("sig")
        return {"format": "pt", "sig": sig if isinstance(sig, str) else None}
    sig = manifest.sig or "" if manifest.release_format == "transformers" else manifest.name
    return {"format": "pt", "sig": sig, "weights": manifest.weights}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file with an object.

    Raises:
        CheckpointError: if the file cannot be read, or is not a JSON object.
    """
    try:
        values = json.loads(read_text(path))
    except (ValueError, RecursionError) as exc:
        raise CheckpointError("damaged-release", f"{path} is not valid JSON: {exc}", AGAIN) from exc
    if not isinstance(values, dict):
        raise CheckpointError("damaged-release", f"{path}: expected a JSON object", AGAIN)
    return values


def _to_json(values: Mapping[str, Any], sort_keys: bool = False) -> str:
    """Return the text of a file that `read_json` accepts; raise an error if it would be too large."""
    text = json.dumps(values, indent=2, sort_keys=sort_keys) + "\n"
    refuse_large_text(len(text), MAX_TEXT_FILE)
    return text


def _stems(name: str, names: Collection[str]) -> tuple[str, str]:
    """Return the file stems of a model and its configuration, with a prefix for a codec next to another model."""
    if name in OWN_NAMES:
        before = CODEC_PREFIX if name == CODEC_FILE and len(names) > 1 else ""
        return f"{before}model", f"{before}config"
    return Path(name).stem, f"{Path(name).stem}_config"


def _config_files(content: Mapping[Any, Any], config: str) -> dict[str, str]:
    """Return each configuration in a torch file by the name of its YAML file; there may be one per band."""
    if isinstance(content.get("xp.cfg"), str):
        return {f"{config}.yaml": content["xp.cfg"]}
    bands = {key: band["xp.cfg"] for key, band in content.items() if isinstance(band, dict) and "xp.cfg" in band}
    return {f"{config}_{key}.yaml" if len(bands) > 1 else f"{config}.yaml": text for key, text in bands.items()}


def _model_metadata(name: str, content: Mapping[Any, Any], manifest: Manifest) -> dict[str, str]:
    codec = manifest.codec or {}
    is_main = name != CODEC_FILE or manifest.codec is None
    metadata = {"format": "pt", "sig": manifest.name if is_main else codec.get("sig"),
                "version": content.get("version"), "weights": manifest.weights if is_main else None}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def _read_model(path: Path, index: Optional[Mapping[str, Any]]) -> Tensors:
    """Read a model from a single file, or from its shards, each tensor from the shard that the index names."""
    if index is None:
        return Tensors({}, read_json(path)) if path.name.endswith(".json") else read_safetensors(path)
    weight_map = index["weight_map"]
    shards = {shard: read_safetensors(path.parent / shard).tensors for shard in {*weight_map.values()}}
    found = [(name, shard) for shard, tensors in shards.items() for name in tensors]
    if sorted(found) != sorted(weight_map.items()):
        raise CheckpointError("damaged-release", f"{path} does not list the tensors that are in its shards", AGAIN)
    return Tensors({name: shards[shard][name] for name, shard in weight_map.items()}, index["metadata"])


def _unflatten_file(path: Path, model: Tensors, configs: Mapping[str, str]) -> tuple[str, dict[Any, Any]]:
    """Restore a torch file from a model: return the file name in the metadata, and the content."""
    name, text = model.metadata.get("file"), model.metadata.get("content")
    if not isinstance(name, str) or not isinstance(text, str):
        raise CheckpointError("damaged-release", f"{path}: the metadata lacks the keys `file` and `content`",
                              AGAIN)
    try:
        return name, unflatten(text, model.tensors, configs)
    except CheckpointError as exc:
        raise CheckpointError("damaged-release", f"{path} cannot be restored: {exc.message}", exc.hint) from exc


def _read_index(path: Path, names: Collection[str]) -> dict[str, Any]:
    index = read_json(path)
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not isinstance(index.get("metadata"), dict) \
            or any(shard not in names for shard in shards.values()):
        raise CheckpointError("damaged-release", f"{path} is not a valid index of files in this release", AGAIN)
    return index
