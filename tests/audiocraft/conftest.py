"""Fixtures for the tests on real AudioCraft: its environment, its music, and trainings by the real `dora`."""

import pytest
import recipes
import torch
import transformers
from place import IS_MAIN, Place
from snippets import snippet_of

FOR_TRANSFORMERS = ["test_cards.py", *(f"test_transformers{part}.py" for part in ("", "_codec", "_training"))]
IS_OLD = transformers.__version__ < "4.57"  # AudioCraft pins an older version than the transformers format requires
collect_ignore = [*([] if IS_MAIN else ["test_git_main.py"]), *(FOR_TRANSFORMERS if IS_OLD else [])]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="session")
def encodec(place):
    return place.train(recipes.ENCODEC, "export=true", "exporter.verify=load", "exporter.card=true")


def stored(xp_folder):
    """Load the training checkpoint as AudioCraft does."""
    return torch.load(xp_folder / "checkpoint.th", "cpu", weights_only=False)


def load(path):
    """Load a file with torch, allowing only tensors and plain data."""
    return torch.load(path, "cpu", weights_only=True)


def same(left, right):
    """Return whether two state dicts have equal names in the same order, equal dtypes and equal bits."""
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name]) for name in left)


def public_release(folder, *xps):
    """Release some XPs with scrub=public, and check that the texts of the release have no private values."""
    from experiment.privacy.text import exposed_in_text

    from audiocraft_export import ExportOptions, export_checkpoint
    from audiocraft_export.checkpoint.checkpoint import open_checkpoint
    from audiocraft_export.experiment.privacy.exposure import find_private_values
    from audiocraft_export.pipeline.export import export_bands
    options = ExportOptions(scrub="public")
    checkpoints = [open_checkpoint(xp / "checkpoint.th") for xp in xps]
    if len(xps) > 1:
        export_bands(checkpoints, folder, options)
    else:
        export_checkpoint(xps[0] / "checkpoint.th", folder, options)
    assert all(find_private_values(checkpoint.config.values) for checkpoint in checkpoints)
    for path in folder.iterdir():
        content = path.read_text() if path.suffix in (".yaml", ".json") else load(path)
        texts = [content] if isinstance(content, str) else [part["xp.cfg"] for part in (content, *content.values())
                                                            if isinstance(part, dict) and "xp.cfg" in part]
        assert not [exposure for text in texts for exposure in exposed_in_text(path.name, text)]
    return folder


def heard(folder):
    """Run the code of a model card unchanged in the release folder, and return what it makes."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(snippet_of((folder / "README.md").read_text()), names)
    return names


def as_audiocraft(function, source, folder):
    """Return the output of a function of audiocraft.utils.export, with `weights_only=False` for torch >= 2.6."""
    from audiocraft.utils import export
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        getattr(export, function)(source, folder / "theirs.bin")
    return load(folder / "theirs.bin")
