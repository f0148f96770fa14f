"""Export options: one dataclass for Python, the Hydra node `exporter` and the command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Optional, Union

from .errors import OptionError, alternatives, did_you_mean

EXPORT, EXPORTER = "export", "exporter"  # the keys of a configuration: whether to export, and these options
AUDIOCRAFT = "audiocraft"
RELEASE_FOLDER = "export"  # default release folder, in the XP folder
SIZE = re.compile(r"(?=[0.]*[1-9])\d+(\.\d+)?\s*[KMGT]B|[1-9]\d*", re.IGNORECASE)
CHOICES: Mapping[str, tuple[Optional[str], ...]] = {
    "format": (AUDIOCRAFT, "safetensors", "transformers"),
    "dtype": (None, "float32", "float16", "bfloat16"),
    "codec": ("auto", "none"),
    "verify": ("bytes", "cache", "load", "none"),
    "family": (None, "musicgen", "audiogen", "magnet", "audio_magnet", "jasco", "lm", "sound_lm", "compression",
               "diffusion", "watermarking", "general"),
}
PATHS = ("folder", "config", "sign")  # options whose value is a path
# The options that change the files of a release; its manifest records them.
RECORDED = ("weights", "dtype", "codec", "version", "format", "max_shard_size", "scrub", "metric", "family")
ALSO_CALLED: Mapping[str, str] = {  # what people write instead of a valid value
    "half": "float16", "fp16": "float16", "f16": "float16", "bf16": "bfloat16", "fp32": "float32", "f32": "float32",
    "float": "float32", "single": "float32", "hf": "transformers", "torch": AUDIOCRAFT, "pytorch": AUDIOCRAFT,
}
PUBLIC = "public"
PRESETS: Mapping[str, tuple[str, ...]] = {  # named lists of scrub patterns
    PUBLIC: ("cache", "conditioners.**.cache_path", "conditioners.**.eval_wavs", "continue_from", "datasource", "dora",
             "generate.path", "hydra", "label", "logging", "slurm", "tensorboard", "wandb"),
}
KEY_PART = re.compile(r"\*\*|(?!\*\*)(?:[^\s.,*\[\]{}$]|\*(?!\*))+")  # one level of a scrub pattern, between its dots
_METRIC = re.compile(r"(?:(?P<stage>[^\s.:]+)\.)?(?P<name>[^\s:](?:[^:\n]*[^\s:])?)(?::(?P<direction>min|max))?")
_REPO = re.compile(r"(?!.*(?:--|\.\.))\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b(?<!\.git)", re.ASCII)
_BRANCH = re.compile(r"(?!refs/)\w[\w.+-]*(?:/\w[\w.+-]*)*(?<!\.)(?<!\.lock)", re.ASCII)


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export: the Hydra node `exporter`, the flags of the command and the keywords in Python.

    Each option is described by the metadata `help` of its field, as in `audiocraft-export run --help`.

    Raises:
        OptionError: if a value is invalid.
    """

    folder: Optional[Union[str, os.PathLike[str]]] = field(default=None, metadata={
        "help": "release folder; with several XPs, one subfolder per signature (default: the subfolder `export` of the "
                "XP folder)"})
    weights: str = field(default="best", metadata={
        "help": "weights to export: `best`, `ema` (the latest average), `last`, or a section of the checkpoint with "
                "tensors (default: best)"})
    checkpoint: Optional[Union[str, int]] = field(default=None, metadata={
        "help": "epoch or NAME of checkpoint_NAME.th (default: checkpoint.th)"})
    dtype: Optional[str] = field(default=None, metadata={
        "help": "cast floating-point weights to this dtype (default: keep)"})
    codec: str = field(default="auto", metadata={
        "help": "`auto` includes the compression model of a language model, `none` leaves it out (default: auto)"})
    verify: str = field(default="bytes", metadata={
        "help": "`bytes` reads the written files back from the disk, `cache` from the page cache (faster), `load` also "
                "loads the model with AudioCraft (and with transformers, for that format), `none` skips all of these "
                "(default: bytes)"})
    version: Optional[str] = field(default=None, metadata={
        "help": "AudioCraft version tag (default: the installed version)"})
    when: Union[str, int] = field(default="end", metadata={
        "help": "in a training: `end` exports when it ends, `best` also after each epoch that is the best so far, a "
                "number N also after every N epochs (default: end)"})
    format: str = field(default=AUDIOCRAFT, metadata={"help": "output format (default: audiocraft)"})
    max_shard_size: Union[str, int] = field(default="5GB", metadata={
        "help": "maximum size of a safetensors file, in bytes or with a unit; a larger model gets several shards and "
                "an index (default: 5GB)"})
    card: Optional[bool] = field(default=None, metadata={
        "help": "write a model card, README.md (default: for all formats except audiocraft)"})
    scrub: Optional[Sequence[str]] = field(default=None, metadata={
        "help": "patterns of keys to remove from the configuration, such as wandb or 'dataset.*.path'; `public` "
                "removes sections such as wandb, and values that look private (default: none)"})
    hub: Optional[str] = field(default=None, metadata={
        "help": "push the release to this repository of the Hugging Face Hub (default: no push)"})
    private: bool = field(default=False, metadata={
        "help": "if the repository does not exist, create a private one (default: public)"})
    revision: Optional[str] = field(default=None, metadata={
        "help": "push to this branch of the repository (default: main)"})
    metric: Optional[str] = field(default=None, metadata={
        "help": "metric by which the training selects its best state, as NAME or STAGE.NAME, with :max if the highest "
                "value is the best; it says which epoch is released (default: the metric of the solver, if known)"})
    family: Optional[str] = field(default=None, metadata={
        "help": "export as a model of this AudioCraft family, or as `general` (default: detected from the "
                "configuration)"})
    config: Optional[Union[str, os.PathLike[str]]] = field(default=None, metadata={
        "help": "YAML file with the configuration, for a checkpoint without one (default: .hydra/config.yaml next "
                "to the checkpoint)"})
    force: bool = field(default=False, metadata={
        "help": "replace a release of another experiment, or one with `scrub` patterns that the new one lacks "
                "(default: refuse)"})
    digest: bool = field(default=False, metadata={
        "help": "write `content_digest` into the manifest: it identifies the weights in the formats audiocraft and "
                "safetensors (default: off)"})
    source_digest: bool = field(default=False, metadata={
        "help": "write the sha256 of each checkpoint file into the manifest; the whole file is read (default: off)"})
    sign: Optional[Union[str, os.PathLike[str]]] = field(default=None, metadata={
        "help": "sign the release with this private key, an EC key in a PEM file; the passphrase of an encrypted key "
                "is read from AUDIOCRAFT_EXPORT_PASSPHRASE (default: no signature)"})
    attest: bool = field(default=False, metadata={
        "help": "with sign: also write signed statements of how the release was made and tested (default: no "
                "statements)"})

    def __post_init__(self) -> None:
        self._normalize()
        for name, valid in CHOICES.items():
            value, named = getattr(self, name), [each for each in valid if each]
            close = _closest(value, named) if isinstance(value, str) and value not in valid else ""
            self._check(name, value in valid, alternatives(named), f"did you mean {close!r}?" if close else "")
        for name in (*PATHS, "checkpoint", "version", "hub", "revision", "metric"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            self._check(name, value is None or isinstance(value, str) and bool(value) and "\0" not in value,
                        "a non-empty string", "quote the number, to make it a string" if is_number else "")
        self._check("weights", isinstance(self.weights, str) and bool(self.weights.strip(".")),
                    "best, ema, last or a section of the checkpoint")
        self._check("when", self.when in ("end", "best") or type(self.when) is int and self.when >= 1,
                    "end, best or a number of epochs")
        self._check("checkpoint", not {"/", "\\"} & set(str(self.checkpoint)),
                    "an epoch or a name, as in checkpoint_<name>.th, not a path")
        self._check("max_shard_size", bool(SIZE.fullmatch(str(self.max_shard_size))),
                    "a number of bytes, or a size such as 5GB")
        self._check("card", self.card is None or isinstance(self.card, bool), "true or false")
        for name in (each.name for each in fields(self) if each.default is False):
            self._check(name, isinstance(getattr(self, name), bool), "true or false")
        if self.metric is not None:
            parse_metric(self.metric)
        expand_presets(self.patterns)
        if self.hub is not None:
            check_repo(self.hub)
        self._check("revision", self.revision is None or bool(_BRANCH.fullmatch(self.revision))
                    and ".." not in self.revision,
                    "a branch of the Hub, of letters, digits, `-`, `_`, `.`, `+` and `/`, such as v1.0")
        self._refuse_conflicts()

    def _refuse_conflicts(self) -> None:
        """Refuse options that have no effect without others."""
        if self.hub is None and (self.private or self.revision is not None):
            raise OptionError("conflicting-options", "private and revision require a Hub repository",
                              "set hub (--push-to-hub ORG/NAME)")
        if self.attest and self.sign is None:
            raise OptionError("conflicting-options", "attest requires a key", "set sign (--sign KEY.pem)")
        if self.format == AUDIOCRAFT and self.max_shard_size != type(self).max_shard_size:
            raise OptionError("conflicting-options", "max_shard_size has no effect on format=audiocraft",
                              "set format (--format safetensors), or omit max_shard_size")

    def _normalize(self) -> None:
        """Convert alternative forms of a value to one: `3` to `"3"`, paths to strings, a scrub pattern to a tuple."""
        if isinstance(self.checkpoint, int) and not isinstance(self.checkpoint, bool):
            object.__setattr__(self, "checkpoint", str(self.checkpoint))
        for name in PATHS:
            if isinstance(getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(getattr(self, name)))
        for name in ("when", "max_shard_size"):
            value = getattr(self, name)
            if isinstance(value, str) and value.isdecimal():
                object.__setattr__(self, name, int(value))
        if isinstance(self.scrub, (str, list, tuple)):
            patterns = [self.scrub] if isinstance(self.scrub, str) else self.scrub
            object.__setattr__(self, "scrub", tuple(patterns) or None)

    def _check(self, name: str, is_valid: bool, expected: str, hint: str = "") -> None:
        """Raise an OptionError for the option `name` unless its value is valid."""
        if not is_valid:
            value = "" if name == "sign" else f" {getattr(self, name)!r}"  # it may be the key itself
            raise OptionError("invalid-option", f"Invalid value{value} for {name}: expected {expected}", hint)

    @classmethod
    def export_fields(cls) -> list[Field[Any]]:
        """Return the options that a single export uses: all except `when`."""
        return [each for each in fields(cls) if each.name != "when"]

    @classmethod
    def check_names(cls, names: Iterable[Any], prefix: str = "exporter.") -> None:
        """Check that all names are names of options.

        Args:
            names: the names.
            prefix: what precedes a name in the message: the Hydra node, or nothing for a keyword.

        Raises:
            OptionError: if a name is unknown; the hint offers the closest option, or lists all of them.
        """
        valid = [each.name for each in fields(cls)]
        for name in names:
            if name not in valid:
                by_flag = {cls.flag_of(each)[2:].replace("-", "_"): each for each in valid}
                hint = did_you_mean(by_flag.get(name, str(name)), valid, f"choose one of {', '.join(valid)}")
                raise OptionError("unknown-option", f"Unknown option {prefix}{name}", hint)

    @staticmethod
    def flag_of(name: str) -> str:
        """Return the command-line flag of an option."""
        return f"--{'push-to-hub' if name == 'hub' else name.replace('_', '-')}"

    @property
    def flags(self) -> list[str]:
        """The command-line flags that set the same options, except the folder; the path of a key is never shown."""
        words: list[str] = []
        for option in self.export_fields():
            value, flag = getattr(self, option.name), self.flag_of(option.name)
            if option.name in ("folder", "sign", "attest") or value == option.default:
                continue
            if isinstance(value, bool):
                words.append(flag if value else flag.replace("--", "--no-", 1))
                continue
            for each in value if isinstance(value, tuple) else (value,):
                words += [flag, str(each)]
        return words

    @classmethod
    def from_mapping(cls, values: Mapping[Any, Any]) -> ExportOptions:
        """Create options from a mapping, such as a Hydra node.

        Raises:
            OptionError: if a key or a value is invalid.
        """
        cls.check_names(values)
        return cls(**values)

    @property
    def has_card(self) -> bool:
        """True if the release gets a model card."""
        return self.format != AUDIOCRAFT if self.card is None else self.card

    @property
    def has_digest(self) -> bool:
        """True if the manifest gets a content digest, which a signed release always has."""
        return self.digest or self.sign is not None

    @property
    def patterns(self) -> Sequence[str]:
        """The patterns and presets of `scrub`."""
        return () if self.scrub is None else self.scrub

    def release_folder(self, xp_folder: Path) -> Path:
        """Return the release folder of the experiment in `xp_folder`."""
        return Path(self.folder or xp_folder / RELEASE_FOLDER)

    def replace(self, **values: Any) -> ExportOptions:
        """Return a copy with some values changed.

        Raises:
            OptionError: if a key or a value is invalid.
        """
        self.check_names(values, prefix="")
        return replace(self, **values)


def parse_metric(text: str) -> re.Match[str]:
    """Return `stage`, `name` and `direction` of a value of the option `metric`; stage and direction may be None.

    Raises:
        OptionError: if the value is invalid.
    """
    match = _METRIC.fullmatch(text)
    if match is None:
        raise OptionError("invalid-option", f"Invalid value {text!r} for metric: expected NAME or STAGE.NAME, such as "
                          "loss, with an optional :min or :max, as in accuracy:max")
    return match


def expand_presets(scrub: Sequence[str]) -> tuple[str, ...]:
    """Replace presets by their patterns, and remove duplicates.

    Raises:
        OptionError: if a pattern is invalid and could never match.
    """
    if not isinstance(scrub, (list, tuple)) or not all(isinstance(each, str) for each in scrub):
        raise OptionError("invalid-option", f"Invalid value {scrub!r} for scrub: expected a list of patterns, such as "
                          f"[{PUBLIC}, optim.*]")
    for each in scrub:
        if not all(KEY_PART.fullmatch(part) for part in each.split(".")):
            raise OptionError("invalid-option", f"Invalid scrub pattern {each!r}",
                              "use a dotted key such as optim.lr, where * matches within one level and ** across "
                              f"levels, or the preset {', '.join(PRESETS)}")
        similar = get_close_matches(each.lower(), PRESETS, 1, 0.8)
        if similar and each not in PRESETS:
            raise OptionError("invalid-option", f"Unknown scrub preset {each!r}", f"did you mean {similar[0]!r}?")
    return tuple(dict.fromkeys(pattern for each in scrub for pattern in PRESETS.get(each, (each,))))


def check_repo(name: str) -> None:
    """Check the name of a Hub repository by the rules of the Hub; the checks in huggingface_hub depend on its version.

    Raises:
        OptionError: if the name is invalid.
    """
    if not _REPO.fullmatch(name):
        raise OptionError("invalid-option", f"Invalid Hub repository {name!r}: expected ORG/NAME",
                          "use letters, digits and single `-`, `_` or `.`, at most 96 characters in each part, and no "
                          "`.git` at the end")


_DEFAULTS = {each.name: each.default for each in fields(ExportOptions)}


def with_default(options: Mapping[str, Any], name: str) -> Any:
    """Return an option of a manifest, or its default value if the manifest leaves it out."""
    return options.get(name, _DEFAULTS.get(name))


def other_options(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a manifest that are not the wanted ones, except `metric`: only its effect is compared."""
    found = {name: with_default(existing, name) for name in {**existing, **wanted} if name != "metric"}
    return {name: value for name, value in found.items() if value != with_default(wanted, name)}


def describe_options(options: Mapping[str, Any]) -> str:
    """Format options as `name=value, ...`, for a message; None is the default of each option that can be None."""
    shown = {name: " ".join(map(str, value)) if isinstance(value, list) else value for name, value in options.items()}
    return ", ".join(f"default {name}" if value is None else f"{name}={value}" for name, value in shown.items())


def _closest(value: str, valid: Sequence[str]) -> str:
    """Return the valid value that is probably meant, or an empty string.

    Names with different digits, such as float64 and float16, are not typos.
    """
    name = value.lower().rpartition(".")[2]  # of torch.float16
    similar = [each for each in valid if re.sub(r"\D", "", each) == re.sub(r"\D", "", name)]
    found = [each for each in valid if each == ALSO_CALLED.get(name)] or get_close_matches(name, similar, 1)
    return found[0] if found else ""
