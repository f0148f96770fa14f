"""The drop-ins write to the same path as `open` would."""

import os

import pytest
from helpers import load, model_state, same

from audiocraft_export import ExportError, export_lm
from audiocraft_export.pipeline import drop_ins


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_drop_in_writes_where_opening_the_file_would(make_xp, tmp_path, kind):
    xp, out, real = make_xp(), tmp_path / "out.bin", tmp_path / "real" / "real.bin"
    real.parent.mkdir()
    real.write_text("of before")
    real.chmod(0o640)
    if kind == "file":
        real.rename(out)
    else:
        out.symlink_to(real)
    export_lm(xp / "checkpoint.th", out)
    assert same(load(out)["best_state"], model_state(3)) and out.is_symlink() == (kind == "link")
    assert out.stat().st_mode & 0o777 == 0o640
    assert len([*tmp_path.iterdir(), *real.parent.iterdir()]) == (3 if kind == "file" else 4)


def test_a_drop_in_makes_nothing_behind_a_link_to_nothing(make_xp, tmp_path):
    (tmp_path / "out.bin").symlink_to(tmp_path / "unmounted" / "out.bin")
    with pytest.raises(ExportError, match="is a dangling symlink"):
        export_lm(make_xp() / "checkpoint.th", tmp_path / "out.bin")
    assert not (tmp_path / "unmounted").exists()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_drop_in_refuses_folders_and_pipes(make_xp, tmp_path, make):
    make(tmp_path / "out.bin")
    with pytest.raises(ExportError, match="exists and is not a regular file"):
        export_lm(make_xp() / "checkpoint.th", tmp_path / "out.bin")
    assert {path.name for path in tmp_path.iterdir()} == {"out.bin", "outputs"}


def test_an_invalid_name_of_a_model_writes_nothing(tmp_path):
    for name in ("", "//pretrained/facebook/encodec_32khz"):
        with pytest.raises(ExportError, match="neither the name of a public model nor a path"):
            drop_ins.export_pretrained_compression_model(name, tmp_path / "codec.bin")
    assert not any(tmp_path.iterdir())
