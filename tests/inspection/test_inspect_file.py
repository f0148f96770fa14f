"""Summarize single files, and experiments without a checkpoint."""

import pytest
from helpers import SIG, command, last_sentence

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.inspection.inspect_file import inspect_file, lacks_checkpoint, release_files


def test_the_digest_of_a_checkpoint_and_of_its_release_are_equal(make_xp, dora_dir):
    folder = make_xp()
    planned = inspect_file(folder / "checkpoint.th", digest=True).content_digest
    for format in ("audiocraft", "safetensors"):
        released = export_xp(SIG, dora_dir, ExportOptions(format=format)).folder
        assert [inspect_file(path, digest=True).content_digest for path in release_files(released)] == [planned]


@pytest.mark.parametrize("named", ["", "export.json"])
@pytest.mark.parametrize("verb", [["inspect"], ["compare", "0123abcd"]])
def test_a_release_whose_files_only_its_damaged_manifest_could_name_is_refused(make_xp, dora_dir, verb, named):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(format="safetensors")).folder
    (folder / "export.json").write_text("{}")
    with pytest.raises(ExportError, match="export.json is not a valid release manifest") as error:
        release_files(folder / named)
    assert error.value.hint == "export again"
    assert "[invalid-manifest]" in last_sentence(command(*verb, folder / named, cwd=dora_dir))


def test_a_checkpoint_is_shown_beside_an_unrelated_manifest(make_xp, dora_dir):
    folder = make_xp(name="checkpoint_2.th")
    (folder / "export.json").write_text("[1]")
    assert release_files(folder) == []
    assert command("inspect", folder, "--checkpoint", "2", cwd=dora_dir).returncode == 0


def test_an_experiment_lacks_a_checkpoint_if_it_has_none_or_only_others_beside_a_release(make_xp, dora_dir):
    folder = make_xp()
    xp = Experiment(folder, SIG)
    make_xp(name="checkpoint_1.th")
    assert not lacks_checkpoint(xp)
    (folder / "checkpoint.th").unlink()
    assert not lacks_checkpoint(xp)  # the error names checkpoint_1.th
    export_xp(SIG, dora_dir, ExportOptions(checkpoint=1))
    assert lacks_checkpoint(xp)
    make_xp()
    assert not lacks_checkpoint(xp)
    for path in folder.glob("*.th"):
        path.unlink()
    assert lacks_checkpoint(xp)
