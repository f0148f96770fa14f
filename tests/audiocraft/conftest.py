"""What the tests on real AudioCraft share: its environment, its music, and trainings through the real `dora`."""

import pytest
import torch
from place import IS_MAIN, Place

collect_ignore = [] if IS_MAIN else ["test_git_main.py"]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"))


def stored(xp_folder):
    """The training checkpoint, as AudioCraft reads it."""
    return torch.load(xp_folder / "checkpoint.th", "cpu", weights_only=False)


def load(path):
    """What torch loads, with nothing allowed but tensors and plain data."""
    return torch.load(path, "cpu", weights_only=True)


def same(left, right):
    """Same names in the same order, same dtypes, same bits."""
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left)


def as_audiocraft(function, source, folder):
    """What a function of audiocraft.utils.export makes; it is given what torch >= 2.6 refuses it."""
    from audiocraft.utils import export
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        getattr(export, function)(source, folder / "theirs.bin")
    return load(folder / "theirs.bin")
