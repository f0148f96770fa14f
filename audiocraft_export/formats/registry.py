"""Release formats: how each is encoded, which packages it requires, and how to verify that it loads."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Callable, Optional

from .. import progress
from ..checkpoint.checkpoint import Checkpoint
from ..errors import ReleaseError, reason
from ..experiment.config import Config
from ..experiment.xp import AnyPath
from ..options import ExportOptions
from ..release.content import Content
from ..release.families import audioseal
from ..release.families.registry import COMPRESSION_FAMILY, OWN_NAMES, Family
from ..release.metrics import BestRule
from ..release.prepare import PreparedRelease, prepare
from ..requirements import require_packages
from ..storage.writer import DISK_FULL
from .audiocraft.rebuild import SKIP, loader_for, verify_with_audiocraft
from .encoders import dump
from .safetensors.layout import from_safetensors, to_safetensors


@dataclass(frozen=True)
class Format:
    """A release format."""

    requires: tuple[str, ...]  # packages
    contents: Callable[[PreparedRelease, ExportOptions], Mapping[str, Content]]  # by file name
    # Loads the models from a folder, a family and file names, and compares them. Raises ReleaseError if they differ.
    verify: Callable[[Path, Family, Sequence[str]], None]
    # Pattern of the file names that loaders look for in addition to `OWN_NAMES`; {} is the signature.
    looks_for: str = r"(?!)"
    # Raises CheckpointError for a family that the format does not support.
    refuse_family: Callable[[Config, Family], None] = lambda config, family: None
    # Returns whether a release of a language model includes its compression model. Raises CheckpointError for a model
    # that the format does not support.
    includes_codec: Callable[[Config, Family], bool] = lambda config, family: True


# Weight files that `from_pretrained` of transformers, PEFT and huggingface_hub look for: single files, shards and
# variants such as `model.fp16.safetensors`.
_WEIGHTS = (r"((pytorch_|compression_)?model|adapter_model|conditioners|tf_model|flax_model)([.-].+)?"
            r"\.(safetensors|bin|h5|msgpack)(\.index(\..+)?\.json)?")
_PARTS = r"(generator|detector)_{}(-.+)?\.safetensors(\.index\.json)?"  # files of AudioSeal; {} is the signature
# Configurations, processors and tokenizers, including those that only some versions of transformers load.
_SETTINGS = (r"\w*config\.json|(tokenizer|special_tokens_map|added_tokens|chat_template)\.json|chat_template\.jinja"
             r"|(spiece|tokenizer|tiktoken)\.model")


def prepare_release(checkpoint: Checkpoint, xp_folder: Path, options: ExportOptions,
                    dora_dir: Optional[AnyPath] = None, rule: Optional[BestRule] = None) -> PreparedRelease:
    """Prepare the release of a checkpoint, as `prepare`, with a compression model if its format includes one."""
    return prepare(checkpoint, xp_folder, options, dora_dir, rule, includes_codec=(
        lambda name, config, family: FORMATS[name].includes_codec(config, family)))


def release_contents(prepared: PreparedRelease, options: ExportOptions) -> dict[str, Content]:
    """Return the contents of the files of a release, by file name, in the format of the options.

    Raises:
        ExportError: if the format does not support this model, or a package that it requires is missing.
    """
    require_packages(f"format={options.format}", *FORMATS[options.format].requires)
    return dict(FORMATS[options.format].contents(prepared, options))


def is_looked_for(name: str, file: str, sig: Optional[str]) -> bool:
    """Return whether a loader looks for this file in a release of the format `name`.

    AudioCraft's loaders look for `OWN_NAMES` in releases of all formats.
    """
    pattern = FORMATS[name].looks_for.replace("{}", re.escape(audioseal.name_of(sig))) if name in FORMATS else r"(?!)"
    return file in OWN_NAMES or bool(re.fullmatch(pattern, file))


def refuse_family(name: str, config: Config, family: Family) -> None:
    """Check that a format supports a family of models.

    Args:
        name: the name of the format.
        config: the configuration of the training.
        family: the family of the model.

    Raises:
        CheckpointError: if the format does not support the family.
    """
    FORMATS[name].refuse_family(config, family)


def require_loader(name: str, family: Family) -> None:
    """Check that `verify_loads` can run, before anything is written.

    Raises:
        ReleaseError: if the format is unknown, or a package or a loader for the family is missing.
    """
    require_packages(f"verify=load of format={name}", *_find_format(name).requires)
    loader_for(family)


def verify_loads(name: str, folder: Path, family: Family, names: Sequence[str]) -> None:
    """Load the models of a release with the libraries that its format is for, and compare them.

    Args:
        name: the name of the format.
        folder: the release folder.
        family: the family of the models.
        names: names of the files of the release.

    Raises:
        ReleaseError: if the format is unknown, a model cannot be loaded, or it differs.
        CheckpointError: if a file cannot be read.
    """
    _find_format(name).verify(folder, family, names)


def _find_format(name: str) -> Format:
    if name not in FORMATS:
        raise ReleaseError("unknown-format", f"Unknown release format {name!r}",
                           "use the version of audiocraft-export that made the release")
    return FORMATS[name]


def _verify_safetensors(folder: Path, family: Family, names: Sequence[str]) -> None:
    """Restore the files for AudioCraft in a temporary folder, and load the models from there."""
    contents = from_safetensors(folder, names)
    try:
        with TemporaryDirectory(prefix="audiocraft-export-") as name:
            dump(Path(name), contents)
            verify_with_audiocraft(Path(name), family, list(contents))
    except OSError as exc:
        raise ReleaseError("disk-full" if exc.errno in DISK_FULL else "write-failed",
                           f"Cannot write the temporary files that loading the model needs: {reason(exc)}",
                           f"set TMPDIR to another folder, or {SKIP}") from exc


def _encode_transformers(prepared: PreparedRelease, options: ExportOptions) -> Mapping[str, Content]:
    with progress.phase("loading transformers"):
        from .transformers.build import transformers_files
    return transformers_files(prepared, options.max_shard_size)


def _refuse_for_transformers(config: Config, family: Family) -> None:
    from .transformers.musicgen.constraints import refuse_family
    if family is not COMPRESSION_FAMILY:
        refuse_family(config, family)


def _includes_codec_for_transformers(config: Config, family: Family) -> bool:
    from .transformers.musicgen.architecture import DECODER_ALONE, layout_of
    _refuse_for_transformers(config, family)
    return layout_of(config).architecture != DECODER_ALONE


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
                           _refuse_for_transformers, _includes_codec_for_transformers),
}
