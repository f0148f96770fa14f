"""MultiBand Diffusion: a model for each frequency band, all in one file.

`audiocraft.models.loaders.load_diffusion_models` reads it: `{sample_rate, n_bands, 0: {cfg, model_state,
processor_state}, 1: ...}`. AudioCraft has no function that writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import CheckpointError
from ..content import AttrDict
from ..model import ReleaseModel
from ..weights import Weights, compact

FILE = "diffusion_state_dict.bin"
BUILT_FROM = ("channels", "schedule", "diffusion_unet", "processor")
SHARED = ("compression_model_checkpoint", "n_q", "channels", "resampling")
WHOLE = "the whole spectrum"


def files(*models: ReleaseModel) -> dict[str, Mapping[Any, Any]]:
    """The release of some bands, in their order.

    Raises:
        CheckpointError: if a checkpoint lacks what a band consists of.
    """
    bands = dict(enumerate(map(_band, models)))
    return {FILE: {"sample_rate": _sample_rate(models[0]), "n_bands": len(bands), **bands,
                   "version": models[0].version, "exported": True}}


def as_written(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """What `files` made, of what is read from the file: the names in `cfg` are attributes again."""
    return {key: {**band, "cfg": AttrDict.of(band.get("cfg"))} if isinstance(band, dict) else band
            for key, band in state.items()}


def load(loaders: Any, folder: Path, names: Sequence[str]) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """The modules that AudioCraft rebuilds from a release."""
    models, processors, _ = loaders.load_diffusion_models(str(folder / FILE))
    for index, (model, processor) in enumerate(zip(models, processors)):
        yield model, FILE, (index, "model_state")
        yield processor, FILE, (index, "processor_state")


def check(models: Sequence[ReleaseModel]) -> None:
    """Check that models are the bands of one MultiBand Diffusion, complete and in order.

    Raises:
        CheckpointError: if they are not.
    """
    rates = [_sample_rate(model) for model in models]
    if len(set(rates)) > 1:
        raise CheckpointError(f"These bands have different sample rates ({_each(models, rates)}): a release has "
                              "one, so name those of one rate.")
    splits = [_split(model) for model in models]
    whole = [_name(model) for model, split in zip(models, splits) if split[0] == WHOLE]
    if whole and len(models) > 1:
        raise CheckpointError(f"{whole[0]} was trained on the whole spectrum (filter.use): it is no band, release it "
                              "alone.")
    if any(split[:2] != splits[0][:2] for split in splits):
        ways = _each(models, [way for way, _, _ in splits])
        raise CheckpointError(f"These bands split the spectrum differently ({ways}): name the experiments of one split "
                              "(filter.n_bands, filter.cutoffs).")
    count, found = splits[0][1], [index for _, _, index in splits]
    if sorted(found) != list(range(count)):
        raise CheckpointError(f"These are not all bands, each once ({_each(models, found)}, of {count}): name one "
                              f"experiment for each of the bands 0 to {count - 1} (filter.idx_band).")
    if found != sorted(found):
        ordered = " ".join(_name(model) for _, model in sorted(zip(found, models), key=lambda pair: pair[0]))
        raise CheckpointError(f"These bands are not in order ({_each(models, found)}): name them as {ordered}.")


def notes(*models: ReleaseModel) -> Iterator[str]:
    """What is odd about a release of these bands."""
    _, count, index = _split(models[0])
    if count > len(models):
        yield (f"this is band {index} of {count} alone, and sounds like it: release all of them with "
               "audiocraft-export run --bands")
    for key in SHARED:
        values = [model.config.raw(key) for model in models]
        if any(value != values[0] for value in values):
            yield f"the bands were trained with different {key} ({_each(models, values)})"


def _band(model: ReleaseModel) -> dict[str, Any]:
    processor = model.checkpoint.state.get("sample_processor")
    if not isinstance(processor, dict):
        raise CheckpointError(f"{model.checkpoint.where} has no sample_processor, without which a diffusion model "
                              "cannot be released: export another checkpoint.")
    state = compact(Weights(processor, "sample_processor", ""), None).state
    built_from = model.config.require(*BUILT_FROM)
    for name in BUILT_FROM[1:]:
        if not isinstance(built_from[name], dict):
            raise CheckpointError(f"`{name}` of the configuration of {model.checkpoint.where} is no mapping of keys to "
                                  "values, and no diffusion model can be built from it: write it as one.")
    return {"cfg": AttrDict.of({**model.config.values, **built_from}),
            "model_state": model.weights.state, "processor_state": state, "xp.cfg": model.config.text}


def _sample_rate(model: ReleaseModel) -> Any:
    rate = model.config.require("sample_rate")["sample_rate"]
    if type(rate) not in (int, float):
        raise CheckpointError(f"sample_rate of {model.checkpoint.where} is {rate!r}, no number: write one into the "
                              "configuration.")
    return rate


def _split(model: ReleaseModel) -> tuple[str, int, int]:
    """How the spectrum is split, into how many bands, and which one this is (AudioCraft's DataProcess)."""
    trained = model.checkpoint.config
    config = {} if trained.raw("filter") is None else trained.require("filter")["filter"]
    use, bands, cutoffs, index = (config.get(name) if isinstance(config, dict) else None
                                  for name in ("use", "n_bands", "cutoffs", "idx_band"))
    if not config or use in (None, False):
        return WHOLE, 1, 0
    split, count = (f"at {cutoffs}", len(cutoffs) + 1) if isinstance(cutoffs, list) else ("evenly", bands)
    if not isinstance(use, int) or not isinstance(cutoffs, (list, type(None))) or type(count) is not int \
            or type(index) is not int or not 0 <= index < count:
        raise CheckpointError(f"`filter` of the configuration of {model.checkpoint.where} does not say which band of "
                              f"how many it is (use={use}, idx_band={index}, n_bands={bands}, cutoffs={cutoffs}): set "
                              "idx_band, and n_bands or cutoffs.")
    return f"{split} in {count}", count, index


def _each(models: Sequence[ReleaseModel], values: Sequence[Any]) -> str:
    return ", ".join(f"{_name(model)}: {value}" for model, value in zip(models, values))


def _name(model: ReleaseModel) -> str:
    return model.checkpoint.sig or model.checkpoint.where
