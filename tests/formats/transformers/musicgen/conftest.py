"""A language model as it is released."""

import pytest

from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.release.model import ReleaseModel


@pytest.fixture
def model(make_xp):
    def make(state, values, dtype=None):
        folder = make_xp(best_state={"model": state}, **{"xp.cfg": values})
        return ReleaseModel.from_checkpoint(open_checkpoint(folder / "checkpoint.th"), "1.3.0", dtype=dtype)
    return make
