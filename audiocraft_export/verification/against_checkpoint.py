"""Compare a release with what an export of its checkpoint would produce, tensor by tensor."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.tensor import LazyTensor
from ..checkpoint.torch_file import TorchFile
from ..errors import ReleaseError
from ..experiment.xp import CHECKPOINT_NAME, MANIFEST, AnyPath
from ..formats.registry import encode_release
from ..formats.safetensors.file import read_safetensors
from ..options import AUDIOCRAFT, ExportOptions
from ..release.content import Content, Tensors
from ..release.families.registry import CODEC_FILE, LM_FILE
from ..release.manifest import Manifest
from ..release.prepare import prepare
from ..release.weights import Weights, compact
from .file import Problem


def checkpoint_of(path: Path) -> Optional[str]:
    """The checkpoint of a release folder or file, as the option `checkpoint` names it; None is `checkpoint.th`."""
    manifest = Manifest.load_or_none(_release_folder(path))
    made_of = CHECKPOINT_NAME.fullmatch(str((manifest.checkpoint or {}).get("name"))) if manifest else None
    return made_of["name"] if made_of else None


@dataclass(frozen=True)
class Comparison:
    """How a release differs from what an export of its checkpoint would produce with the same options."""

    problems: Sequence[Problem]
    notes: Sequence[str]  # what that export leaves out of the weights, or renames


def compare_with_checkpoint(path: Path, checkpoint: Checkpoint, xp_folder: Path,
                            dora_dir: Optional[AnyPath] = None) -> Comparison:
    """Compare a release, a folder or one of its files, with a checkpoint; `xp_folder`, `dora_dir` as in `prepare`.

    Raises:
        ExportError: if the checkpoint cannot be exported.
    """
    folder = _release_folder(path)
    manifest = Manifest.load_or_none(folder)
    if manifest is not None and manifest.bands:
        raise ReleaseError(f"{folder} is made of several experiments ({manifest.name}): no one checkpoint says what "
                           "it should be; leave --against out.")
    options = options_of(manifest, path)
    prepared = prepare(checkpoint, xp_folder, options, dora_dir)
    problems = [*content_problems(path, encode_release(prepared, options), checkpoint.where)]
    if problems and manifest is not None:
        problems[:0] = _origin_problems(MANIFEST if path == folder else path.name, manifest, checkpoint)
    codec = [f"compression model: {note}" for note in prepared.codec.notes] if prepared.codec else []
    return Comparison(problems, [*(note for model in prepared.models for note in model.weights.notes), *codec])


def _origin_problems(file: str, manifest: Manifest, checkpoint: Checkpoint) -> Iterator[Problem]:
    """Why a release differs from a checkpoint, as far as its manifest tells."""
    source = asdict(checkpoint.file.source) if checkpoint.file else {}
    made_of = manifest.checkpoint or {"name": "a living solver"}
    if manifest.sig != checkpoint.sig:
        yield Problem(file, None, f"is of {manifest.sig}, and {checkpoint.where} of {checkpoint.sig}")
    elif made_of.get("name") != source.get("name"):
        yield Problem(file, None, f"is of {made_of.get('name')}, and not of {checkpoint.where}")
    elif any(made_of.get(key) != source[key] for key in ("bytes", "identity" if "identity" in made_of else "mtime_ns")):
        yield Problem(file, None, f"is of another state of {checkpoint.where} than the one that is there now")


def content_problems(path: Path, contents: Mapping[str, Content], where: str) -> Iterator[Problem]:
    """The differences between a release, or one of its files, and what an export of a checkpoint would write."""
    folder = _release_folder(path)
    for name in contents if path == folder else [path.name]:
        if name not in contents:
            yield Problem(name, None, f"is in no release of {where}")
        elif not os.path.isfile(folder / name):
            yield Problem(name, None, f"is missing, and in a release of {where}")
        else:
            yield from _file_problems(folder / name, contents[name])


def _file_problems(path: Path, expected: Content) -> Iterator[Problem]:
    if isinstance(expected, (str, bytes)):
        if path.read_bytes() != (expected if isinstance(expected, bytes) else expected.encode("utf-8")):
            yield Problem(path.name, None, "is not what the checkpoint says")
    elif isinstance(expected, Tensors):
        found = read_safetensors(path)
        yield from _diff(path.name, "", dict(expected.tensors), dict(found.tensors))
        yield from _diff(path.name, "", dict(expected.metadata), dict(found.metadata))
    else:
        state = compact(Weights(TorchFile.read(path).state, path.name, ""), None).state
        yield from _diff(path.name, "", expected, state)


def options_of(manifest: Optional[Manifest], path: Path) -> ExportOptions:
    """The options of a release folder or file; those of AudioCraft's own format if it has no manifest."""
    folder, name = (path, LM_FILE) if os.path.isdir(path) else (path.parent, path.name)
    codec = "auto" if os.path.isfile(folder / CODEC_FILE) and (path == folder or name == CODEC_FILE) else "none"
    if manifest is not None:
        if manifest.release_format != AUDIOCRAFT:
            codec = "auto" if manifest.codec else "none"
        return ExportOptions.from_mapping({**manifest.options, "codec": codec})
    version = TorchFile.read(folder / name).state.get("version") if os.path.isfile(folder / name) else None
    return ExportOptions(version=version if isinstance(version, str) else None, codec=codec)


def _release_folder(path: Path) -> Path:
    return path if os.path.isdir(path) else path.parent


def _diff(file: str, key: str, expected: Any, found: Any) -> Iterator[Problem]:
    """The differences between two nested values, by dotted key."""
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)) and len(expected) == len(found):
        expected, found = dict(enumerate(expected)), dict(enumerate(found))
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in {**expected, **found}:
            inner = f"{key}.{name}" if key else str(name)
            if name not in found:
                yield Problem(file, inner, "is missing, and in the checkpoint")
            elif name not in expected:
                yield Problem(file, inner, "is not in the checkpoint")
            else:
                yield from _diff(file, inner, expected[name], found[name])
    elif isinstance(expected, LazyTensor) and isinstance(found, LazyTensor):
        shown, wanted = (f"{tensor.dtype} {list(tensor.shape)}" for tensor in (found, expected))
        if shown != wanted:
            yield Problem(file, key, f"is {shown}, and {wanted} by the checkpoint")
        elif _digest(found) != _digest(expected):
            yield Problem(file, key, "has other numbers than the checkpoint")
    elif type(expected) is not type(found) or expected != found:
        yield Problem(file, key, "is not what the checkpoint says")


def _digest(tensor: LazyTensor) -> bytes:
    sha = sha256()
    for piece in tensor.blob.iter_checked():
        sha.update(piece)
    return sha.digest()
