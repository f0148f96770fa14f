"""The options of an export: one dataclass for Python, the Hydra node and the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Optional, Union

from .errors import OptionError

AUDIOCRAFT = "audiocraft"
RELEASE_FOLDER = "export"  # of an XP folder
SIZE = re.compile(r"(?=[0.]*[1-9])\d+(\.\d+)?\s*[KMGT]B|[1-9]\d*", re.IGNORECASE)
CHOICES: Mapping[str, tuple[Optional[str], ...]] = {
    "format": (AUDIOCRAFT, "safetensors", "transformers"),
    "dtype": (None, "float32", "float16", "bfloat16"),
    "codec": ("auto", "none"),
    "verify": ("bytes", "load", "none"),
    "family": (None, "musicgen", "audiogen", "magnet", "audio_magnet", "jasco", "lm", "sound_lm", "compression",
               "diffusion", "watermarking", "general"),
}
PUBLIC = "public"
PRESETS: Mapping[str, tuple[str, ...]] = {  # of scrub
    PUBLIC: ("cache", "conditioners.**.cache_path", "conditioners.**.eval_wavs", "continue_from", "datasource", "dora",
             "generate.path", "hydra", "label", "logging", "slurm", "tensorboard", "wandb"),
}
KEY_PART = re.compile(r"\*\*|(?!\*\*)(?:[^\s.,*\[\]{}$]|\*(?!\*))+")  # what is between the dots of a pattern of scrub
METRIC = re.compile(r"(?:(?P<stage>[^\s.:]+)\.)?(?P<name>[^\s:](?:[^:\n]*[^\s:])?)(?::(?P<direction>min|max))?")
_REPO = re.compile(r"(?!.*(?:--|\.\.))\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b(?<!\.git)", re.ASCII)
_BRANCH = re.compile(r"(?!refs/)\w[\w.+-]*(?:/\w[\w.+-]*)*(?<!\.)(?<!\.lock)", re.ASCII)


@dataclass(frozen=True)
class ExportOptions:
    """How to export: the Hydra node `exporter`, the flags of the command and the keywords in Python.

    Args:
        folder: the release folder; None is the folder `export` of the XP.
        weights: `best`, `ema` (the latest average), `last`, or any section of the checkpoint that holds tensors, as
            SECTION or SECTION.PART.
        checkpoint: an epoch or a name of `checkpoint_<name>.th`; None is `checkpoint.th`.
        dtype: of the floating-point tensors of the release; None keeps theirs.
        codec: `auto` puts the compression model beside a language model; `none` leaves it out.
        verify: `bytes` reads back what was written; `load` also rebuilds the model with the library that the format is
            for, strictly; `none` does neither.
        version: AudioCraft version tag; None is the installed one.
        when: a training exports at its `end`; with `best`, also after each epoch that is the best so far; with a
            number N, also after every N epochs. Ignored by a single export.
        format: `audiocraft` for its own loaders, `safetensors`, or `transformers` for that library.
        max_shard_size: of a safetensors file, in bytes or as `5GB`; a larger model gets several and an index.
        card: whether a model card (README.md) is written; None is yes, but for the format `audiocraft`.
        scrub: patterns of keys of the configuration that are not released, or the name of a preset (`public`).
        hub: the repository of the Hugging Face Hub, ORG/NAME, to push the release to; None pushes nothing.
        private: whether that repository is private, if it is new.
        revision: its branch; None is the main one.
        metric: by which the training selects its best state: NAME or STAGE.NAME, then `:min` (default) or `:max`; None
            if that is known of the solver, or unknown.
        family: how the model is released: as one that this solver of AudioCraft trains, or as a `general` one; None
            decides by the configuration.
        config: the YAML file with the configuration of a checkpoint that holds none, such as a bare state dict.
        force: whether to replace a release of another experiment in the release folder.

    Raises:
        OptionError: if a value is invalid.
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
    metric: Optional[str] = None
    family: Optional[str] = None
    config: Optional[Union[str, os.PathLike[str]]] = None
    force: bool = False

    def __post_init__(self) -> None:
        self._normalize()
        for name, valid in CHOICES.items():
            self._check(name, getattr(self, name) in valid, f"use {', '.join(each or 'null' for each in valid)}.")
        for name in ("folder", "checkpoint", "version", "hub", "revision", "metric", "config"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value and "\0" not in value):
                raise OptionError(f"{name}={value!r} is no option: it takes a text (quote it) or null.")
        self._check("weights", isinstance(self.weights, str) and bool(self.weights.strip(".")),
                    "use best, ema, last, or a section of the checkpoint.")
        self._check("when", self.when in ("end", "best") or type(self.when) is int and self.when >= 1,
                    "use end, best, or a number of epochs.")
        self._check("checkpoint", not {"/", "\\"} & set(str(self.checkpoint)),
                    "it takes an epoch or a name, as in checkpoint_<name>.th, not a path.")
        self._check("max_shard_size", bool(SIZE.fullmatch(str(self.max_shard_size))),
                    "it takes a number of bytes, or a size such as 5GB.")
        self._check("card", self.card is None or isinstance(self.card, bool), "use true or false.")
        for name in ("private", "force"):
            self._check(name, isinstance(getattr(self, name), bool), "use true or false.")
        self._check("metric", self.metric is None or bool(METRIC.fullmatch(self.metric)),
                    "it takes NAME or STAGE.NAME, as in loss, and :min or :max behind it, as in accuracy:max.")
        expand_presets(self.patterns)
        if self.hub is not None:
            check_repo(self.hub)
        if self.revision is not None and (not _BRANCH.fullmatch(self.revision) or ".." in self.revision):
            raise OptionError(f"{self.revision!r} is no branch of the Hub: give a name of letters, digits, `-`, `_`, "
                              "`.` and `/`, as v1.0 is one.")
        if self.hub is None and (self.private or self.revision is not None):
            raise OptionError("private and revision are of a repository of the Hub: name it with hub (--push-to-hub).")

    def _normalize(self) -> None:
        """Write values that can be given in two ways in one."""
        if isinstance(self.checkpoint, int) and not isinstance(self.checkpoint, bool):
            object.__setattr__(self, "checkpoint", str(self.checkpoint))
        for name in ("folder", "config"):
            if isinstance(getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(getattr(self, name)))
        for name in ("when", "max_shard_size"):
            value = getattr(self, name)
            if isinstance(value, str) and value.isdecimal():
                object.__setattr__(self, name, int(value))
        if isinstance(self.scrub, (str, list, tuple)):
            patterns = [self.scrub] if isinstance(self.scrub, str) else self.scrub
            object.__setattr__(self, "scrub", tuple(patterns) or None)

    def _check(self, name: str, is_valid: bool, remedy: str) -> None:
        if not is_valid:
            raise OptionError(f"{name}={getattr(self, name)} is no option: {remedy}")

    @classmethod
    def of_one_export(cls) -> list[Field[Any]]:
        """The fields of the options of a single export: all but `when`."""
        return [field for field in fields(cls) if field.name != "when"]

    @classmethod
    def check_names(cls, names: Iterable[Any]) -> None:
        """Check that all names are those of options.

        Raises:
            OptionError: if one is not; the message lists the valid ones.
        """
        valid = [field.name for field in fields(cls)]
        for name in names:
            if name not in valid:
                raise OptionError(f"exporter.{name} is no option: use {', '.join(valid)}.")

    @staticmethod
    def flag_of(name: str) -> str:
        """The flag of the command for an option."""
        return f"--{'push-to-hub' if name == 'hub' else name.replace('_', '-')}"

    @property
    def flags(self) -> list[str]:
        """The flags of the command for the same options, but for the folder."""
        words: list[str] = []
        for field in self.of_one_export():
            value, flag = getattr(self, field.name), self.flag_of(field.name)
            if field.name == "folder" or value == field.default:
                continue
            if isinstance(value, bool):
                words.append(flag if value else flag.replace("--", "--no-", 1))
                continue
            for each in value if isinstance(value, tuple) else (value,):
                words += [flag, str(each)]
        return words

    @classmethod
    def from_mapping(cls, values: Mapping[Any, Any]) -> ExportOptions:
        """Create options from a Hydra node or keyword arguments.

        Raises:
            OptionError: if a key or a value is invalid.
        """
        cls.check_names(values)
        return cls(**values)

    @property
    def has_card(self) -> bool:
        """Whether a model card belongs beside the release."""
        return self.format != AUDIOCRAFT if self.card is None else self.card

    @property
    def patterns(self) -> Sequence[str]:
        """The patterns and presets of `scrub`."""
        return () if self.scrub is None else self.scrub

    def release_folder(self, xp_folder: Path) -> Path:
        """The release folder of an experiment."""
        return Path(self.folder or xp_folder / RELEASE_FOLDER)

    def replace(self, **values: Any) -> ExportOptions:
        """A copy with other values.

        Raises:
            OptionError: if a key or a value is invalid.
        """
        return self.from_mapping({**asdict(self), **values})


