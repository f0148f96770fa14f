"""Damage in the records of a checkpoint is found in the pass that writes the release."""

import pytest
from helpers import LARGE_STATE, SIG, flip_bit

from audiocraft_export import ExportError, ExportOptions, export_xp


@pytest.mark.parametrize("verify", ["bytes", "none"])
@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}], ids=str)
def test_damage_in_the_checkpoint_is_named_as_that_and_nothing_is_left(make_xp, dora_dir, verify, options):
    folder = make_xp(best_state=LARGE_STATE)
    flip_bit(folder / "checkpoint.th", LARGE_STATE["model"]["w"])
    with pytest.raises(ExportError, match=r"checkpoint.th: record data/\d+ is corrupted"):
        export_xp(SIG, dora_dir, ExportOptions(verify=verify, **options))
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.th"]


def test_damage_that_makes_numbers_too_large_is_named_as_damage(make_xp, dora_dir):
    folder = make_xp(best_state=LARGE_STATE)
    data = bytearray((folder / "checkpoint.th").read_bytes())
    at = bytes(data).index(LARGE_STATE["model"]["w"].numpy().tobytes()[:64])
    data[at + 3] = 0x7E
    (folder / "checkpoint.th").write_bytes(data)
    with pytest.raises(ExportError, match="is corrupted"):
        export_xp(SIG, dora_dir, ExportOptions(dtype="float16"))
