"""Writing a release: its folder, and what was there before."""

import os

from helpers import SIG, load, model_state, same

from audiocraft_export import ExportOptions, export_checkpoint, export_xp


def test_a_release_folder_has_one_name_only(make_xp, tmp_path):
    make_xp()
    first = export_checkpoint(make_xp() / "checkpoint.th", tmp_path / "new" / ".." / "out")
    assert first.files[0].is_file() and not (tmp_path / "new").exists()
    assert not export_checkpoint(make_xp() / "checkpoint.th", tmp_path / "out").written or first.written


def test_a_release_folder_keeps_its_owner_and_permissions(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    if os.geteuid() == 0:
        os.chown(folder, 1234, 5678)
    folder.chmod(0o2750)
    before = folder.stat()
    export_xp(SIG, dora_dir, ExportOptions(weights="last"))
    after = folder.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


def test_a_release_that_is_a_mere_link_is_replaced_by_files_and_what_it_led_to_stays(make_xp, dora_dir, tmp_path):
    folder = make_xp() / "export"
    report = export_xp(SIG, dora_dir)
    kept = tmp_path / "blob"
    report.files[0].rename(kept)
    report.files[0].symlink_to(kept)
    assert export_xp(SIG, dora_dir, ExportOptions(weights="last")).written
    assert not (folder / "state_dict.bin").is_symlink() and same(load(kept)["best_state"], model_state(3))
