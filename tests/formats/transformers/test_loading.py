"""Load with transformers and safetensors, and report failures."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers.utils import logging

from audiocraft_export.errors import ReleaseError
from audiocraft_export.formats.transformers.loading import (
    explain_errors,
    hide_progress_bars,
    load_cache_first,
    load_safetensors,
)


def test_a_file_or_its_shards_are_read_and_nothing_else(tmp_path):
    assert load_safetensors(tmp_path) == {}
    for name in ("a", "b", "mine"):
        save_file({name: torch.ones(1)}, tmp_path / f"{name}.safetensors")
    index = {"weight_map": {"a": "a.safetensors", "b": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [*load_safetensors(tmp_path)] == ["a", "b"]
    assert [*load_safetensors(tmp_path, "mine.safetensors")] == ["mine"]


@pytest.mark.parametrize("text", ["{}", '{"weight_map": []}', '{"weight_map": {"a": "missing.safetensors"}}'])
def test_an_index_that_leads_nowhere_is_reported(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ReleaseError, match=r"Cannot read the weights in .*: .*Export again"):
        load_safetensors(tmp_path)


def test_the_hub_is_only_used_if_the_cache_lacks_a_model():
    def load(name, **options):
        asked.append(options)
        if name != "cached" and options:
            raise OSError
        return name

    for name, calls in [("cached", [{"local_files_only": True}]), ("other", [{"local_files_only": True}, {}])]:
        asked = []
        assert load_cache_first(load, name) == name and asked == calls


def test_errors_of_a_library_become_one_line_and_export_errors_are_kept():
    def describe(message):
        return ReleaseError("load-failed", f"<{message}>")

    with pytest.raises(ReleaseError, match=r"^<ValueError: two lines>\.$"), explain_errors(describe):
        raise ValueError("two\nlines")
    with pytest.raises(ReleaseError, match=r"^<KeyError: raise KeyError in .*\.py>\.$"), explain_errors(describe):
        raise KeyError
    with pytest.raises(ReleaseError, match=r"^ours\.$"), explain_errors(describe):
        raise ReleaseError("load-failed", "ours")


def test_progress_bars_are_back_afterwards():
    before = logging.is_progress_bar_enabled()
    with hide_progress_bars():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled() == before
