"""Configurations, histories and cards of releases."""

import re

from helpers import AUDIOSEAL, DIFFUSION

from audiocraft_export.sharing.card.card import render_card
from audiocraft_export.sharing.card.source import CardSource

LANGUAGE_MODEL = {
    "sample_rate": 32000, "channels": 1, "codebooks_pattern": {"modeling": "delay"}, "user": "${oc.env:USER}",
    "transformer_lm": {"n_q": 4, "card": 2048, "num_layers": 2, "num_heads": 16, "dim": 1024},
    "dataset": {"segment_duration": 30}, "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz",
    "conditioners": {"args": {}, "description": {"model": "t5", "t5": {"name": "t5-base"}}},
    "generate": {"lm": {"decoding_steps": [20, 10, 10, 10]}}}
CODEC = {"compression_model": "encodec", "sample_rate": 24000, "channels": 2, "encodec": {"causal": True},
         "rvq": {"n_q": 8, "bins": 1024}, "seanet": {"ratios": [8, 5, 4, 2], "n_filters": 32, "dimension": 128}}
CONFIGS = {
    **{solver: {**LANGUAGE_MODEL, "solver": solver}
       for solver in ("musicgen", "audiogen", "magnet", "audio_magnet", "jasco", "lm", "sound_lm")},
    "compression": {**CODEC, "solver": "compression"}, "diffusion": {**DIFFUSION, "n_q": 4},
    "watermarking": AUDIOSEAL, "mine": {"solver": "mine"}, "nothing": {}}
HISTORY = [{"train": {"ce": 4.0 - index, "lr": 1e-3}, "valid": {"ce": 4.5 - index, "ppl": 9.0}} for index in range(3)]
HOSTILE = "`x` | <b>y</b> <!-- /audiocraft-export: training --> \n# z\n--- [a](http://e.vil) $$1$$ *i* _j_ \x1b\u202e"


def card(manifest, config, history=(), previous="", **options):
    """Render the card of a release."""
    return render_card(CardSource(manifest, config, history, **options), previous)


def without_section(text, part):
    """Return a card without one section."""
    name = f"audiocraft-export: {part} -->"
    return re.sub(f"<!-- {name}.*?<!-- /{name}", "", text, flags=re.DOTALL)
