"""MultiBand Diffusion: a model for each frequency band, all in one file.

`audiocraft.models.loaders.load_diffusion_models` reads it: `{sample_rate, n_bands, 0: {cfg, model_state,
processor_state}, 1: ...}`. AudioCraft has no function that writes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoint.wrappers import strip_wrappers
from ...errors import CheckpointError
from ..content import AttrDict
from ..model import ReleaseModel
from ..weights import Weights, compact

FILE = "diffusion_state_dict.bin"
BUILT_FROM = ("channels", "schedule", "diffusion_unet", "processor")
SHARED = ("compression_model_checkpoint", "n_q", "channels", "resampling")


@dataclass(frozen=True)
class _Band:
    """Which band a model was trained on (`filter` of its configuration, AudioCraft's DataProcess)."""

    split: str  # how the spectrum is split, for a message
    count: int  # into how many bands
    index: int


WHOLE_SPECTRUM = _Band("the whole spectrum", 1, 0)


def files(*models: ReleaseModel) -> dict[str, Mapping[Any, Any]]:
    """The release of some bands, in their order.

    Raises:
        CheckpointError: if a checkpoint lacks what a band consists of.
    """
    bands = dict(enumerate(map(_band_content, models)))
    return {FILE: {"sample_rate": _sample_rate(models[0]), "n_bands": len(bands), **bands,
                   "version": models[0].version, "exported": True}}


def as_written(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """What `files` made, of what is read from the file: the names in `cfg` are attributes again."""
    return {key: {**band, "cfg": AttrDict.of(band.get("cfg"))} if isinstance(band, dict) else band
            for key, band in state.items()}


def load(loaders: Any, folder: Path, names: Sequence[str]) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """Rebuild the modules of a release with AudioCraft's loaders."""
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
    bands = [_band_of(model) for model in models]
    if WHOLE_SPECTRUM in bands and len(models) > 1:
        raise CheckpointError(f"{_name(models[bands.index(WHOLE_SPECTRUM)])} was trained on the whole spectrum "
                              "(filter.use): it is no band, release it alone.")
    if len({band.split for band in bands}) > 1:
        splits = _each(models, [band.split for band in bands])
        raise CheckpointError(f"These bands split the spectrum differently ({splits}): name the experiments of one "
                              "split (filter.n_bands, filter.cutoffs).")
    count, indices = bands[0].count, [band.index for band in bands]
    if sorted(indices) != list(range(count)):
        raise CheckpointError(f"These are not all bands, each once ({_each(models, indices)}, of {count}): name one "
                              f"experiment for each of the bands 0 to {count - 1} (filter.idx_band).")
    if indices != sorted(indices):
        ordered = " ".join(_name(models[indices.index(index)]) for index in range(count))
        raise CheckpointError(f"These bands are not in order ({_each(models, indices)}): name them as {ordered}.")


def notes(*models: ReleaseModel) -> Iterator[str]:
    """What is odd about a release of these bands."""
    band = _band_of(models[0])
    if band.count > len(models):
        yield (f"this is band {band.index} of {band.count} alone, and sounds like it: release all of them with "
               "audiocraft-export run --bands")
    for key in SHARED:
        values = [model.config.raw(key) for model in models]
        if any(value != values[0] for value in values):
            yield f"the bands were trained with different {key} ({_each(models, values)})"
    for model in models:
        yield from strip_wrappers(model.checkpoint.state["sample_processor"], "sample_processor")[1]


def _band_content(model: ReleaseModel) -> dict[str, Any]:
    processor = model.checkpoint.state.get("sample_processor")
    if not isinstance(processor, dict):
        raise CheckpointError(f"{model.checkpoint.where} has no sample_processor, without which a diffusion model "
                              "cannot be released: export another checkpoint.")
    processor = strip_wrappers(processor, "sample_processor")[0]
    state = compact(Weights(processor, "sample_processor", "")).state
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


def _band_of(model: ReleaseModel) -> _Band:
    trained = model.checkpoint.config
    config = trained.require("filter")["filter"] if trained.raw("filter") else None
    if not isinstance(config, dict) or config.get("use") in (None, False):
        return WHOLE_SPECTRUM
    use, bands, cutoffs, index = map(config.get, ("use", "n_bands", "cutoffs", "idx_band"))
    split, count = (f"at {cutoffs}", len(cutoffs) + 1) if isinstance(cutoffs, list) else ("evenly", bands)
    if not isinstance(use, int) or not isinstance(cutoffs, (list, type(None))) or type(count) is not int \
            or type(index) is not int or not 0 <= index < count:
        raise CheckpointError(f"`filter` of the configuration of {model.checkpoint.where} does not say which band of "
                              f"how many it is (use={use}, idx_band={index}, n_bands={bands}, cutoffs={cutoffs}): set "
                              "idx_band, and n_bands or cutoffs.")
    return _Band(f"{split} in {count}", count, index)


def _each(models: Sequence[ReleaseModel], values: Sequence[Any]) -> str:
    return ", ".join(f"{_name(model)}: {value}" for model, value in zip(models, values))


def _name(model: ReleaseModel) -> str:
    return model.checkpoint.sig or model.checkpoint.where
