"""The options of an export: one dataclass for Python, the Hydra node and the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import Field, asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Optional, Union

from .errors import OptionError

AUDIOCRAFT = "audiocraft"
_BRANCH = re.compile(r"(?!refs/)\w[\w.+-]*(?:/\w[\w.+-]*)*(?<!\.)(?<!\.lock)", re.ASCII)
RELEASE_FOLDER = "export"  # of an XP folder
SIZE = re.compile(r"(?=[0.]*[1-9])\d+(\.\d+)?\s*[KMGT]B|[1-9]\d*", re.IGNORECASE)
CHOICES: Mapping[str, tuple[Optional[str], ...]] = {
    "format": (AUDIOCRAFT, "safetensors", "transformers"),
    "weights": ("best", "ema", "last"),
    "dtype": (None, "float32", "float16", "bfloat16"),
    "codec": ("auto", "none"),
    "verify": ("bytes", "load", "none"),
}


@dataclass(frozen=True)
class ExportOptions:
    """How to export: the Hydra node `exporter`, the flags of the command and the keywords in Python.

    Args:
        folder: where the release goes; None is the folder `export` of the XP.
        weights: `best`, `ema` (the latest average) or `last`.
        checkpoint: None is `checkpoint.th`; an epoch or a name is `checkpoint_<name>.th`.
        dtype: of the floating point tensors of the release; None is as stored.
        codec: `auto` puts the compression model beside a language model; `none` leaves it out.
        verify: `bytes` reads back what was written; `load` also rebuilds the model with
            AudioCraft's own loader, strictly; `none` does neither.
        version: AudioCraft version tag; None is the installed one.
        when: a training that exports by itself does so at its `end`; with `best`, also after each epoch that is the
            best so far; with a number N, also after every N epochs. Says nothing to a single export.
        format: `audiocraft`, as its loaders take it; `safetensors`; or `transformers`, as that library takes it.
        max_shard_size: of a file of safetensors, in bytes or as `5GB`; a larger model gets several and an index.
        card: whether a model card (README.md) is written; None is yes, but for the format `audiocraft`.
        scrub: patterns of keys of the configuration that are not released, or the name of a preset (`public`).
        hub: the repository of the Hugging Face Hub, ORG/NAME, that the release is pushed to; None is nowhere.
        private: whether that repository is private, if it is new.
        revision: its branch; None is the main one.

    Raises:
        OptionError: if a value is none of the valid ones.
    """

    folder: Optional[Union[str, os.PathLike[str]]] = None
    weights: str = "best"
    checkpoint: Optional[Union[str, int]] = None
    dtype: Optional[str] = None
    codec: str = "auto"
    verify: str = "bytes"
    version: Optional[str] = None
    when: Union[str, int] = "end"
    format: str = AUDIOCRAFT
    max_shard_size: Union[str, int] = "5GB"
    card: Optional[bool] = None
    scrub: Optional[Sequence[str]] = None
    hub: Optional[str] = None
    private: bool = False
    revision: Optional[str] = None

    def __post_init__(self) -> None:
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise OptionError(f"{name}={getattr(self, name)} is no option: "
                                  f"use {', '.join('null' if v is None else v for v in valid)}.")
        self._normalize()
        for name in ("folder", "checkpoint", "version", "hub", "revision"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value and "\0" not in value):
                raise OptionError(f"{name}={value!r} is no option: it takes a text (quote it) or null.")
        if self.when not in ("end", "best") and (type(self.when) is not int or self.when < 1):
            raise OptionError(f"when={self.when} is no option: use end, best, or a number of epochs.")
        if self.checkpoint is not None and {"/", "\\"} & set(str(self.checkpoint)):
            raise OptionError(f"checkpoint={self.checkpoint} is no option: it takes an epoch or a name, "
                              "as in checkpoint_<name>.th, not a path.")
        self._check_sharing()

    def _normalize(self) -> None:
        """Values that can be written in two ways, in one."""
        if isinstance(self.checkpoint, int) and not isinstance(self.checkpoint, bool):
            object.__setattr__(self, "checkpoint", str(self.checkpoint))
        if isinstance(self.folder, os.PathLike):
            object.__setattr__(self, "folder", os.fspath(self.folder))
        for name in ("when", "max_shard_size"):
            value = getattr(self, name)
            if isinstance(value, str) and value.isdecimal():
                object.__setattr__(self, name, int(value))
        if isinstance(self.scrub, (str, list, tuple)):
            patterns = [self.scrub] if isinstance(self.scrub, str) else self.scrub
            object.__setattr__(self, "scrub", tuple(patterns) or None)

    def _check_sharing(self) -> None:
        """Check what says how a release is shared."""
        if not SIZE.fullmatch(str(self.max_shard_size)):
            raise OptionError(f"max_shard_size={self.max_shard_size} is no option: it takes a number of bytes, or a "
                              "size such as 5GB.")
        for name, valid in (("card", (True, False, None)), ("private", (True, False))):
            if not any(getattr(self, name) is value for value in valid):
                raise OptionError(f"{name}={getattr(self, name)} is no option: use true or false.")
        expand_presets(self.patterns)
        self._check_hub()

    def _check_hub(self) -> None:
        if self.hub is not None:
            check_repo(self.hub)
        if self.revision is not None and (not _BRANCH.fullmatch(self.revision) or ".." in self.revision):
            raise OptionError(f"{self.revision!r} is no branch of the Hub: give a name of letters, digits, `-`, `_`, `.` "
                              "and `/`, as v1.0 is one.")
        if self.hub is None and (self.private or self.revision is not None):
            raise OptionError("private and revision are of a repository of the Hub: name it with hub (--push-to-hub).")

    @classmethod
    def of_one_export(cls) -> list[Field[Any]]:
        """The fields that a single export has: all but `when`."""
        return [field for field in fields(cls) if field.name != "when"]

    @classmethod
    def check_names(cls, names: Iterable[Any]) -> None:
        """Refuse what is not the name of an option.

        Raises:
            OptionError: if one is not; the message lists the valid ones.
        """
        valid = [field.name for field in fields(cls)]
        for name in names:
            if name not in valid:
                raise OptionError(f"exporter.{name} is no option: use {', '.join(valid)}.")

    @staticmethod
    def flag_of(name: str) -> str:
        """The flag of an option on the command line."""
        return f"--{'push-to-hub' if name == 'hub' else name.replace('_', '-')}"

    @property
    def flags(self) -> list[str]:
        """The words of a command line that ask for the same, but for the folder."""
        words: list[str] = []
        for field in self.of_one_export():
            value, flag = getattr(self, field.name), self.flag_of(field.name)
            if value == field.default or field.name == "folder":
                continue
            if isinstance(value, bool):
                words.append(flag if value else flag.replace("--", "--no-", 1))
            else:
                values = value if isinstance(value, tuple) else [value]
                words += [word for each in values for word in (flag, str(each))]
        return words

    @staticmethod
    def mapping_of(exporter: Any) -> dict[Any, Any]:
        """What a configuration has under `exporter`; nothing is an empty mapping.

        Raises:
            OptionError: if it is no mapping.
        """
        if not isinstance(exporter, (dict, type(None))):
            raise OptionError(f"exporter={exporter} is no option: it takes the options of ExportOptions as a mapping.")
        return exporter or {}

    @classmethod
    def from_mapping(cls, values: Mapping[Any, Any]) -> ExportOptions:
        """Options from a Hydra node or keyword arguments; what is missing has its default.

        Raises:
            OptionError: if a key or a value is none of the valid ones.
        """
        cls.check_names(values)
        return cls(**values)

    @property
    def has_card(self) -> bool:
        """Whether a model card belongs beside the release."""
        return self.format != AUDIOCRAFT if self.card is None else self.card

    @property
    def needs_extra(self) -> bool:
        """Whether it takes packages of the extra `hf`."""
        return self.format != AUDIOCRAFT or self.has_card or self.hub is not None

    @property
    def patterns(self) -> Sequence[str]:
        """What is to be scrubbed."""
        return () if self.scrub is None else self.scrub

    def release_folder(self, xp_folder: Path) -> Path:
        """Where the release of an experiment goes."""
        return Path(self.folder or xp_folder / RELEASE_FOLDER)

    def replace(self, **values: Any) -> ExportOptions:
        """A copy with other values.

        Raises:
            OptionError: if a key or a value is none of the valid ones.
        """
        return self.from_mapping({**asdict(self), **values})


PUBLIC = "public"
PRESETS: Mapping[str, tuple[str, ...]] = {
    PUBLIC: ("cache", "conditioners.**.cache_path", "conditioners.**.eval_wavs", "continue_from", "datasource", "dora",
             "generate.path", "hydra", "label", "logging", "slurm", "tensorboard", "wandb"),
}
KEY_PART = re.compile(r"\*\*|(?!\*\*)(?:[^\s.,*\[\]{}$]|\*(?!\*))+")


def expand_presets(scrub: Sequence[str]) -> tuple[str, ...]:
    """The patterns of an option, with presets replaced by theirs, each once.

    Raises:
        OptionError: if one is no pattern, and could never match.
    """
    if not isinstance(scrub, (list, tuple)) or not all(isinstance(each, str) for each in scrub):
        raise OptionError(f"scrub={scrub!r} is no option: it takes a list of patterns, as in [{PUBLIC}, optim.*].")
    for each in scrub:
        if not all(KEY_PART.fullmatch(part) for part in each.split(".")):
            raise OptionError(f"scrub={each!r} is no pattern: it takes a dotted key, with * for a name or a part of "
                              f"one and ** between dots for any number of names, or the preset {', '.join(PRESETS)}.")
        near = get_close_matches(each.lower(), PRESETS, 1, 0.8) if each not in PRESETS else []
        if near:
            raise OptionError(f"scrub={each!r} is no preset: did you mean {near[0]}?")
    return tuple(dict.fromkeys(pattern for each in scrub for pattern in PRESETS.get(each, (each,))))


def check_repo(name: str) -> None:
    """Check that the Hub can have a repository of this name, as far as huggingface_hub is installed to say so.

    Raises:
        OptionError: if it cannot.
    """
    problem = None if name.count("/") == 1 and name.isprintable() else "a name has one `/`"
    with suppress(ImportError):
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils._validators import validate_repo_id
        try:
            validate_repo_id(name)
        except HFValidationError as exc:
            problem = str(exc)
    if problem:
        raise OptionError(f"{name!r} is no repository of the Hub: give ORG/NAME or USER/NAME ({problem.rstrip('.')}).")
