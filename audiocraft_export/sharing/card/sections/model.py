"""Render the section `model` of a card: architecture and size, from the training configuration."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

from ....errors import readable_size
from ....experiment.config import Config
from ....release.manifest import Manifest
from ....release.metrics import is_number
from ..config_values import conditioners_of, count_of, frame_rate_of, public_codec, value_of
from ..limits import MAX_CONDITIONS
from ..markdown import amount, code, number, table
from ..source import CardSource

Row = tuple[str, Optional[str]]  # label and value; a row without a value is left out


def model_section(source: CardSource, has_license: bool) -> str:
    """Render the section `model`, with a note if no license is specified."""
    model_type = source.model_type
    paper = f" See [the paper](https://arxiv.org/abs/{model_type.paper})." if model_type.paper else ""
    rows = [(label, value) for label, value in _rows(source) if value]
    text = f"{model_type.summary}{paper}\n\n{table(('', ''), rows)}"
    return text if has_license else f"{text}\n\nNo license specified. Add `license:` to the front matter " \
        "of this file before publishing."


def _rows(source: CardSource) -> Iterator[Row]:
    yield "Size", _size(source.manifest)
    yield "Audio", _audio(source.config)
    if source.model_type.name in ROWS:
        yield from ROWS[source.model_type.name](source)


def _size(manifest: Manifest) -> str:
    dtypes = ", ".join(code(name) for name in manifest.dtypes)
    included = " with the compression model" if _has_codec(manifest) else ""
    return (f"{_round_count(manifest.parameters)} parameters{f' ({dtypes})' if dtypes else ''}, "
            f"{readable_size(manifest.nbytes)}{included}")


def _has_codec(manifest: Manifest) -> bool:
    """Return whether the release has the weights of a compression model, not only its name."""
    codec = manifest.codec or {}
    is_public = isinstance(codec.get("pretrained"), str)
    return bool(codec) and (manifest.release_format == "transformers" or not is_public)


def _round_count(count: int) -> str:
    for limit, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if count >= limit:
            return f"{count / unit:.3g} {letter}"
    return f"{count:,}"


def _audio(config: Config) -> Optional[str]:
    rate, channels = count_of(config, "sample_rate"), count_of(config, "channels")
    names = {None: None, 1: "mono", 2: "stereo"}
    return _join(f"{rate / 1000:g} kHz" if rate else None, names.get(channels, f"{channels} channels"))


def _language_model(source: CardSource) -> Iterator[Row]:
    config = source.config
    pattern = value_of(config, "codebooks_pattern.modeling")
    yield "Codes", _join(_count(config, "transformer_lm.n_q", "codebook"),
                         _fill("{:,} entries each", config, "transformer_lm.card"),
                         f"{code(pattern)} pattern" if isinstance(pattern, str) else None)
    yield from _transformer(source)


def _transformer(source: CardSource) -> Iterator[Row]:
    config = source.config
    yield "Transformer", _join(_count(config, "transformer_lm.num_layers", "layer"),
                               _count(config, "transformer_lm.num_heads", "head"),
                               _fill("dimension {:,}", config, "transformer_lm.dim"))
    yield "Conditioning", ", ".join(_conditions(config)) or "none"
    seconds = value_of(config, "dataset.segment_duration")
    yield "Trained on", f"segments of {number(seconds)} s" if is_number(seconds) else None
    yield "Compression model", _released_codec(source.manifest)


def _conditions(config: Config) -> Iterator[str]:
    for name, conditioner in list(conditioners_of(config).items())[:MAX_CONDITIONS]:
        model = conditioner.get("model")
        encoder = f" ({code(_encoder_name(conditioner, model))})" if isinstance(model, str) else ""
        yield f"{code(name)}{encoder}"


def _encoder_name(conditioner: Mapping[str, Any], model: str) -> str:
    """Return the public name of the model that encodes a condition, or its type if it is a path (may be private)."""
    settings = conditioner.get(model)
    name = settings.get("name") if isinstance(settings, dict) else None
    return name if isinstance(name, str) and name[:1].isalnum() and name.count("/") < 2 else model


def _released_codec(manifest: Manifest) -> str:
    """Describe the compression model of the release."""
    origin = manifest.codec or {}
    if not _has_codec(manifest):
        return f"{code(origin['pretrained'])}, which AudioCraft downloads" if origin else "not included"
    public, sig = origin.get("pretrained"), origin.get("sig")
    name = code(public) if public else f"experiment {code(sig)}" if sig else ""
    return f"{name}, included" if name else "included"


def _compression(source: CardSource) -> Iterator[Row]:
    config = source.config
    yield "Codes", _join(_count(config, "rvq.n_q", "codebook"), _fill("{:,} entries each", config, "rvq.bins"),
                         *_rates(config))
    sizes = _join(_count(config, "seanet.n_filters", "filter"), _fill("dimension {:,}", config, "seanet.dimension"))
    causal = "causal" if value_of(config, "encodec.causal") is True else "not causal"
    yield "Encoder and decoder", f"{sizes}, {causal}" if sizes else None


def _rates(config: Config) -> Iterator[str]:
    """Describe the frame rate and the bit rate of a codec."""
    books, entries, rate = count_of(config, "rvq.n_q"), count_of(config, "rvq.bins"), frame_rate_of(config)
    if rate:
        yield f"{number(rate)} Hz"
        if books and entries and entries > 1:
            yield f"{number(books * math.log2(entries) * rate / 1000)} kbit/s"


def _diffusion(source: CardSource) -> Iterator[Row]:
    config, codec = source.config, public_codec(source.config)
    yield "Bands", str(len(source.manifest.bands or ()) or 1)
    yield "Diffusion", _join(_count(config, "schedule.num_steps", "step"),
                             _fill("{:,} channels", config, "diffusion_unet.hidden"))
    yield "Compression model", _join(code(codec) if codec else "the one used in training",
                                     _count(config, "n_q", "codebook"))


def _watermark(source: CardSource) -> Iterator[Row]:
    yield "Message", _count(source.config, "audioseal.nbits", "bit")


def _count(config: Config, key: str, noun: str) -> Optional[str]:
    value = count_of(config, key)
    return amount(value, noun) if value else None


def _fill(template: str, config: Config, key: str) -> Optional[str]:
    """Insert a count from the configuration into a template; None if the count is unknown."""
    value = count_of(config, key)
    return template.format(value) if value else None


def _join(*texts: Optional[str]) -> Optional[str]:
    return ", ".join(filter(None, texts)) or None


ROWS: Mapping[str, Callable[[CardSource], Iterator[Row]]] = {
    "MusicGen": _language_model, "AudioGen": _language_model, "MAGNeT": _language_model, "JASCO": _transformer,
    "EnCodec": _compression, "MultiBand Diffusion": _diffusion, "AudioSeal": _watermark,
}
