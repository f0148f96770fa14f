"""Verify a release that is replaced at the same time."""

import shutil

from helpers import SIG, model_state
from signing.signers import write_keys

from audiocraft_export import export_xp, verify
from audiocraft_export.verification import file
from audiocraft_export.verification import release as verification


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


def test_a_signed_manifest_that_arrives_last_does_not_vouch_for_other_weights(make_xp, dora_dir, tmp_path, monkeypatch):
    private, public = write_keys(tmp_path / "keys")
    make_xp()
    signed = export_xp(SIG, dora_dir, sign=private, folder=tmp_path / "signed").folder
    other = export_xp(SIG, dora_dir, weights="last", folder=tmp_path / "other").folder
    check = verification._check_signature

    def check_late(found, key):
        for name in ("export.json", "model.sig"):
            shutil.copy(signed / name, other)
        return check(found, key)
    monkeypatch.setattr(verification, "_check_signature", check_late)
    assert not verify(other, key=public).ok and verify(signed, key=public).signed
