"""Compare a release, tensor by tensor, with what an export of its checkpoint would produce."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from ..checkpoint.checkpoint import Checkpoint
from ..checkpoint.state_dict import compact
from ..checkpoint.tensor import LazyTensor
from ..checkpoint.torch_file import TorchFile
from ..errors import ReleaseError, warning_about
from ..experiment.xp import MANIFEST, AnyPath, checkpoint_option
from ..formats.registry import prepare_release, release_contents
from ..formats.safetensors.file import read_safetensors
from ..options import AUDIOCRAFT, ExportOptions
from ..release.content import Content, Tensors, has_bytes, text_bytes
from ..release.families.registry import CODEC_FILE, LM_FILE
from ..release.manifest import Manifest
from ..release.owned_files import folder_of
from ..storage.checksum import sha256_of
from .file import Problem


def checkpoint_of(path: Path) -> Optional[str]:
    """Return which checkpoint a release was made from, as a value of the option `checkpoint` (None: checkpoint.th)."""
    manifest = Manifest.load_or_none(folder_of(path))
    return checkpoint_option(str(manifest.source.get("name"))) if manifest else None


@dataclass(frozen=True)
class Comparison:
    """The differences between a release and a new export of its checkpoint with the same options."""

    problems: Sequence[Problem]
    notes: Sequence[str]  # warnings about weights that the export leaves out or renames


def compare_with_checkpoint(path: Path, checkpoint: Checkpoint, xp_folder: Path,
                            dora_dir: Optional[AnyPath] = None) -> Comparison:
    """Compare a release with a checkpoint, tensor by tensor.

    Args:
        path: a release folder, or a file of a release.
        checkpoint: the checkpoint to compare with.
        xp_folder: the XP folder of the checkpoint.
        dora_dir: the Dora folder with the experiment of the compression model; None is the one that has `xp_folder`.

    Raises:
        ExportError: if the checkpoint cannot be exported, or the release was made from several experiments.
    """
    folder = folder_of(path)
    manifest = Manifest.load_or_none(folder)
    if manifest is not None and manifest.bands:
        raise ReleaseError("wrong-target", f"{folder} was made from several experiments ({manifest.name}), so it "
                           "cannot be compared with one checkpoint", "omit --against")
    options = options_of(manifest, path)
    prepared = prepare_release(checkpoint, xp_folder, options, dora_dir)
    problems = [*content_problems(path, release_contents(prepared, options), checkpoint.where)]
    if problems and manifest is not None:
        problems[:0] = _origin_problems(MANIFEST if path == folder else path.name, manifest, checkpoint)
    codec = [warning_about("compression model", note) for note in prepared.codec.notes] if prepared.codec else []
    return Comparison(problems, [*(note for model in prepared.models for note in model.weights.notes), *codec])


def _origin_problems(file: str, manifest: Manifest, checkpoint: Checkpoint) -> Iterator[Problem]:
    """Explain differences by the origin of the release in its manifest."""
    source = asdict(checkpoint.file.source) if checkpoint.file else {}
    made_of = manifest.checkpoint or {"name": "a solver in memory"}
    if manifest.sig != checkpoint.sig:
        yield Problem(file, None, f"made from experiment {manifest.sig}, but {checkpoint.where} is of {checkpoint.sig}")
    elif made_of.get("name") != source.get("name"):
        yield Problem(file, None, f"made from {made_of.get('name')}, not from {checkpoint.where}")
    elif any(made_of.get(key) != source[key] for key in ("bytes", "identity" if "identity" in made_of else "mtime_ns")):
        yield Problem(file, None, f"made from another version of {checkpoint.where}, which has changed since")


def content_problems(path: Path, contents: Mapping[str, Content], where: str) -> Iterator[Problem]:
    """Compare a release folder or file with the content that an export of a checkpoint would write."""
    folder = folder_of(path)
    for name in contents if path == folder else [path.name]:
        if name not in contents:
            yield Problem(name, None, f"unexpected file: an export of {where} would not write it")
        elif not os.path.isfile(folder / name):
            yield Problem(name, None, f"missing: an export of {where} would write it")
        else:
            yield from _file_problems(folder / name, contents[name])


def _file_problems(path: Path, expected: Content) -> Iterator[Problem]:
    """Compare a file with its expected content."""
    text = text_bytes(expected)
    if text is not None:
        if not has_bytes(path, text):
            yield Problem(path.name, None, "content differs from the checkpoint")
    elif isinstance(expected, Tensors):
        found = read_safetensors(path)
        yield from _diff(path.name, "", dict(expected.tensors), dict(found.tensors))
        yield from _diff(path.name, "", dict(expected.metadata), dict(found.metadata))
    else:
        state = compact(TorchFile.read(path).state, path.name)
        yield from _diff(path.name, "", expected, state)


def options_of(manifest: Optional[Manifest], path: Path) -> ExportOptions:
    """Return the options that a release was made with; without a manifest, those of AudioCraft's format."""
    folder = folder_of(path)
    name = LM_FILE if path == folder else path.name
    codec = "auto" if os.path.isfile(folder / CODEC_FILE) and (path == folder or name == CODEC_FILE) else "none"
    if manifest is not None:
        if manifest.release_format != AUDIOCRAFT:
            codec = "auto" if manifest.codec else "none"
        return ExportOptions.from_mapping({**manifest.options, "codec": codec})
    version = TorchFile.read(folder / name).state.get("version") if os.path.isfile(folder / name) else None
    return ExportOptions(version=version if isinstance(version, str) else None, codec=codec)


def _diff(file: str, key: str, expected: Any, found: Any) -> Iterator[Problem]:
    """Compare two nested values and yield the differences by dotted key."""
    if isinstance(expected, (list, tuple)) and isinstance(found, (list, tuple)) and len(expected) == len(found):
        expected, found = dict(enumerate(expected)), dict(enumerate(found))
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in {**expected, **found}:
            inner = f"{key}.{name}" if key else str(name)
            if name not in found:
                yield Problem(file, inner, "missing, but in the checkpoint")
            elif name not in expected:
                yield Problem(file, inner, "not in the checkpoint")
            else:
                yield from _diff(file, inner, expected[name], found[name])
    elif isinstance(expected, LazyTensor) and isinstance(found, LazyTensor):
        shown, wanted = (f"{tensor.dtype} {list(tensor.shape)}" for tensor in (found, expected))
        if shown != wanted:
            yield Problem(file, key, f"{shown}, but {wanted} in the checkpoint")
        elif sha256_of(found.blob.iter_checked()) != sha256_of(expected.blob.iter_checked()):
            yield Problem(file, key, "values differ from the checkpoint")
    elif type(expected) is not type(found) or repr(expected) != repr(found):  # NaN is not equal to itself
        yield Problem(file, key, "differs from the checkpoint")
