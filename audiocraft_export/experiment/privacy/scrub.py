"""Remove keys from a configuration, by patterns, before anything of it is released.

A pattern is a dotted key from the top (`optim.lr`; indices of lists are parts, as in `betas.0`). `*` stands for any
name or a part of one (`dataset.*.path`, `*_dir`), `**` between the dots for any number of names, none among them
(`**.path`, `conditioners.**.cache_path`). A section goes with all that is in it.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ...errors import CheckpointError
from ...options import PRESETS, PUBLIC, expand_presets
from ..config import Config
from ..interpolation import references
from ..walk import KeyPath, items_of
from .detectors import HOST, USER, KnownNames
from .exposure import find_private_values

BUILDER_KEYS = (  # what the loaders and builders of audiocraft.models read, of any family
    "attribute_dropout", "audioseal", "channels", "classifier_free_guidance", "codebooks_pattern", "compression_model",
    "compression_model_framerate", "compression_model_latent_dim", "compression_model_latent_mean",
    "compression_model_latent_std", "compression_model_n_q", "conditioners", "dataset.segment_duration", "detector",
    "diffusion_unet", "encodec", "fuser", "interleave_stereo_codebooks", "lm_model", "masking", "no_quant", "processor",
    "rvq", "sample_rate", "schedule", "seanet", "solver", "transformer_lm")
END = "\0"  # of a name in a path
CHARACTER, NAME = f"[^{END}]", f"(?:[^{END}]+{END})"


def scrub_config(config: Config, scrub: Sequence[str]) -> Config:
    """Remove the keys that patterns match, and those that refer to one of these.

    No value that is removed is written where it was referred to. The preset `public` removes, beside what its patterns
    match, every value that holds an absolute path, an e-mail address, a token, or the name of a user or of a host;
    what it removes depends on the configuration alone, not on this machine, so that a release stays reproducible.

    Raises:
        OptionError: if `scrub` has what is no pattern and no preset.
        CheckpointError: if `public` finds something private in what a model is built from, or that refers to a key that
            is removed.
    """
    patterns = expand_presets(scrub)
    if not patterns:
        return config
    removed = set(matches(config.values, patterns))
    if PUBLIC in scrub:
        removed |= set(_private(config, removed))
    _add_referring(removed, config)
    scrubbed = Config(_remove(config.values, removed))
    scrubbed.choices = config.choices
    return scrubbed


def unmatched_patterns(config: Config, scrub: Sequence[str]) -> list[str]:
    """The patterns that match nothing of a configuration, as one with a slip does; presets fit all families.

    Raises:
        OptionError: if one is no pattern.
    """
    expand_presets(scrub)
    return [each for each in scrub if each not in PRESETS and not any(matches(config.values, [each]))]


def matches(values: Any, patterns: Collection[str]) -> Iterator[KeyPath]:
    """The topmost paths of plain data that patterns match."""
    fits = re.compile("|".join(map(_regex, patterns)), re.DOTALL).fullmatch
    todo: list[tuple[KeyPath, Any]] = [((), values)]
    while todo:
        path, value = todo.pop()
        if path and fits(END.join(path)):
            yield path
        else:
            todo += [((*path, name), item) for name, _, item in items_of(value)]


def _regex(pattern: str) -> str:
    """A regular expression for a path, whose names are joined by END."""
    *first, last = pattern.split(".")
    parts = [f"{NAME}*" if part == "**" else _name_regex(part) + END for part in first]
    return "".join(parts) + (f"{NAME}*{CHARACTER}+" if last == "**" else _name_regex(last))


def _name_regex(part: str) -> str:
    return f"{CHARACTER}*".join(map(re.escape, part.split("*")))


def _private(config: Config, removed: Collection[KeyPath]) -> Iterator[KeyPath]:
    """The paths of private values, but for those that are removed already."""
    for exposure in find_private_values(config.values, KnownNames()):
        if any(exposure.path[:end] in removed for end in range(1, len(exposure.path) + 1)):
            continue
        if not _is_built_from(exposure.path):
            yield exposure.path
        elif exposure.kind not in (USER, HOST):  # `norm: layer_norm`, if a user is called `layer`
            raise CheckpointError(f"The configuration (xp.cfg) says {exposure}, and the model is built from that: "
                                  f"scrub={PUBLIC} neither releases nor removes it; name `{exposure.key}` in scrub, "
                                  "too, if the model does not need it.")


def _add_referring(removed: set[KeyPath], config: Config) -> None:
    """Add what refers to a path that is removed, or that may: it could not be resolved any more."""
    referring = defaultdict(list)
    for source, target in references(config.values):
        for end in range(1, len(target) + 1):
            for way in _ways_to(target[:end]):
                referring[way].append(source)
    todo = list(removed)
    while todo:
        path = todo.pop()
        computed = [(*path[:end], "**") for end in range(len(path))]
        for source in [each for way in (*_ways_to(path), *computed) for each in referring.pop(way, ())]:
            if source in removed:
                continue
            if _is_built_from(source):
                raise CheckpointError(f"`{'.'.join(source)}` of the configuration (xp.cfg), from which the model is "
                                      "built, refers to a key that scrub removes: take that key out of scrub, or name "
                                      "both if the model does not need them.")
            removed.add(source)
            todo.append(source)


def _is_built_from(path: KeyPath) -> bool:
    return not {path[0], ".".join(path[:2])}.isdisjoint(BUILDER_KEYS)


def _ways_to(path: KeyPath) -> Iterator[KeyPath]:
    """A path, and that of all elements of its list: without one of them, the indices of the others change."""
    yield path
    if path[-1].lstrip("-").isdecimal():
        yield (*path[:-1], "[]")


def _remove(value: Any, removed: Collection[KeyPath], path: KeyPath = ()) -> Any:
    if not isinstance(value, (dict, list, tuple)):
        return value
    kept = [(key, _remove(item, removed, (*path, name))) for name, key, item in items_of(value)
            if (*path, name) not in removed]
    return dict(kept) if isinstance(value, dict) else [item for _, item in kept]
