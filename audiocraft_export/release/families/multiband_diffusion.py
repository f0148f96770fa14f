"""MultiBand Diffusion: one model for each frequency band, all in one file.

`audiocraft.models.loaders.load_diffusion_models` reads the file: `{sample_rate, n_bands, 0: {cfg, model_state,
processor_state}, 1: ...}`. AudioCraft has no function that writes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...checkpoint.state_dict import compact
from ...checkpoint.wrappers import strip_wrappers
from ...errors import CheckpointError, coded_warning
from ..content import AttrDict
from ..model import ReleaseModel

FILE = "diffusion_state_dict.bin"
BUILT_FROM = ("channels", "schedule", "diffusion_unet", "processor")
SHARED = ("compression_model_checkpoint", "n_q", "channels", "resampling")


@dataclass(frozen=True)
class _Band:
    """The band that a model was trained on (`filter` of its configuration, AudioCraft's DataProcess)."""

    split: str  # how the spectrum is split, for a message
    count: int  # number of bands
    index: int  # position of the band, from 0


WHOLE_SPECTRUM = _Band("the whole spectrum", 1, 0)


def files(*models: ReleaseModel) -> dict[str, Mapping[Any, Any]]:
    """Return the release file of the given bands, in their order.

    Raises:
        CheckpointError: if a checkpoint lacks its sample processor or configuration values that build the model.
    """
    bands = dict(enumerate(map(_band_content, models)))
    return {FILE: {"sample_rate": _sample_rate(models[0]), "n_bands": len(bands), **bands,
                   "version": models[0].version, "exported": True}}


def as_written(state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Convert a loaded file to what `files` returned: with `cfg` as an AttrDict."""
    return {key: {**band, "cfg": AttrDict.of(band.get("cfg"))} if isinstance(band, dict) else band
            for key, band in state.items()}


def load(loaders: Any, folder: Path, names: Sequence[str]) -> Iterator[tuple[Any, str, tuple[Any, ...]]]:
    """Load the modules of a release with AudioCraft's loaders."""
    models, processors, _ = loaders.load_diffusion_models(str(folder / FILE))
    for index, (model, processor) in enumerate(zip(models, processors)):
        yield model, FILE, (index, "model_state")
        yield processor, FILE, (index, "processor_state")


def check(models: Sequence[ReleaseModel]) -> None:
    """Check that models are all bands of one MultiBand Diffusion, in order and with one sample rate.

    Raises:
        CheckpointError: if a band is missing, repeated, out of order or of another model.
    """
    rates = [_sample_rate(model) for model in models]
    if len(set(rates)) > 1:
        raise CheckpointError("invalid-bands", f"The bands have different sample rates ({_each(models, rates)})",
                              "use bands with the same sample rate")
    bands = [_band_of(model) for model in models]
    if WHOLE_SPECTRUM in bands and len(models) > 1:
        raise CheckpointError("invalid-bands", f"{_name(models[bands.index(WHOLE_SPECTRUM)])} was trained on the whole "
                              "spectrum, not on a band (filter.use)", "export it alone")
    if len({band.split for band in bands}) > 1:
        splits = _each(models, [band.split for band in bands])
        raise CheckpointError("invalid-bands", f"The bands split the spectrum differently ({splits})",
                              "use experiments with the same filter.n_bands and filter.cutoffs")
    count, indices = bands[0].count, [band.index for band in bands]
    if sorted(indices) != list(range(count)):
        raise CheckpointError("invalid-bands", f"Missing or repeated bands: expected 0 to {count - 1}, got "
                              f"{_each(models, indices)}", "give one experiment for each band (filter.idx_band)")
    if indices != sorted(indices):
        ordered = " ".join(_name(models[indices.index(index)]) for index in range(count))
        raise CheckpointError("invalid-bands", f"The bands are not in order ({_each(models, indices)})",
                              f"give them in this order: {ordered}")


def notes(*models: ReleaseModel) -> Iterator[str]:
    """Yield coded warnings about a release of these bands, after `files` has checked their sample processors.

    Raises:
        CheckpointError: if a configuration defines no band.
    """
    band = _band_of(models[0])
    if band.count > len(models):
        yield coded_warning("incomplete-bands", f"the release has only band {band.index} of {band.count}; to release "
                            "all bands, use audiocraft-export run --bands")
    for key in SHARED:
        values = [model.config.raw(key) for model in models]
        if any(value != values[0] for value in values):  # without paths, because a warning is released
            each = ", ".join(f"{model.checkpoint.sig or f'band {index}'}: {value}"
                             for index, (model, value) in enumerate(zip(models, values)))
            yield coded_warning("different-bands", f"the bands were trained with different {key} ({each})")
    for model in models:
        yield from strip_wrappers(model.checkpoint.state["sample_processor"], "sample_processor")[1]


def _band_content(model: ReleaseModel) -> dict[str, Any]:
    """Return the part of the release file for one band."""
    processor = model.checkpoint.state.get("sample_processor")
    if not isinstance(processor, dict):
        raise CheckpointError("missing-sample-processor", f"{model.checkpoint.where} has no sample_processor, which a "
                              "diffusion model requires", "use family=general (--family general)")
    processor = strip_wrappers(processor, "sample_processor")[0]
    state = compact(processor, "sample_processor")
    built_from = model.config.require(*BUILT_FROM)
    for name in BUILT_FROM[1:]:
        if not isinstance(built_from[name], dict):
            raise CheckpointError("invalid-config", f"Invalid value for `{name}` in the configuration of "
                                  f"{model.checkpoint.where}: expected a mapping")
    return {"cfg": AttrDict.of({**model.config.values, **built_from}),
            "model_state": model.weights.state, "processor_state": state, "xp.cfg": model.config.text}


def _sample_rate(model: ReleaseModel) -> Any:
    rate = model.config.require("sample_rate")["sample_rate"]
    if type(rate) not in (int, float):
        raise CheckpointError("invalid-config", f"Invalid value {rate!r} for sample_rate in the configuration of "
                              f"{model.checkpoint.where}: expected a number")
    return rate


def _band_of(model: ReleaseModel) -> _Band:
    """Return the band that a model was trained on, by its configuration."""
    trained = model.checkpoint.config
    config = trained.require("filter")["filter"] if trained.raw("filter") else None
    if not isinstance(config, dict) or config.get("use") in (None, False):
        return WHOLE_SPECTRUM
    use, bands, cutoffs, index = map(config.get, ("use", "n_bands", "cutoffs", "idx_band"))
    split, count = (f"at {cutoffs}", len(cutoffs) + 1) if isinstance(cutoffs, list) else ("evenly", bands)
    if not isinstance(use, int) or not isinstance(cutoffs, (list, type(None))) or type(count) is not int \
            or type(index) is not int or not 0 <= index < count:
        raise CheckpointError("invalid-bands", f"`filter` in the configuration of {model.checkpoint.where} does not "
                              f"define a band (use={use}, idx_band={index}, n_bands={bands}, cutoffs={cutoffs})",
                              "set idx_band, and n_bands or cutoffs")
    return _Band(f"{split} in {count}", count, index)


def _each(models: Sequence[ReleaseModel], values: Sequence[Any]) -> str:
    """List the value of each band for a message."""
    return ", ".join(f"{_name(model)}: {value}" for model, value in zip(models, values))


def _name(model: ReleaseModel) -> str:
    return model.checkpoint.sig or model.checkpoint.where
