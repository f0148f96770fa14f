"""Permission denied is reported as such, never as a missing, damaged or finished file."""

import os
import subprocess
import sys

import pytest
from cli.commands import command
from helpers import SIG, clean, with_cfg
from schema import check_line

RELEASE = f"outputs/xps/{SIG}/export"
DROPPED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def denied(*argv, cwd):
    """Run the command without root's right to read anything."""
    try:
        return subprocess.run([*DROPPED, sys.executable, "-m", "audiocraft_export", *argv], cwd=cwd, text=True,
                              capture_output=True, env=clean({}))
    except FileNotFoundError:
        pytest.skip("root cannot give up its rights without setpriv")


@pytest.mark.parametrize(("path", "argv"), [
    (f"outputs/xps/{SIG}/checkpoint.th", ["run", SIG]),
    (f"outputs/xps/{SIG}", ["run", f"outputs/xps/{SIG}/checkpoint.th"]),
    ("outputs/xps", ["run", f"outputs/xps/{SIG}"]),
    (f"outputs/xps/{SIG}", ["run", "--all"]),
    (f"outputs/xps/{SIG}", ["verify", RELEASE]),
    (RELEASE, ["verify", RELEASE]),
    (RELEASE, ["verify", SIG]),
    (RELEASE, ["convert", SIG, "--to", "safetensors"]),
    (RELEASE, ["convert", RELEASE, "--to", "safetensors"]),
    (f"{RELEASE}/export.json", ["convert", RELEASE, "--to", "safetensors"]),
    (f"{RELEASE}/state_dict.bin", ["convert", RELEASE, "--to", "safetensors"]),
    (f"{RELEASE}/state_dict.bin", ["inspect", RELEASE])])
def test_permission_denied_is_the_error_and_its_hint(make_xp, tmp_path, path, argv):
    make_xp()
    command("run", SIG, cwd=tmp_path)
    (tmp_path / path).chmod(0)
    failed = denied(*argv, cwd=tmp_path)
    (tmp_path / path).chmod(0o755)
    error, hint = failed.stderr.splitlines()[:2]
    assert failed.returncode == 1 and error.startswith("error[read-failed]: ")
    assert error.endswith(": Permission denied") and "permissions" in hint


@pytest.mark.parametrize("argv", [["run", SIG], ["run", "--all"], ["inspect", SIG], ["run", f"outputs/xps/{SIG}"]])
def test_a_checkpoint_in_a_folder_that_may_not_be_entered_is_not_missing(make_xp, tmp_path, argv):
    folder = make_xp()
    folder.chmod(0o444)
    failed = denied(*argv, cwd=tmp_path)
    folder.chmod(0o755)
    assert failed.returncode == 1 and "error[read-failed]: " in failed.stderr
    assert "checkpoint.th: Permission denied" in failed.stderr and "hint: check " in failed.stderr


@pytest.mark.parametrize("verb", ["run", "inspect", "verify"])
def test_an_experiment_in_a_folder_that_may_not_be_entered_is_not_missing(make_xp, tmp_path, verb):
    make_xp()
    (tmp_path / "outputs" / "xps").chmod(0o444)
    failed = denied(verb, SIG, cwd=tmp_path)
    (tmp_path / "outputs" / "xps").chmod(0o755)
    assert failed.returncode == 1 and f"error[read-failed]: Cannot read outputs/xps/{SIG}: Permission denied" in \
        failed.stderr


def test_a_release_whose_manifest_cannot_be_read_is_replaced_only_by_force(make_xp, tmp_path):
    folder = make_xp(**{"xp.cfg": with_cfg(note="SECRET")}) / "export"
    command("run", SIG, "--scrub", "note", cwd=tmp_path)
    (folder / "export.json").chmod(0)
    for argv in (["run", SIG], ["run", "--all"], ["run", SIG, "--dry-run"]):
        failed = denied(*argv, cwd=tmp_path)
        assert failed.returncode == 1 and "export.json: Permission denied" in failed.stderr
    assert b"SECRET" not in (folder / "state_dict.bin").read_bytes()
    said = denied("run", SIG, "--force", "--dry-run", cwd=tmp_path).stdout
    assert said.strip().endswith("; the existing release is unreadable") and "replacing" not in said
    assert "replaced an unreadable release" in denied("run", SIG, "--force", cwd=tmp_path).stdout


