"""Hostile names of XP folders, Dora folders, release folders, targets, and checkpoint files."""

import json
import os
import shutil

import pytest
import torch
from helpers import SIG, command, dora, model_state, solver_state, started

from audiocraft_export import (
    ExportError,
    ExportOptions,
    export_xp,
)

from .names import CONTROL, NAMES, PATHS, is_clean, label, lines, released, tree, with_hints


@pytest.mark.parametrize("name", NAMES, ids=label)
def test_an_xp_folder_may_have_any_name(xp_at, tmp_path, run, name):
    xp = xp_at(tmp_path / "here" / name)
    before = tree(tmp_path)
    code, out, err = run(xp)
    assert (code, len(out), err) == (0, 1, []) and released(xp / "export")
    shutil.rmtree(xp / "export")
    code, out, err = run("--json", "--", name)
    assert code in (0, 1, 2) and len(out) == (code != 2) and len(err) == (code != 0)
    assert code or released(xp / "export")
    shutil.rmtree(xp / "export", ignore_errors=True)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", NAMES, ids=label)
def test_a_dora_folder_and_a_release_folder_may_have_any_name(xp_at, tmp_path, run, name):
    home = tmp_path / "here" / name
    xp_at(home / "xps" / SIG)
    relative = f"./{name}" if name in ("--", "~") else name
    assert run(SIG, f"--dora-dir={relative}")[0] == 0 and released(home / "xps" / SIG / "export")
    assert run(SIG, f"--dora-dir={home}", f"--folder=out {name}")[0] == 0
    assert released(tmp_path / "here" / f"out {name}") and len(list((tmp_path / "here").iterdir())) == 2
    assert export_xp(SIG, home, ExportOptions(folder=f"{name}/again")).written and released(home / "again")


@pytest.mark.parametrize("name", [*NAMES, *PATHS], ids=label)
def test_a_missing_target_is_reported_in_one_clean_line(make_xp, dora_dir, tmp_path, run, name):
    make_xp()
    before = tree(tmp_path)
    for home in (dora_dir, tmp_path / name.replace("\0", "") / "none"):
        code, out, err = run(f"--dora-dir={home}", "--", name)
        assert code in (1, 2) and out == [] and len(err) == 1
    code, out, err = run(f"--dora-dir={dora_dir}", "--json", "--", name, SIG)
    assert code == 2 or [set(json.loads(line)) >= {"target", "error"} for line in out] == [True, False]
    with pytest.raises(ExportError) as error:
        export_xp(name, dora_dir)
    assert is_clean(str(error.value))
    assert set(before) <= set(tree(tmp_path)) and {path: tree(tmp_path)[path] for path in before} == before


@pytest.mark.parametrize("name", [*NAMES, *PATHS[:4], "../../victim"], ids=label)
def test_a_checkpoint_by_any_name_is_one_of_the_xp_or_refused(make_xp, dora_dir, tmp_path, run, name):
    decoy = tmp_path / "checkpoint_.th"
    torch.save(solver_state(best_state={"model": model_state(66)}), decoy)
    (make_xp() / "checkpoint_").mkdir()
    shutil.copy(decoy, dora_dir / "xps" / "x.th")
    folder = dora_dir / "xps" / SIG
    code, out, err = run(SIG, f"--dora-dir={dora_dir}", f"--checkpoint={name}")
    assert code in (1, 2) and out == [] and len(err) == 1 and not (folder / "export").exists()
    if "/" in name or "\\" in name:
        assert code == 2
        return
    (folder / "checkpoint.th").rename(folder / f"checkpoint_{name}.th")
    code, out, err = run(SIG, f"--dora-dir={dora_dir}", "--checkpoint=other")
    assert code == 1 and len(err) == 1
    if "\n" in name or name == "--":  # not a valid checkpoint name; not a valid value for argparse
        return
    assert run(SIG, f"--dora-dir={dora_dir}", f"--checkpoint={name}")[0] == 0 and released(folder / "export")


