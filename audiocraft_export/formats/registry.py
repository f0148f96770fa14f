"""The formats of a release: the files of each, the packages that it requires, and how to verify that it loads."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, Optional

from .. import progress
from ..errors import ReleaseError, reason
from ..experiment.config import Config
from ..options import ExportOptions
from ..release.content import Content
from ..release.families import audioseal
from ..release.families.registry import COMPRESSION_FAMILY, OWN_NAMES, Family
from ..release.prepare import PreparedRelease
from .audiocraft.rebuild import loader_for, verify_with_audiocraft
from .encoders import dump
from .requirements import require_packages
from .safetensors.layout import from_safetensors, to_safetensors


@dataclass(frozen=True)
class Format:
    """A format of a release."""

    requires: tuple[str, ...]  # packages of the extra `hf`
    encode: Callable[[PreparedRelease, ExportOptions], Mapping[str, Content]]  # the files by name
    # Rebuilds the models from a folder, a family and file names, and compares them; ReleaseError if they differ.
    verify: Callable[[Path, Family, Sequence[str]], None]
    # Names of files that loaders look for in a folder, as a pattern with {} for the signature, besides `OWN_NAMES`.
    looks_for: str = r"(?!)"
    # Refuses families that it cannot hold, with CheckpointError.
    refuse_family: Callable[[Config, Family], None] = lambda config, family: None


# Weights that `from_pretrained` of transformers, PEFT and huggingface_hub look for, in one file or in several, also as
# variants (`model.fp16.safetensors`).
_WEIGHTS = (r"((pytorch_|compression_)?model|adapter_model|conditioners|tf_model|flax_model)([.-].+)?"
            r"\.(safetensors|bin|h5|msgpack)(\.index(\..+)?\.json)?")
_PARTS = r"(generator|detector)_{}(-.+)?\.safetensors(\.index\.json)?"  # of AudioSeal, by the signature
# Configurations, processors and tokenizers, also those that only some versions of transformers know.
_SETTINGS = (r"\w*config\.json|(tokenizer|special_tokens_map|added_tokens|chat_template)\.json|chat_template\.jinja"
             r"|(spiece|tokenizer|tiktoken)\.model")


def encode_release(prepared: PreparedRelease, options: ExportOptions) -> dict[str, Content]:
    """The files of a release in the format of the options, by name.

    Raises:
        ExportError: if the format cannot hold this model, or a package for it is missing.
    """
    require_packages(f"format={options.format}", *FORMATS[options.format].requires)
    return dict(FORMATS[options.format].encode(prepared, options))


def is_looked_for(name: str, file: str, sig: Optional[str]) -> bool:
    """Whether a loader of a format looks for a file of this name in a release; AudioCraft's looks into any."""
    pattern = FORMATS[name].looks_for.replace("{}", re.escape(audioseal.name_of(sig))) if name in FORMATS else r"(?!)"
    return file in OWN_NAMES or bool(re.fullmatch(pattern, file))


def refuse_family(name: str, config: Config, family: Family) -> None:
    """Refuse a family that a format cannot hold, by the configuration of a training.

    Raises:
        CheckpointError: if it cannot.
    """
    FORMATS[name].refuse_family(config, family)


def require_loader(name: str, family: Family) -> None:
    """Check for what `verify_loads` needs, before anything is written.

    Raises:
        ReleaseError: if a package, or a loader for the family, is missing.
    """
    require_packages(f"verify=load of format={name}", *_find_format(name).requires)
    loader_for(family)


def verify_loads(name: str, folder: Path, family: Family, names: Sequence[str]) -> None:
    """Rebuild the models of a release with the libraries that it is for, and compare them.

    Raises:
        ReleaseError: if they cannot be rebuilt, or differ.
    """
    _find_format(name).verify(folder, family, names)


def _find_format(name: str) -> Format:
    if name not in FORMATS:
        raise ReleaseError(f"This release is in the format {name!r}, unknown here: use the audiocraft-export that made "
                           "it.")
    return FORMATS[name]


def _verify_safetensors(folder: Path, family: Family, names: Sequence[str]) -> None:
    """Rebuild the models with AudioCraft's loaders, from temporary files of torch."""
    contents = from_safetensors(folder, names)
    try:
        with TemporaryDirectory(prefix="audiocraft-export-") as name:
            dump(Path(name), contents)
            verify_with_audiocraft(Path(name), family, list(contents))
    except OSError as exc:
        raise ReleaseError(f"verify=load puts the model together once more in a temporary folder, and cannot "
                           f"({reason(exc)}): make room, set TMPDIR, or use verify=bytes.") from exc


def _encode_transformers(prepared: PreparedRelease, options: ExportOptions) -> Mapping[str, Content]:
    with progress.phase("loading transformers"):
        from .transformers.build import transformers_files
    return transformers_files(prepared, options.max_shard_size)


def _refuse_for_transformers(config: Config, family: Family) -> None:
    from .transformers.musicgen.constraints import refuse_family
    if family is not COMPRESSION_FAMILY:
        refuse_family(config, family)


def _verify_transformers(folder: Path, family: Family, names: Sequence[str]) -> None:
    with progress.phase("loading transformers"):
        from .transformers.verify import verify_with_transformers
    verify_with_transformers(folder)


FORMATS: Mapping[str, Format] = {
    "audiocraft": Format((), lambda prepared, options: prepared.contents, verify_with_audiocraft),
    "safetensors": Format(
        ("safetensors", "huggingface_hub"),
        lambda prepared, options: to_safetensors(prepared.contents, prepared.manifest, options.max_shard_size),
        _verify_safetensors, f"{_WEIGHTS}|{_PARTS}"),
    "transformers": Format(("safetensors", "huggingface_hub", "transformers"), _encode_transformers,
                           _verify_transformers, f"{_WEIGHTS}|{_SETTINGS}",
                           _refuse_for_transformers),
}
