"""What a model is, from the configuration that it was trained with: the part `model` of a card."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Callable, Optional

from ....errors import readable_size
from ....experiment.config import Config
from ....release.families.registry import CODEC_FILE
from ....release.manifest import Manifest
from ....release.metrics import is_number
from ..config_values import conditions_of, count_of, frame_rate_of, public_codec, value_of
from ..markdown import amount, code, number, table
from ..model_types import kind_of

MOST_CONDITIONS = 12
Row = tuple[str, Optional[str]]


def model_part(manifest: Manifest, config: Config, stated: bool) -> str:
    """What the model is.

    Args:
        manifest: of the release.
        config: `xp.cfg` as it is released.
        stated: whether a license is stated.
    """
    kind = kind_of(manifest)
    paper = f" See [the paper](https://arxiv.org/abs/{kind.paper})." if kind.paper else ""
    rows = [(label, value) for label, value in _rows(manifest, config) if value]
    text = f"{kind.does}{paper}\n\n{table(('', ''), rows)}"
    return text if stated else f"{text}\n\nNo license is stated: who publishes this model adds `license:` to the top " \
        "of this file."


def _rows(manifest: Manifest, config: Config) -> Iterator[Row]:
    yield "Size", _size(manifest)
    yield "Audio", _audio(config)
    rows = ROWS.get(kind_of(manifest).name)
    yield from rows(manifest, config) if rows else ()


def _size(manifest: Manifest) -> str:
    dtypes = ", ".join(code(name) for name in manifest.dtypes)
    size = readable_size(sum(file.bytes for file in manifest.files))
    return f"{_rounded(manifest.parameters)} parameters, {size}" + (f" ({dtypes})" if dtypes else "")


def _rounded(count: int) -> str:
    for limit, letter in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if count >= limit:
            return f"{count / (limit if limit > 1e4 else 1e3):.3g}{letter}"
    return f"{count:,}"


def _audio(config: Config) -> Optional[str]:
    rate, channels = count_of(config, "sample_rate"), count_of(config, "channels")
    names = {None: None, 1: "mono", 2: "stereo"}
    return _joined(rate and f"{rate / 1000:g} kHz", names.get(channels, f"{channels} channels"))


def _language_model(manifest: Manifest, config: Config) -> Iterator[Row]:
    books, entries = count_of(config, "transformer_lm.n_q"), count_of(config, "transformer_lm.card")
    pattern = value_of(config, "codebooks_pattern.modeling")
    yield "Codes", _joined(books and amount(books, "codebook", "codebooks"), entries and f"{entries:,} entries each",
                           f"{code(pattern)} pattern" if isinstance(pattern, str) else None)
    yield from _transformer(manifest, config)


def _transformer(manifest: Manifest, config: Config) -> Iterator[Row]:
    layers, heads, dim = (count_of(config, f"transformer_lm.{name}") for name in ("num_layers", "num_heads", "dim"))
    yield "Transformer", _joined(layers and amount(layers, "layer", "layers"), heads and amount(heads, "head", "heads"),
                                 dim and f"dimension {dim:,}")
    yield "Conditioning", ", ".join(_conditions(config)) or "none"
    seconds = value_of(config, "dataset.segment_duration")
    yield "Trained on", f"segments of {number(seconds)} s" if is_number(seconds) else None
    yield "Compression model", _codec_beside(manifest)


def _conditions(config: Config) -> Iterator[str]:
    for name, conditioner in list(conditions_of(config).items())[:MOST_CONDITIONS]:
        model = conditioner.get("model")
        settings = conditioner.get(model) if isinstance(model, str) else None
        source = settings.get("name") if isinstance(settings, dict) else None
        is_public = isinstance(source, str) and source[:1].isalnum() and source.count("/") < 2
        by = f" by {code(source if is_public else model)}" if isinstance(model, str) else ""
        yield f"{code(name)}{by}"


def _codec_beside(manifest: Manifest) -> str:
    origin = manifest.codec or {}
    if not origin:
        return "none in this release"
    if isinstance(origin.get("pretrained"), str):
        return f"{code(origin['pretrained'])}, by its name in {code(CODEC_FILE)}"
    return f"experiment {code(origin['sig'])}, in this release" if origin.get("sig") else "in this release"


def _compression(manifest: Manifest, config: Config) -> Iterator[Row]:
    books, bins, rate = count_of(config, "rvq.n_q"), count_of(config, "rvq.bins"), frame_rate_of(config)
    bits = math.log2(bins) * books * rate / 1000 if bins and books and rate else None
    yield "Codes", _joined(books and amount(books, "codebook", "codebooks"), bins and f"{bins:,} entries each",
                           rate and f"{number(rate)} Hz", bits and f"{number(bits)} kbit/s")
    filters, dim = count_of(config, "seanet.n_filters"), count_of(config, "seanet.dimension")
    causal = "causal" if value_of(config, "encodec.causal") is True else "not causal"
    yield "Encoder and decoder", _joined(filters and amount(filters, "filter", "filters"),
                                         dim and f"dimension {dim:,}", (filters or dim) and causal)


def _diffusion(manifest: Manifest, config: Config) -> Iterator[Row]:
    steps, hidden = count_of(config, "schedule.num_steps"), count_of(config, "diffusion_unet.hidden")
    yield "Bands", str(len(manifest.bands) if manifest.bands else 1)
    yield "Diffusion", _joined(steps and amount(steps, "step", "steps"), hidden and f"{hidden:,} channels")
    books, codec = count_of(config, "n_q"), public_codec(config)
    yield "Compression model", _joined(code(codec) if codec else "that of its training",
                                       books and amount(books, "codebook", "codebooks"))


def _watermark(manifest: Manifest, config: Config) -> Iterator[Row]:
    bits = count_of(config, "audioseal.nbits")
    yield "Message", _joined(bits and amount(bits, "bit", "bits"))


def _joined(*texts: object) -> Optional[str]:
    return ", ".join(str(text) for text in texts if text) or None


ROWS: Mapping[str, Callable[[Manifest, Config], Iterator[Row]]] = {
    "MusicGen": _language_model, "AudioGen": _language_model, "MAGNeT": _language_model, "JASCO": _transformer,
    "EnCodec": _compression, "MultiBand Diffusion": _diffusion, "AudioSeal": _watermark,
}