def test_all_names_at_once_are_listed_in_one_clean_line(make_xp, dora_dir, run):
    for name in NAMES[:-1]:
        (dora_dir / "xps" / name).mkdir(parents=True)
        (make_xp() / f"checkpoint_{name}.th").touch()
    for target in ("nothing", "two", "new\nlin", "\x1b", "-"):
        code, out, err = run(f"--dora-dir={dora_dir}", "--", target)
        assert code in (1, 2) and out == [] and len(err) == 1
    code, out, err = run(SIG, f"--dora-dir={dora_dir}", "--checkpoint=other")
    assert code == 1 and out == [] and len(err) == 1


@pytest.mark.parametrize("args", [["--bogus\n\x1b[2J"], ["--weights=a\n\x1b[2J"], ["--dtype=\x1b[2J"], ["--jobs=1\n"],
                                  ["--codec", CONTROL], ["--version=" + CONTROL], ["--verify=" + CONTROL],
                                  ["--package=" + CONTROL], ["--package=os;x\n"]])
def test_options_with_control_characters_are_one_clean_line(make_xp, dora_dir, run, args):
    make_xp()
    where = [] if "--package" in args[0] else [f"--dora-dir={dora_dir}"]
    code, out, err = run(SIG, *where, *args)
    assert len(err) + len(out) == 1 and code in (0, 1, 2)


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff \n\x1b[2J ' \xc3\xa9"), "-x y'\"\n"])
def test_the_command_works_at_any_place_as_a_process_of_its_own(xp_at, tmp_path, name):
    home = tmp_path / "here" / name
    xp_at(home / "xps" / SIG)
    for args in ([f"{home}/xps/{SIG}"], [SIG, f"--dora-dir={name}", "--json"], [SIG, "--dora-dir=xps"]):
        shutil.rmtree(home / "xps" / SIG / "export", ignore_errors=True)
        where = home if args[-1] == "--dora-dir=xps" else tmp_path / "here"
        result = command("run", *args, cwd=where, LC_ALL="C", PYTHONUTF8="0")
        said = [*lines(result.stdout), *with_hints(lines(result.stderr))]
        assert len(said) == 1 and is_clean(said[0]) and "Traceback" not in said[0], said
        assert result.returncode == ("--dora-dir=xps" in args) and released(home / "xps" / SIG / "export") != bool(
            result.returncode)


@pytest.mark.parametrize("folder", ["two words é日本", "x" * 200, "new\nline"],
                         ids=label)
def test_dora_runs_with_its_folder_at_any_place_that_is_one_without_us(project, tmp_path, folder):
    root = project(root=tmp_path / "at é", dora_dir=json.dumps(folder))
    result = dora("run", "export=true", cwd=root)
    if result.returncode:  # not possible in the grammar of Hydra
        shutil.rmtree(root)
        theirs = dora("run", cwd=project(root=tmp_path / "at é", dora_dir=json.dumps(folder), wrapped=False))
        assert theirs.returncode and lines(theirs.stderr)[-1] == lines(result.stderr)[-1]
        return
    (xp,) = (root / folder / "xps").iterdir()
    assert (xp / "export" / "state_dict.bin").exists()
    shutil.rmtree(xp / "export")
    result = started("audiocraft_export", "run", xp.name, "-P", "proj", cwd=root)
    assert result.returncode == 0 and len(lines(result.stdout)) == 1, result.stderr


def test_experiments_of_one_name_or_one_that_leads_out_do_not_share_a_folder(xp_at, tmp_path, run):
    for place in ("a/x", "b/x", "b/.."):
        (tmp_path / "here" / place).mkdir(parents=True, exist_ok=True)
    for place in ("a/x/1", "b/x/1"):
        xp_at(tmp_path / "here" / place)
    code, out, err = run("a/x/1", "b/x/1", "--folder=out")
    assert code == 2 and any("would be exported to the same folder" in line for line in err)
    run("a/x/1/..", "b/x/../x/1", ".", "..", "/", "--folder=out2")
    assert {path.name for path in (tmp_path / "here" / "out2").iterdir()} <= {"1"}
