"""The options of an export: one dataclass for Python, the Hydra node and the command line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import Field, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Optional, Union

from .errors import OptionError
from .release import RELEASE_FOLDER

CHOICES: Mapping[str, tuple[Optional[str], ...]] = {
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

    def __post_init__(self) -> None:
        for name, valid in CHOICES.items():
            if getattr(self, name) not in valid:
                raise OptionError(f"{name}={getattr(self, name)} is no option: "
                                  f"use {', '.join('null' if v is None else v for v in valid)}.")
        if isinstance(self.checkpoint, int) and not isinstance(self.checkpoint, bool):
            object.__setattr__(self, "checkpoint", str(self.checkpoint))
        if isinstance(self.folder, os.PathLike):
            object.__setattr__(self, "folder", os.fspath(self.folder))
        for name in ("folder", "checkpoint", "version"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and value and "\0" not in value):
                raise OptionError(f"{name}={value!r} is no option: it takes a text (quote it) or null.")
        if isinstance(self.when, str) and self.when.isdecimal():
            object.__setattr__(self, "when", int(self.when))
        if self.when not in ("end", "best") and (type(self.when) is not int or self.when < 1):
            raise OptionError(f"when={self.when} is no option: use end, best, or a number of epochs.")
        if self.checkpoint is not None and {"/", "\\"} & set(str(self.checkpoint)):
            raise OptionError(f"checkpoint={self.checkpoint} is no option: it takes an epoch or a name, "
                              "as in checkpoint_<name>.th, not a path.")

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

    def release_folder(self, xp_folder: Path) -> Path:
        """Where the release of an experiment goes."""
        return Path(self.folder or xp_folder / RELEASE_FOLDER)

    def replace(self, **values: Any) -> ExportOptions:
        """A copy with other values.

        Raises:
            OptionError: if a key or a value is none of the valid ones.
        """
        return self.from_mapping({**asdict(self), **values})
