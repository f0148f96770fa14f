"""Verify a release that is replaced at the same time."""

from helpers import model_state

from audiocraft_export import export_xp, verify
from audiocraft_export.verification import file


def test_a_release_that_is_replaced_while_it_is_verified_is_not_damaged(make_xp, dora_dir, tmp_path, monkeypatch):
    folder = make_xp()
    release = export_xp(folder.name, dora_dir).folder
    make_xp(best_state={"model": model_state(9)})
    intact, exports = file.matches_manifest, iter([export_xp])

    def replaced(*args):
        for export in exports:  # only once
            export(folder.name, dora_dir)
        return intact(*args)
    monkeypatch.setattr(file, "matches_manifest", replaced)
    assert verify(release).ok
