"""The description of each type of model."""

import re
from dataclasses import replace

from audiocraft_export.release.families.registry import FAMILIES
from audiocraft_export.sharing.card.model_types import GENERAL, MODEL_TYPES
from audiocraft_export.sharing.card.source import CardSource


def test_every_solver_of_audiocraft_has_a_type_with_hub_metadata():
    assert MODEL_TYPES.keys() == FAMILIES.keys()
    for kind in MODEL_TYPES.values():
        assert kind.task and kind.tags[0] == "audiocraft" and re.fullmatch(r"\d{4}\.\d{5}", kind.paper)
        assert kind.summary.endswith(".") and kind.name != GENERAL.name
    assert "audiocraft" not in GENERAL.tags and GENERAL.paper is GENERAL.task is None


def test_the_type_follows_the_family_and_not_the_name_of_the_solver(release):
    manifest, config, history = release({"solver": "lm", "model": {"dim": 3}})
    assert CardSource(manifest, config, history).model_type is GENERAL
    manifest, config, history = release({"solver": "mine", "compression_model": "encodec"}, family="compression")
    assert CardSource(manifest, config, history).model_type is MODEL_TYPES["compression"]
    assert CardSource(replace(manifest, family=None, solver="magnet"), config).model_type is MODEL_TYPES["magnet"]
