"""What a card says of each type of models."""

import re

from audiocraft_export.release.families.registry import FAMILIES
from audiocraft_export.sharing.card.model_types import GENERAL, MODEL_TYPES


def test_every_solver_of_audiocraft_has_a_type_with_what_the_hub_asks_for():
    assert MODEL_TYPES.keys() == FAMILIES.keys()
    for kind in MODEL_TYPES.values():
        assert kind.task and kind.tags[0] == "audiocraft" and re.fullmatch(r"\d{4}\.\d{5}", kind.paper)
        assert kind.summary.endswith(".") and kind.name != GENERAL.name
    assert "audiocraft" not in GENERAL.tags and GENERAL.paper is GENERAL.task is None
