"""Load a release: its tensors, which are read on demand, its configuration and its manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from omegaconf import DictConfig, OmegaConf

from ..checkpoint.state_dict import compact, named_tensors
from ..checkpoint.tensor import LazyTensor
from ..errors import ReleaseError, plural, readable_size
from ..experiment.config import Config
from ..experiment.xp import MANIFEST, AnyPath
from ..formats.decoders import CONVERTIBLE, read_contents, released_weights
from ..notebook import html_table
from ..options import RELEASE_FOLDER
from ..release.content import Content
from ..release.families.registry import CODEC_FILE
from ..release.manifest import Manifest
from ..verification.release import refuse_other_paths

if TYPE_CHECKING:
    import torch


class LazyWeights(Mapping[str, "torch.Tensor"]):
    """Tensors by name, in the order of the release. Each access reads the tensor from its file into a new tensor.

    A tensor of the format `audiocraft` is compared with its CRC-32; the format `safetensors` stores no checksums.

    Raises:
        CheckpointError: on reading a tensor that is corrupted, or whose file has changed.
    """

    def __init__(self, tensors: Mapping[str, LazyTensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._tensors[name]
        from ..checkpoint.torch_tensors import to_torch
        return to_torch(tensor)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def __repr__(self) -> str:
        nbytes = sum({id(tensor.blob): tensor.nbytes for tensor in self._tensors.values()}.values())
        return f"<{len(self)} {plural(len(self), 'tensor')}, {readable_size(nbytes)}>"

    def _repr_html_(self) -> str:
        rows = [(name, tensor.dtype, "x".join(map(str, tensor.shape)) or "-", readable_size(tensor.nbytes))
                for name, tensor in self._tensors.items()]
        return html_table(repr(self)[1:-1], rows, ("tensor", "dtype", "shape", "bytes"))


@dataclass(frozen=True, eq=False)
class CompressionModel:
    """The compression model of a released language model.

    Attributes:
        weights: the tensors; empty for a reference to a public model.
        config: the configuration; empty for a reference to a public model.
        pretrained: the name of the public model, or None.
    """

    weights: LazyWeights
    config: DictConfig
    pretrained: Optional[str] = None


@dataclass(frozen=True, eq=False, repr=False)
class Release:
    """A release that was loaded; it can be passed as the path of its folder.

    Attributes:
        folder: the release folder.
        manifest: the manifest, whose keys are attributes.
        weights: the tensors by name, read on demand. The names are those of the released state dict; for MultiBand
            Diffusion they begin with the number of the band, for AudioSeal with `generator` or `detector`.
        config: the configuration of the training, with unresolved interpolations; for several bands, that of
            the first.
        compression_model: the compression model of a language model, or None.
    """

    folder: Path
    manifest: Manifest
    weights: LazyWeights
    config: DictConfig
    compression_model: Optional[CompressionModel] = None

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"<{self.manifest.name}: {self.manifest.weights_text}, {repr(self.weights)[1:-1]} in {self.folder}>"

    def _repr_html_(self) -> str:
        codec = self.compression_model
        codec_row = [("compression model", codec.pretrained or repr(codec.weights)[1:-1])] if codec else []
        return html_table(f"Release {self.manifest.name}", [
            ("folder", self.folder), ("format", self.manifest.release_format), ("solver", self.manifest.solver),
            ("weights", self.manifest.weights_text), ("tensors", repr(self.weights)[1:-1]),
            *codec_row, ("size", readable_size(self.manifest.nbytes)), ("made", self.manifest.time)])


def load_release(path: AnyPath) -> Release:
    """Load a release. Nothing in its files is executed, and tensors are read only on demand.

    Args:
        path: the release folder, a file of it, or the XP folder that it is in.

    Raises:
        ExportError: if the path has no release, or the release is damaged or has the format `transformers`, which does
            not keep the state dict of the training.
    """
    folder = _find_release_folder(Path(path))
    manifest = Manifest.load(folder)
    if manifest.release_format not in CONVERTIBLE:
        raise ReleaseError("wrong-target", f"{folder} has the format {manifest.release_format}, which does not keep "
                           "the state dict of the training", "load it with from_pretrained of transformers, or export "
                           "the experiment with format=safetensors")
    contents = read_contents(folder, manifest)
    if not manifest.is_complete(folder):
        raise ReleaseError("damaged-release", f"The files of {folder} do not match its manifest",
                           "export the experiment again")
    states = {name: content for name, content in contents.items() if isinstance(content, Mapping)}
    codec = states.pop(CODEC_FILE) if len(states) > 1 and CODEC_FILE in states else None
    config = _to_omegaconf(config_of(contents))
    return Release(folder, manifest, _weights(folder, states), config, _compression_model(folder, codec))


def _find_release_folder(path: Path) -> Path:
    """Return the release folder of a path: the folder itself, or its subfolder with a release."""
    folder = path.parent if os.path.isfile(path) else path
    if not os.path.lexists(folder / MANIFEST) and os.path.lexists(folder / RELEASE_FOLDER / MANIFEST):
        return folder / RELEASE_FOLDER
    refuse_other_paths(folder, "a release folder")
    return folder


def _compression_model(folder: Path, state: Optional[Mapping[Any, Any]]) -> Optional[CompressionModel]:
    if state is None:
        return None
    name = state.get("pretrained")
    if isinstance(name, str):
        return CompressionModel(LazyWeights({}), OmegaConf.create(), name)
    return CompressionModel(_weights(folder, {CODEC_FILE: state}), _to_omegaconf(config_of({CODEC_FILE: state})))


def _weights(folder: Path, states: Mapping[str, Mapping[Any, Any]]) -> LazyWeights:
    """Return the tensors of one model; names in one of several files begin with the first word of the file name."""
    found = {name.partition("_")[0]: released_weights(state) for name, state in states.items()}
    state = found if len(found) > 1 else next(iter(found.values()), {})
    return LazyWeights(named_tensors(compact(state, str(folder))))


def config_of(contents: Mapping[str, Content]) -> Optional[Config]:
    """Return the configuration of the main model, of the first band, or in the separate file of AudioSeal.

    Args:
        contents: the contents of the files of a release by file name, as in AudioCraft's format.
    """
    states = [content for name, content in contents.items() if isinstance(content, Mapping) and name != CODEC_FILE]
    states = states or [content for content in contents.values() if isinstance(content, Mapping)]
    bands = [band for state in states for band in state.values() if isinstance(band, dict)]
    found = [state["xp.cfg"] for state in [*states, *bands] if isinstance(state.get("xp.cfg"), str)]
    found += [text for name, text in contents.items() if name.endswith(".yaml") and isinstance(text, str)]
    return Config.parse(found[0]) if found else None


def _to_omegaconf(config: Optional[Config]) -> DictConfig:
    return OmegaConf.create(config.values if config else {})
