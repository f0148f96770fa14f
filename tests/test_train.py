"""AudioCraft's own main under `with_export`."""

import pytest
from helpers import dora, last_sentence, started


@pytest.mark.parametrize(("code", "says"), [
    (None, "ModuleNotFoundError: No module named 'audiocraft'"),
    ("import julius_that_is_not_there", "ModuleNotFoundError: No module named 'julius_that_is_not_there'"),
    ("raise FileNotFoundError('config/teams/default.yaml')", "FileNotFoundError: config/teams/default.yaml")])
def test_without_audiocraft_its_wrapped_main_gives_a_hint(tmp_path, code, says):
    if code:
        (tmp_path / "audiocraft").mkdir()
        (tmp_path / "audiocraft" / "__init__.py").touch()
        (tmp_path / "audiocraft" / "train.py").write_text(code)
    result = dora("run", cwd=tmp_path, package="audiocraft_export")
    assert f"error[package-import-failed]: Cannot import AudioCraft: {says}" in last_sentence(result)
    assert "hint: run this in the folder of a clone of AudioCraft" in last_sentence(result)
    asked = started("audiocraft_export", "run", "0123", "-P", "audiocraft_export", cwd=tmp_path)
    assert says in last_sentence(asked)
