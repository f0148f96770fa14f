"""A release to verify."""

import pytest
from helpers import SIG, model_state, with_cfg

from audiocraft_export import ExportOptions, export_xp

CODEC = "c0dec000"


@pytest.fixture
def release(make_xp, dora_dir):
    """A language model with its compression model."""
    make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")},
            best_state={"model": model_state(6)})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")})
    return export_xp(SIG, dora_dir, ExportOptions(version="1.3.0")).folder