def test_a_release_of_a_checkpoint_that_cannot_be_read_is_not_stale(make_xp, tmp_path):
    folder = make_xp()
    command("run", SIG, cwd=tmp_path)
    os.utime(folder / "checkpoint.th", (1, 1))
    (folder / "checkpoint.th").chmod(0)
    row = check_line("list", denied("list", "--json", cwd=tmp_path).stdout)
    assert row["state"] == "up_to_date" and row["warnings"][0].startswith("unusable-checkpoint: ")


def test_a_file_of_the_same_name_that_cannot_be_read_is_not_replaced(make_xp, tmp_path):
    make_xp()
    argv = ["run", SIG, "--format", "safetensors", "--no-card", "--folder", "release"]
    command(*argv, cwd=tmp_path)
    (tmp_path / "release" / "export.json").unlink()
    (tmp_path / "release" / "config.yaml").chmod(0)
    failed = denied(*argv, cwd=tmp_path)
    assert failed.returncode == 1 and failed.stderr.splitlines()[0].endswith(
        f"error[read-failed]: Cannot read {tmp_path}/release/config.yaml: Permission denied")


@pytest.mark.parametrize("mode", [0o000, 0o200, 0o600])
def test_a_dry_run_fails_as_the_run_on_a_release_folder_that_cannot_be_read(make_xp, tmp_path, mode):
    make_xp()
    command("run", SIG, cwd=tmp_path)
    (tmp_path / RELEASE).chmod(mode)
    failed = [denied("run", SIG, "--weights", "last", *more, cwd=tmp_path) for more in (["--dry-run"], [])]
    (tmp_path / RELEASE).chmod(0o755)
    assert [each.returncode for each in failed] == [1, 1] and failed[0].stderr == failed[1].stderr
    assert f"Cannot write the release to {tmp_path / RELEASE}: Permission denied" in failed[0].stderr


@pytest.mark.parametrize("verb", ["verify", "inspect"])
def test_a_manifest_that_cannot_be_read_is_not_an_invalid_one(make_xp, tmp_path, verb):
    make_xp()
    command("run", SIG, cwd=tmp_path)
    (tmp_path / RELEASE / "export.json").chmod(0)
    said = denied(verb, RELEASE, cwd=tmp_path).stdout
    assert "annot read" in said and ": Permission denied" in said
    assert "invalid" not in said and "changed" not in said


@pytest.mark.parametrize("folder", [".", "grids"])
def test_a_grid_that_cannot_be_read_is_not_missing(tmp_path, folder):
    (tmp_path / "outputs" / "xps").mkdir(parents=True)
    (tmp_path / "outputs" / "grids" / "sweep").mkdir(parents=True)
    (tmp_path / "outputs" / folder).chmod(0)
    failed = denied("run", "--grid", "sweep", cwd=tmp_path)
    (tmp_path / "outputs" / folder).chmod(0o755)
    assert failed.stderr.splitlines() == ["error[read-failed]: Cannot read outputs/grids: Permission denied",
                                          "  hint: check its permissions"]


def test_verify_names_a_file_that_cannot_be_read_once(make_xp, tmp_path):
    make_xp()
    command("run", SIG, cwd=tmp_path)
    (tmp_path / RELEASE / "state_dict.bin").chmod(0)
    said = denied("verify", RELEASE, cwd=tmp_path).stdout.splitlines()[0]
    assert said == f"{RELEASE}/state_dict.bin: cannot read it: Permission denied"


@pytest.mark.parametrize(("path", "state", "code"), [
    (f"outputs/xps/{SIG}", None, "unreadable-experiment"), (RELEASE, None, "unreadable-experiment"),
    (f"{RELEASE}/export.json", None, "unreadable-experiment"),
    (f"outputs/xps/{SIG}/history.json", "up_to_date", "unreadable-experiment"),
    (f"outputs/xps/{SIG}/checkpoint.th", "up_to_date", "unusable-checkpoint")])
def test_an_experiment_that_cannot_be_read_is_listed_and_marked(make_xp, tmp_path, path, state, code):
    (make_xp() / "history.json").write_text("[]")
    command("run", SIG, cwd=tmp_path)
    (tmp_path / path).chmod(0)
    row = check_line("list", denied("list", "--json", cwd=tmp_path).stdout)
    table = denied("list", cwd=tmp_path)
    (tmp_path / path).chmod(0o755)
    assert (row["sig"], row["state"]) == (SIG, state) and row["warnings"][0].startswith(f"{code}: ")
    assert SIG in table.stdout and ("unreadable" in table.stdout) == (state is None) and "damaged" not in table.stdout
    assert f"warning[{code}]: {SIG}: cannot read " in table.stderr and "permission denied" in table.stderr
