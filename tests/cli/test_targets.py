"""The Dora folder and the experiments that a command line names."""

import pytest

from audiocraft_export import export_xp

from .commands import command


def test_no_dora_folder_is_one_sentence(tmp_path):
    assert "is no Dora folder" in command("list", cwd=tmp_path, code=1).stderr
    wrong = command("list", "--elsewhere", cwd=tmp_path, code=2).stderr
    assert "--elsewhere is no option of list: use --dora-dir" in wrong


@pytest.mark.parametrize(("target", "says"), [
    ("outputs", "this is a Dora folder"), ("outputs/xps/11111111/export", "this is a release"),
    ("outputs/xps/33333333", "a link to nothing")])
def test_a_folder_that_is_no_experiment_is_said_to_be_what_it_is(train, tmp_path, dora_dir, target, says):
    train("11111111", [])
    export_xp("11111111", dora_dir)
    (dora_dir / "xps" / "33333333").mkdir()
    (dora_dir / "xps" / "33333333" / "checkpoint.th").symlink_to("nowhere")
    assert says in command("run", target, cwd=tmp_path, code=1).stderr
