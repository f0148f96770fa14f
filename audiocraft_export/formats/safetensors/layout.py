"""The format `safetensors`: each file of torch as one of safetensors and its configuration as YAML, without loss.

What tensors and YAML do not say (the order of the names, which tensors are tied, the other keys) stands in the header,
under `content`; so the files of torch can be made again, byte for byte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from ...checkpoint.tensor import LazyTensor
from ...errors import CheckpointError, listing, reason
from ...release.content import Content
from ...release.families.registry import CODEC_FILE, OWN_NAMES
from ...release.manifest import Manifest
from ...release.owned_files import is_torch_file, OwnedFiles
from ...storage.file_reader import FileReader
from .file import read_safetensors
from .flatten import Flattened, unflatten

_INDEX = ".safetensors.index.json"
_CONFIG = re.compile(r"(\w+_)?config(_\d+)?\.yaml")
_MOST_TEXT = 1 << 25  # bytes of one that is no tensor


def to_safetensors(contents: Mapping[str, Content], draft: Manifest, most: Union[str, int]) -> dict[str, Content]:
    """The files of a release in safetensors.

    Args:
        contents: those of the same release for AudioCraft, by name.
        draft: what is known of it.
        most: bytes of a file, or as `5GB`.

    Raises:
        CheckpointError: if safetensors cannot hold one of the tensors.
    """
    from .shards import split_into_shards
    files: dict[str, Content] = {}
    for name, content in contents.items():
        if not isinstance(content, Mapping):
            files[name] = content
            continue
        model, config = _stems(name, contents)
        texts = _texts(content, config)
        flat = Flattened(content, texts)
        text = {"file": name, "content": flat.text}
        files.update(split_into_shards(model, flat.tensors, _about(name, content, draft), text, most) if flat.tensors
                     else {f"{model}.json": json.dumps(text, indent=2) + "\n"})
        files.update(texts)
    return files


def from_safetensors(folder: Path, names: Sequence[str]) -> dict[str, Content]:
    """The files of a release for AudioCraft, of which `to_safetensors` made those in a folder.

    Args:
        folder: the release folder.
        names: of the files of the release, in their order.

    Raises:
        CheckpointError: if they cannot be read, or do not belong together.
    """
    configs = {name: _text(folder / name) for name in names if _CONFIG.fullmatch(name)}
    indexes = {name: _index(folder / name, names) for name in names if name.endswith(_INDEX)}
    shards = {shard for index in indexes.values() for shard in index["weight_map"].values()}
    contents: dict[str, Content] = {}
    for name in [name for name in names if name not in configs and name not in shards]:
        if name.endswith(".yaml"):
            contents[name] = _text(folder / name)
        else:
            file, content = _content(folder, name, indexes.get(name), configs)
            if file in contents or not (is_torch_file(file) and OwnedFiles.owns(file)):
                raise CheckpointError(f"{folder / name} says that it is {file!r}, as another one does or no file of "
                                      "torch in a release: export again.")
            contents[file] = content
    _refuse_unused(folder, configs, contents)
    return contents


def read_json(path: Path) -> dict[str, Any]:
    """A mapping in a file of JSON.

    Raises:
        CheckpointError: if it is none.
    """
    try:
        values = json.loads(_text(path))
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{path} is no JSON ({exc}): export again.") from exc
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} is no mapping in JSON: export again.")
    return values


def _stems(name: str, names: Collection[str]) -> tuple[str, str]:
    """What to call a model and its configuration: plainly, but for a compression model beside another."""
    if name in OWN_NAMES:
        before = "compression_" if name == CODEC_FILE and len(names) > 1 else ""
        return f"{before}model", f"{before}config"
    return Path(name).stem, f"{Path(name).stem}_config"


def _texts(content: Mapping[Any, Any], config: str) -> dict[str, str]:
    """The configurations in a file, by the names of the files in which they will be: one, or one a band."""
    if isinstance(content.get("xp.cfg"), str):
        return {f"{config}.yaml": content["xp.cfg"]}
    bands = {key: band["xp.cfg"] for key, band in content.items() if isinstance(band, dict) and "xp.cfg" in band}
    return {f"{config}_{key}.yaml" if len(bands) > 1 else f"{config}.yaml": text for key, text in bands.items()}


def _about(name: str, content: Mapping[Any, Any], draft: Manifest) -> dict[str, str]:
    """What the header of a file says of the model in it."""
    codec = draft.codec or {}
    mine = name != CODEC_FILE or draft.codec is None
    about = {"format": "pt", "sig": draft.name if mine else codec.get("sig"), "version": content.get("version"),
             "weights": draft.weights if mine else None}
    return {key: value for key, value in about.items() if isinstance(value, str)}


def _content(folder: Path, name: str, index: Optional[Mapping[str, Any]],
             configs: Mapping[str, str]) -> tuple[str, dict[Any, Any]]:
    """The name of a file for AudioCraft, and what is in it."""
    path = folder / name
    if index is not None:
        tensors, about = _of_shards(path, index["weight_map"]), index["metadata"]
    elif name.endswith(".json"):
        tensors, about = {}, read_json(path)
    else:
        file = read_safetensors(path)
        tensors, about = dict(file.tensors), file.metadata
    if not isinstance(about.get("file"), str) or not isinstance(about.get("content"), str):
        raise CheckpointError(f"{path} does not say how its tensors were nested, as a release of this tool does: "
                              "export again.")
    try:
        return about["file"], unflatten(about["content"], tensors, configs)
    except CheckpointError as exc:
        raise CheckpointError(f"{path} cannot be put together: {exc}") from exc


def _of_shards(path: Path, places: Mapping[str, str]) -> dict[str, LazyTensor]:
    """The tensors of a model in several files, each where its index says."""
    shards = {shard: read_safetensors(path.parent / shard).tensors for shard in {*places.values()}}
    found = [(name, shard) for shard, tensors in shards.items() for name in tensors]
    if sorted(found) != sorted(places.items()):
        raise CheckpointError(f"{path} does not say of each tensor in which file it is: export again.")
    return {name: shards[shard][name] for name, shard in places.items()}


def _refuse_unused(folder: Path, configs: Mapping[str, str], contents: Mapping[str, Content]) -> None:
    """Refuse configurations that somebody reads and nothing was built from."""
    used = [text for content in contents.values() if isinstance(content, Mapping)
            for text in _texts(content, "").values()]
    unused = [name for name, text in configs.items() if text not in used]
    if unused:
        raise CheckpointError(f"{folder} has configurations that no model in it refers to ({listing(unused)}): export "
                              "again.")


def _index(path: Path, names: Collection[str]) -> dict[str, Any]:
    index = read_json(path)
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not isinstance(index.get("metadata"), dict) \
            or any(shard not in names for shard in shards.values()):
        raise CheckpointError(f"{path} is no index of files that are in this release: export again.")
    return index


def _text(path: Path) -> str:
    file = FileReader(path, "a release")
    try:
        return file.read_bytes(0, min(file.nbytes, _MOST_TEXT)).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise CheckpointError(f"{path} is no text ({reason(exc)}): export again.") from exc
