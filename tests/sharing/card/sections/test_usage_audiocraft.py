"""The code that loads a release in AudioCraft's format, from the folder or from the Hub."""

import ast

import pytest

from audiocraft_export.sharing.card.sections.usage_audiocraft import audiocraft_snippet
from audiocraft_export.sharing.card.source import CardSource

from ..releases import CONFIGS


@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.parametrize("where", [".", "converted", "../converted", "me/model"])
def test_the_code_of_every_family_names_the_place(release, family, where):
    code = audiocraft_snippet(CardSource(*release(CONFIGS[family])), where)
    ast.parse(code)
    place = "state_dict.bin" if family in ("mine", "nothing") and where == "." else where
    downloads = family in ("mine", "nothing") and where == "me/model"
    assert f'"{place}' in code and ("hf_hub_download" in code) == downloads