def expand_presets(scrub: Sequence[str]) -> tuple[str, ...]:
    """Replace presets by their patterns; each pattern is there once.

    Raises:
        OptionError: if a pattern is invalid and could never match.
    """
    if not isinstance(scrub, (list, tuple)) or not all(isinstance(each, str) for each in scrub):
        raise OptionError(f"scrub={scrub!r} is no option: it takes a list of patterns, as in [{PUBLIC}, optim.*].")
    for each in scrub:
        if not all(KEY_PART.fullmatch(part) for part in each.split(".")):
            raise OptionError(f"scrub={each!r} is no pattern: it takes a dotted key, with * for a name or a part of "
                              f"one and ** between dots for any number of names, or the preset {', '.join(PRESETS)}.")
        similar = get_close_matches(each.lower(), PRESETS, 1, 0.8)
        if similar and each not in PRESETS:
            raise OptionError(f"scrub={each!r} is no preset: did you mean {similar[0]}?")
    return tuple(dict.fromkeys(pattern for each in scrub for pattern in PRESETS.get(each, (each,))))


def check_repo(name: str) -> None:
    """Check the name of a repository on the Hub, by the Hub's rules: those of huggingface_hub differ by its version.

    Raises:
        OptionError: if it is invalid.
    """
    if not _REPO.fullmatch(name):
        raise OptionError(f"{name!r} is no repository of the Hub: give ORG/NAME or USER/NAME, of letters, digits and "
                          "single `-`, `_` or `.`, at most 96 characters each and without `.git` at the end.")
