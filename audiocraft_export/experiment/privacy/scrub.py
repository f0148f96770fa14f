"""Remove the keys of a configuration that match patterns, before the configuration is released.

A pattern is a dotted key from the top level (`optim.lr`); indices of lists are also levels (`betas.0`). `*` matches a
name or a part of a name (`dataset.*.path`, `*_dir`), and `**` any number of levels, including zero (`**.path`,
`conditioners.**.cache_path`). A section is removed with all its keys.
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

BUILDER_KEYS = (  # read by the loaders and builders of audiocraft.models, for any family
    "attribute_dropout", "audioseal", "channels", "classifier_free_guidance", "codebooks_pattern", "compression_model",
    "compression_model_framerate", "compression_model_latent_dim", "compression_model_latent_mean",
    "compression_model_latent_std", "compression_model_n_q", "conditioners", "dataset.segment_duration", "detector",
    "diffusion_unet", "encodec", "fuser", "interleave_stereo_codebooks", "lm_model", "masking", "no_quant", "processor",
    "rvq", "sample_rate", "schedule", "seanet", "solver", "transformer_lm")
END = "\0"  # marks the end of a name in a path
CHARACTER, NAME = f"[^{END}]", f"(?:[^{END}]+{END})"


def scrub_config(config: Config, scrub: Sequence[str]) -> Config:
    """Remove the keys that match patterns, and the keys that refer to a removed one.

    The preset `public` also removes every value with an absolute path, an e-mail address, a token, or the name of a
    user or host. The result depends on the configuration alone and not on this machine, so that a release is
    reproducible.

    Raises:
        OptionError: if an item of `scrub` is neither a pattern nor a preset.
        CheckpointError: if a key that the model is built from has a value that `public` considers private, or refers
            to a key that is removed.
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
    """Return the patterns that match no key of a configuration, usually because of a typo; presets are omitted.

    Raises:
        OptionError: if an item of `scrub` is neither a pattern nor a preset.
    """
    expand_presets(scrub)
    return [each for each in scrub if each not in PRESETS and not any(matches(config.values, [each]))]


def matches(values: Any, patterns: Collection[str]) -> Iterator[KeyPath]:
    """Yield the paths in plain data that match a pattern; paths below a matching one are omitted."""
    fits = re.compile("|".join(map(_regex, patterns)), re.DOTALL).fullmatch
    todo: list[tuple[KeyPath, Any]] = [((), values)]
    while todo:
        path, value = todo.pop()
        if path and fits(END.join(path)):
            yield path
        else:
            todo += [((*path, name), item) for name, _, item in items_of(value)]


def _regex(pattern: str) -> str:
    """Convert a pattern to a regular expression for paths whose names are joined with `END`."""
    *first, last = pattern.split(".")
    parts = [f"{NAME}*" if part == "**" else _name_regex(part) + END for part in first]
    return "".join(parts) + (f"{NAME}*{CHARACTER}+" if last == "**" else _name_regex(last))


def _name_regex(part: str) -> str:
    """Convert one level of a pattern to a regular expression for a name."""
    return f"{CHARACTER}*".join(map(re.escape, part.split("*")))


def _private(config: Config, removed: Collection[KeyPath]) -> Iterator[KeyPath]:
    """Yield the paths of private values that are not removed yet."""
    for exposure in find_private_values(config.values, KnownNames()):
        if any(exposure.path[:end] in removed for end in range(1, len(exposure.path) + 1)):
            continue
        if not _is_built_from(exposure.path):
            yield exposure.path
        elif exposure.kind not in (USER, HOST):  # a name may match by chance: `norm: layer_norm` and a user `layer`
            raise CheckpointError("config-not-scrubbable", f"scrub={PUBLIC} cannot remove the private value "
                                  f"{exposure}: the model is built from this key",
                                  f"add `{exposure.key}` to scrub if the model does not need it")


def _add_referring(removed: set[KeyPath], config: Config) -> None:
    """Add the paths of values that refer, or may refer, to a removed path: they could no longer be resolved."""
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
                raise CheckpointError("config-not-scrubbable", f"`{'.'.join(source)}` of the configuration (xp.cfg), "
                                      "which the model is built from, refers to a key that scrub removes",
                                      "keep that key, or add both to scrub if the model does not need them")
            removed.add(source)
            todo.append(source)


def _is_built_from(path: KeyPath) -> bool:
    """Return whether the model is built from the value at a path."""
    return not {path[0], ".".join(path[:2])}.isdisjoint(BUILDER_KEYS)


def _ways_to(path: KeyPath) -> Iterator[KeyPath]:
    """Yield a path and, for a list element, the path of any element: removing one shifts the other indices."""
    yield path
    if path[-1].lstrip("-").isdecimal():
        yield (*path[:-1], "[]")


def _remove(value: Any, removed: Collection[KeyPath], path: KeyPath = ()) -> Any:
    """Copy plain data without the removed paths."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    kept = [(key, _remove(item, removed, (*path, name))) for name, key, item in items_of(value)
            if (*path, name) not in removed]
    return dict(kept) if isinstance(value, dict) else [item for _, item in kept]
