"""An export does not release again what an earlier one removed, unless forced."""

import os

import pytest
from helpers import SIG, command, with_cfg
from hooks.solvers import Inherited, xp_of

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.pipeline.previous_scrub import keep_scrub, with_previous_scrub


@pytest.mark.parametrize(("previous", "scrub", "is_refused"), [
    (["public"], None, True), (["public"], ["optim"], True), (["optim", "user"], ["optim"], True),
    (["wandb"], ["public"], False), (["optim"], ["user", "optim"], False), (None, None, False)], ids=str)
def test_an_export_with_fewer_patterns_is_refused(make_xp, dora_dir, previous, scrub, is_refused):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir, ExportOptions(scrub=previous))
    before = (folder / "export.json").read_bytes()
    if is_refused:
        with pytest.raises(ExportError, match="would release what was removed there. Add --scrub ") as error:
            export_xp(SIG, dora_dir, ExportOptions(scrub=scrub))
        assert error.value.code == "scrub-dropped" and (folder / "export.json").read_bytes() == before
        assert {*previous} <= {*with_previous_scrub(folder, ExportOptions(scrub=scrub)).patterns}
    else:
        export_xp(SIG, dora_dir, ExportOptions(scrub=scrub))
    forced = export_xp(SIG, dora_dir, ExportOptions(scrub=scrub, force=True))
    assert [*forced.manifest.options.get("scrub", [])] == (scrub or [])


def test_a_dry_run_refuses_it_too(make_xp, dora_dir, tmp_path):
    make_xp()
    export_xp(SIG, dora_dir, ExportOptions(scrub=["optim"]))
    for flags in ([], ["--dry-run"]):
        result = command("run", SIG, *flags, cwd=tmp_path)
        assert result.returncode == 1 and "error[scrub-dropped]: " in result.stderr
        assert "  hint: add --scrub optim (exporter.scrub), or replace the release with force=true (--force)" in \
            result.stderr
    assert command("run", SIG, "--scrub", "optim", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("text", [
    "{", "[]", '{"options": 3}', '{"options": {"scrub": 3}}', '{"options": {"scrub": [1]}}'])
def test_a_damaged_manifest_without_patterns_is_no_obstacle(tmp_path, text, caplog):
    (tmp_path / "export.json").write_text(text)
    assert keep_scrub(tmp_path, ExportOptions()) == ExportOptions() and not caplog.text


@pytest.mark.parametrize("damage", [
    lambda path: os.truncate(path, 900), lambda path: os.truncate(path, 0), os.unlink], ids=["cut", "empty", "missing"])
@pytest.mark.parametrize("release_format", ["audiocraft", "safetensors"])
def test_what_was_removed_does_not_return_if_the_manifest_is_damaged(make_xp, dora_dir, damage, release_format):
    folder = make_xp(**{"xp.cfg": with_cfg(note="SECRET", deep={"note": "SECRET", "kept": 1})}) / "export"
    options = ExportOptions(format=release_format, scrub=["note", "deep.note"])
    export_xp(SIG, dora_dir, options)
    damage(folder / "export.json")
    with pytest.raises(ExportError) as error:
        export_xp(SIG, dora_dir, options.replace(scrub=None))
    if damage is os.unlink and release_format == "safetensors":
        assert error.value.code == "file-exists"
    else:
        assert error.value.code == "scrub-dropped" and "add --scrub note --scrub deep.note" in str(error.value).lower()
        assert "replaced a damaged release" in str(export_xp(SIG, dora_dir, options))
    assert not any(b"SECRET" in path.read_bytes() for path in folder.iterdir())


def test_the_export_of_a_solver_keeps_the_patterns_with_a_warning(tmp_path, caplog):
    with xp_of(tmp_path).enter():
        solver = Inherited()
        solver.run()
        solver.export(scrub=["optim"])
        assert [*solver.export().manifest.options["scrub"]] == ["optim"] and "warning[scrub-kept]: " in caplog.text
        assert "scrub" not in solver.export(force=True).manifest.options
