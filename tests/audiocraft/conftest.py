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


def public_release(folder, *xps):
    """The files of a release of some XPs with scrub=[public], in a folder; nothing private is in their texts."""
    from audiocraft_export import diffusion, writer
    from audiocraft_export.checkpoint import open_checkpoint
    from audiocraft_export.codec import find_codec
    from audiocraft_export.exposure import exposed, exposed_in_text
    from audiocraft_export.families import CODEC_FILE, family_of
    from audiocraft_export.model import Model
    models = [Model.of(open_checkpoint(xp / "checkpoint.th"), "1.3.0", scrub=["public"]) for xp in xps]
    config = models[0].checkpoint.config
    files = diffusion.files(*models) if len(models) > 1 else dict(family_of(config).files(models[0]))
    if family_of(config).codec:
        files[CODEC_FILE] = find_codec(config, xps[0], xps[0].parent.parent, "1.3.0", ["public"]).content
    folder.mkdir()
    for name, content in files.items():
        if isinstance(content, str):
            (folder / name).write_text(content)
        else:
            writer.write_single(folder / name, content)
        texts = [content] if isinstance(content, str) else [part["xp.cfg"] for part in (content, *content.values())
                                                            if isinstance(part, dict) and "xp.cfg" in part]
        assert not [exposure for text in texts for exposure in exposed_in_text(name, text)]
    assert exposed(config.values) and not any(exposed(model.config.values) for model in models)
    return folder


def as_audiocraft(function, source, folder):
    """What a function of audiocraft.utils.export makes; it is given what torch >= 2.6 refuses it."""
    from audiocraft.utils import export
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        getattr(export, function)(source, folder / "theirs.bin")
    return load(folder / "theirs.bin")
