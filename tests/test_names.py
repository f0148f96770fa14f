"""Hostile names, of folders, targets, signatures, solvers, pickles and manifests: they work or are refused."""

import json
import os
import shutil
import sys
import types
import unicodedata
from hashlib import sha256

import pytest
import torch
from helpers import SIG, command, dora, load, model_state, same, solver_state, started, with_cfg
from omegaconf import OmegaConf

import audiocraft_export
from audiocraft_export import (
    ExportError,
    ExportOptions,
    export_checkpoint,
    export_encodec,
    export_lm,
    export_pretrained_compression_model,
    export_xp,
)
from audiocraft_export.cli import main as cli

CODEC = "c0dec000"
CONTROL = "line\nbreak\r\x1b[2J\x1b]0;title\x07\x85\u2028end"
NAMES = ["two words", " outer spaces ", "it's \"quoted\"", "new\nline", CONTROL, "tab\tand\vmore", "é日本🎵",
         "\u202eright", "x" * 200, "$(touch pwned)`touch pwned`;&|", "*?[a-z]{b,c}", "%s %d {} {0}", "~", "#comment",
         "C:\\x\\..", "...", "${oc.env:HOME}", "a=b,c: [d]", "-rf", "--json", "-", "--", os.fsdecode(b"\xff\xfe"),
         os.fsdecode(b"\xff \xc3\xa9\n")]
PATHS = ["../../etc", "..", ".", "/", "//", "a/../..", "\0", "a\0b", f"../xps/{SIG}", f"./{SIG}", f"{SIG}/..",
         "//sig/../.."]
LONGEST = 4096  # characters of one line


def label(value):
    """The id of a test for a hostile value."""
    return ascii(value)[:32]


def is_clean(text):
    """Whether a terminal, and whoever reads a log line by line, take a text for the one line that it is."""
    short = len(text) < LONGEST or text.startswith("{")  # but for JSON
    return short and not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text)


def lines(text):
    return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []


@pytest.fixture
def run(capsys, caplog):
    """Run the command in this process; gives its exit code, and what it said line by line."""
    def run(*args):
        caplog.clear()
        with pytest.raises(SystemExit) as stop:
            cli.main(["run", *map(str, args)])
        out, err = map(lines, capsys.readouterr())
        for line in [*out, *err, *(record.getMessage() for record in caplog.records)]:
            assert is_clean(line), line
        assert not any("unexpected" in line or "Traceback" in line for line in err), err
        return stop.value.code, out, err
    return run


@pytest.fixture(autouse=True)
def nothing_is_written_elsewhere(tmp_path, monkeypatch):
    """Stand in a folder of its own; whatever happens, its neighbour stays as it is."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert victim.read_text() == "mine" and not list(tmp_path.rglob("pwned"))


def tree(folder):
    """All that is in a folder, and how long it has been as it is."""
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}


def released(folder):
    files = {"export.json", "state_dict.bin"}
    return folder.is_dir() and {path.name for path in folder.iterdir()} == files and same(
        load(folder / "state_dict.bin")["best_state"], model_state(3))


@pytest.fixture
def xp_at(make_xp):
    """Put an XP folder at a place."""
    def put(folder, **sections):
        folder.parent.mkdir(parents=True, exist_ok=True)
        return make_xp(**sections).rename(folder)
    return put


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
    relative = f"./{name}" if name == "--" else name
    assert run(SIG, f"--dora-dir={relative}")[0] == 0 and released(home / "xps" / SIG / "export")
    assert run(SIG, f"--dora-dir={home}", f"--folder=out {name}")[0] == 0
    assert released(tmp_path / "here" / f"out {name}") and len(list((tmp_path / "here").iterdir())) == 2
    assert export_xp(SIG, home, ExportOptions(folder=f"{name}/again")).written and released(home / "again")


@pytest.mark.parametrize("name", [*NAMES, *PATHS], ids=label)
def test_a_target_that_is_not_there_is_one_clean_line(make_xp, dora_dir, tmp_path, run, name):
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
    if "\n" in name or name == "--":  # no name of a checkpoint; no value for argparse
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
        said = [*lines(result.stdout), *lines(result.stderr)]
        assert len(said) == 1 and is_clean(said[0]) and "Traceback" not in said[0], said
        assert result.returncode == ("--dora-dir=xps" in args) and released(home / "xps" / SIG / "export") != bool(
            result.returncode)


@pytest.mark.parametrize("folder", ["two words é日本", "x" * 200, "new\nline"],
                         ids=label)
def test_dora_runs_with_its_folder_at_any_place_that_is_one_without_us(project, tmp_path, folder):
    root = project(root=tmp_path / "at é", dora_dir=json.dumps(folder))
    result = dora("run", "export=true", cwd=root)
    if result.returncode:  # Hydra's grammar has no such folder
        shutil.rmtree(root)
        theirs = dora("run", cwd=project(root=tmp_path / "at é", dora_dir=json.dumps(folder), wrapped=False))
        assert theirs.returncode and lines(theirs.stderr)[-1] == lines(result.stderr)[-1]
        return
    (xp,) = (root / folder / "xps").iterdir()
    assert (xp / "export" / "state_dict.bin").exists()
    shutil.rmtree(xp / "export")
    result = started("audiocraft_export", "run", xp.name, "-P", "proj", cwd=root)
    assert result.returncode == 0 and len(lines(result.stdout)) == 1, result.stderr


def stranger(monkeypatch, name, module="evil"):
    """An object whose class has a name that only STACK_GLOBAL can write."""
    kind = type("Kind", (), {"__module__": module, "__qualname__": name})
    monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    setattr(sys.modules[module], name, kind)
    return kind()


@pytest.mark.parametrize("name", [CONTROL, "x" * 10_000, "é\u202e", os.fsdecode(b"\xff"), "%s{}", "${oc:HOME}"],
                         ids=["control", "long", "unicode", "surrogate", "format", "interpolation"])
@pytest.mark.parametrize("where", ["history", "optimizer", "best_state", "xp.cfg", "xp.sig", "key", "codec"])
def test_the_name_of_a_stranger_is_shown_in_one_clean_line(make_xp, dora_dir, run, monkeypatch, name, where):
    value = stranger(monkeypatch, name)
    sections = {
        "history": {"history": [{"valid": value}]}, "optimizer": {"optimizer": value},
        "best_state": {"best_state": {"model": {"w": value}}}, "xp.cfg": {"xp.cfg": {"a": value}},
        "xp.sig": {"xp.sig": value}, "key": {"xp.cfg": {value: 1}}, "codec": {}}[where]
    xp = dora_dir / "xps" / (CODEC if where == "codec" else SIG)
    xp.mkdir(parents=True)
    cfg = {"xp.cfg": with_cfg(solver="compression"), "xp.sig": CODEC, "history": [value]} if where == "codec" else {}
    torch.save(solver_state(**{**sections, **cfg}), xp / "checkpoint.th", pickle_protocol=4)
    if where == "codec":
        make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")})
    for flags in ([], ["--json"]):
        code, out, err = run(SIG, f"--dora-dir={dora_dir}", *flags)
        assert code == (where in ("best_state", "xp.cfg", "xp.sig", "key")) or "\udcff" in name
        assert len(out) == (code == 0 or "--json" in flags) and len(err) <= 2
    for path in dora_dir.rglob("export.json"):
        assert all(map(is_clean, lines(path.read_text().replace("x" * 3000, "")))), path.read_text()


@pytest.mark.parametrize("text", [CONTROL, "\x1b[31mred", "x" * 10_000, "../../etc", "%s", "\u202e", "\ud800", ""],
                         ids=label)
@pytest.mark.parametrize("where", ["solver", "xp.sig", "section", "weight", "key", "codec", "codec key"])
def test_names_in_a_checkpoint_are_shown_in_clean_lines(make_xp, dora_dir, tmp_path, run, where, text):
    bad = torch.device("cpu")  # no plain data
    musicgen = {"solver": "musicgen"}
    folder = make_xp(**{
        "solver": {"xp.cfg": with_cfg(solver=text)}, "xp.sig": {"xp.sig": text},
        "section": {text: 1, "best_state": ...}, "weight": {"best_state": {"model": {text: bad}}},
        "key": {"xp.cfg": {text: bad}},
        "codec": {"xp.cfg": with_cfg(**musicgen, compression_model_checkpoint=text)},
        "codec key": {"xp.cfg": with_cfg(**musicgen, compression_model_checkpoint=f"//sig/{CODEC}")}}[where])
    if where == "codec key":
        make_xp(CODEC, **{"xp.cfg": with_cfg(solver=text)})
    export = [export_lm, export_encodec]
    for flags in ([], ["--json"], ["--weights=last"], ["--weights=ema"], ["--json", "--bands"]):
        code, out, err = run(folder, f"--folder={tmp_path}/here/out", *flags)
        assert code in (0, 1) and len(out) <= 1
    for function in export:
        try:
            function(folder / "checkpoint.th", tmp_path / "here" / "out.bin")
        except ExportError as exc:
            assert is_clean(str(exc))
    for path in tmp_path.rglob("export.json"):
        assert all(is_clean(line.replace("x" * 10_000, "")) for line in lines(path.read_text()))


@pytest.mark.parametrize("sig", ["../../etc", "/etc/passwd", "..", "", "a/b", "a\0b", "//sig/../..", CONTROL],
                         ids=label)
@pytest.mark.parametrize("solver", ["mine", "compression"])
def test_a_signature_in_a_checkpoint_leads_nowhere(make_xp, dora_dir, tmp_path, run, sig, solver):
    path = make_xp(**{"xp.sig": sig, "xp.cfg": with_cfg(solver=solver)}) / "checkpoint.th"
    out = tmp_path / "here" / "out"
    before = tree(tmp_path)
    assert run(path, path.parent, f"--folder={out}", f"--dora-dir={dora_dir}")[0] in (0, 1)
    export_checkpoint(path, out)
    assert all(out in new.parents for new in set(tree(tmp_path)) - set(before))
    assert before.items() <= tree(tmp_path).items()


def test_experiments_of_one_name_or_one_that_leads_out_do_not_share_a_folder(xp_at, tmp_path, run):
    for place in ("a/x", "b/x", "b/.."):
        (tmp_path / "here" / place).mkdir(parents=True, exist_ok=True)
    for place in ("a/x/1", "b/x/1"):
        xp_at(tmp_path / "here" / place)
    code, out, err = run("a/x/1", "b/x/1", "--folder=out")
    assert code == 1 and any("would overwrite" in line for line in err)
    run("a/x/1/..", "b/x/../x/1", ".", "..", "/", "--folder=out2")
    assert {path.name for path in (tmp_path / "here" / "out2").iterdir()} <= {"1"}


@pytest.fixture
def opened():
    """The paths that were opened since."""
    found = []

    def hook(event, args):
        if event == "open" and OPENED and isinstance(args[0], (str, bytes)):
            OPENED[-1].append(os.path.realpath(os.fsdecode(args[0])))
    if not HOOKED:
        sys.addaudithook(hook)
        HOOKED.append(True)
    OPENED.append(found)
    yield found
    OPENED.pop()


OPENED, HOOKED = [], []


@pytest.fixture
def decoys(make_xp, tmp_path, dora_dir):
    """A codec, and files outside of its XP folder that would be taken for one."""
    cfg = {"xp.cfg": with_cfg(solver="compression")}
    make_xp(CODEC, **cfg, best_state={"model": model_state(6)})
    (dora_dir / "xps" / CODEC / "inner").mkdir()
    decoy = tmp_path / "decoy.th"
    torch.save(solver_state(CODEC, **cfg, best_state={"model": model_state(66)}), decoy)
    other = make_xp("c0dec001", **{**cfg, "best_state": {"model": model_state(66)}})
    places = [tmp_path, dora_dir, dora_dir / "xps", tmp_path / "decoy"]
    for place in places:
        place.mkdir(exist_ok=True)
        shutil.copy(decoy, place / "checkpoint.th")
    return [decoy, other / "checkpoint.th", *(place / "checkpoint.th" for place in places)]


@pytest.mark.parametrize("rest", [
    "..", "../..", "../../..", "../../checkpoint.th", ".", "./{codec}", "/{codec}", "{codec}/..", "{codec}/../",
    "{codec}/../..", "{codec}/../../..", "{codec}/../c0dec001", "{codec}/../../xps/c0dec001/checkpoint.th",
    "{codec}/../checkpoint.th", "{codec}/inner/../..", "{codec}/inner/../../checkpoint.th", "{codec}//etc/passwd",
    "{codec}/{root}/decoy/checkpoint.th", "{codec}/{root}/decoy", "{codec}/{root}/decoy.th", "/{root}/decoy",
    "{root}/decoy", "{codec}/./..", "{codec}/.//checkpoint.th/../..", "{codec}\0/../..", "{codec}/\0",
    "{codec}\n/../..", "{codec}/..\n", " ..", "..\\..", "~", "{codec}/~/checkpoint.th"], ids=label)
def test_a_codec_by_its_signature_is_never_read_outside_of_its_xp_folder(make_xp, dora_dir, tmp_path, run, decoys,
                                                                        opened, rest):
    form = "//sig/" + rest.format(codec=CODEC, root=tmp_path)
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=form)})
    for export in (lambda: run(SIG, f"--dora-dir={dora_dir}"), lambda: export_xp(SIG, dora_dir)):
        try:
            export()
        except ExportError as exc:
            assert is_clean(str(exc)) and "codec=none" in str(exc)
    for path in dora_dir.rglob("compression_state_dict.bin"):
        assert same(load(path)["best_state"], model_state(6))
    assert not {str(path) for path in decoys} & set(opened) and "/etc/passwd" not in opened


@pytest.mark.parametrize("form", [
    "//pretrained/../x", "//pretrained/..", "//pretrained/.", "//pretrained//", "//pretrained/~", "//pretrained/a\nb",
    "//pretrained/a\x1b[2Jb", "//pretrained/\0", "//pretrained/" + "x" * 10_000, "//reference/../..", "//reference/\0",
    "//reference/" + "x" * 300, "//unknown/../..", "//", "///", "/", ".", "..", "\0", "\n", "x" * 10_000], ids=label)
def test_a_codec_of_another_form_is_refused_or_a_reference_in_one_clean_line(make_xp, dora_dir, run, form, monkeypatch,
                                                                             tmp_path):
    monkeypatch.setenv("AUDIOCRAFT_REFERENCE_DIR", str(tmp_path / "here"))
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=form)})
    code, out, err = run(SIG, f"--dora-dir={dora_dir}", "--version=1")
    assert len(out) + len(err) == 1 and code in (0, 1)
    for path in dora_dir.rglob("compression_state_dict.bin"):
        assert form == f"//pretrained/{load(path)['pretrained']}" and is_clean(form)
    if form.startswith("//pretrained/"):
        try:
            export_pretrained_compression_model(form[len("//pretrained/"):], tmp_path / "here" / "out.bin")
        except ExportError as exc:
            assert is_clean(str(exc))


def manifest_naming(folder, *names, **changes):
    """The manifest of a release, as if it had more files: those named, as they are."""
    manifest = json.loads((folder / "export.json").read_text())
    for name in names:
        data = b""
        if isinstance(name, str) and os.path.isfile(folder / name):
            data = (folder / name).read_bytes()
        manifest["files"].append({"name": name, "bytes": len(data), "sha256": sha256(data).hexdigest(), **changes})
    (folder / "export.json").write_text(json.dumps(manifest, indent=2) + "\n")


@pytest.fixture
def folder(make_xp, dora_dir, tmp_path):
    """A release, among files of somebody else."""
    folder = dora_dir / "xps" / SIG / "export"
    make_xp()
    export_xp(SIG, dora_dir)
    (folder / "sub").mkdir()
    for name in ("precious.yaml", "precious.txt", "generator_mine.pth", "detector_mine.pth", "sub/x", "sub/y.yaml",
                 "../history.json"):
        (folder / name).write_text(f"mine: {name}")
    (folder / "linked.yaml").symlink_to(tmp_path / "victim")
    (folder / "compression_state_dict.bin").symlink_to(tmp_path / "victim")
    return folder


def kept(folder):
    return {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file() and path.name not in (
        "export.json", "state_dict.bin", "compression_state_dict.bin")}


HOSTILE = ["../../victim", "../../../../victim", "{root}/victim", "sub/x", "./precious.yaml", "precious.yaml",
           "precious.txt", "linked.yaml", "generator_mine.pth", "detector_mine.pth", "sub/y.yaml", "../history.json",
           "../checkpoint.th", "sub", "..", ".", "", "/", "export.json", "state_dict.bin/../precious.yaml", "\0",
           "state_dict.bin\0", CONTROL, "x" * 10_000, None, 3, ["precious.yaml"], {"a": 1}, True]


@pytest.mark.parametrize("name", [*HOSTILE, HOSTILE], ids=label)
@pytest.mark.parametrize("changes", [{}, {"sha256": "0" * 64, "bytes": 0}, {"bytes": -1}], ids=["true", "false", "odd"])
def test_a_manifest_cannot_have_anything_removed_that_is_not_of_a_release(make_xp, dora_dir, tmp_path, folder, run,
                                                                         name, changes):
    names = [each.format(root=tmp_path) if isinstance(each, str) and "{root}" in each else each
             for each in (name if name is HOSTILE else [name])]
    manifest_naming(folder, *names, **changes)
    before = kept(folder)
    make_xp(best_state={"model": model_state(3)}, history=[])
    before = {**before, folder.parent / "checkpoint.th": (folder.parent / "checkpoint.th").read_bytes()}
    assert run(SIG, f"--dora-dir={dora_dir}", "--codec=none")[0] == 0
    assert kept(folder) == before
    assert same(load(folder / "state_dict.bin")["best_state"], model_state(3))


@pytest.mark.parametrize("text", ["", "null", "3", "[]", "{}", '{"files": 3}', '{"files": [3]}', '{"files": {"a": 1}}',
                                  "[" * 100_000, '{"files": ' + "[" * 100_000, "9" * 10_000, "\ufeff{}", "NaN",
                                  '{"files": [{"name": "precious.yaml"}]}', "\udcff"])
@pytest.mark.parametrize("victim", ["export.json", "../history.json", "../.argv.json"])
def test_a_file_of_json_that_is_none_is_no_reason_to_fail(make_xp, dora_dir, folder, run, text, victim):
    before = kept(folder)
    (folder / victim).write_text(text, errors="surrogateescape")
    assert run(SIG, f"--dora-dir={dora_dir}", "--weights=last")[0] == 0
    assert same(load(folder / "state_dict.bin")["best_state"], model_state(1))
    assert set(before) <= set(kept(folder))


@pytest.mark.parametrize("name", [*HOSTILE, "/dev/zero", "/etc/passwd", "compression_state_dict.bin"],
                         ids=label)
def test_a_release_with_a_hostile_manifest_does_not_verify_and_leads_nowhere(folder, tmp_path, opened, name):
    name = name.format(root=tmp_path) if isinstance(name, str) and "{root}" in name else name
    (folder / "compression_state_dict.bin").unlink()
    manifest_naming(folder, name)
    opened.clear()
    found = audiocraft_export.verify(folder)
    assert not found.ok and found.problems and all(is_clean(str(problem)) for problem in found.problems)
    assert not {"/dev/zero", "/etc/passwd", str(tmp_path / "victim")} & set(opened)


def test_a_watermarking_release_leaves_the_files_of_others_that_are_named_like_its_own(make_xp, dora_dir, folder):
    state = {"generator.a": torch.ones(1), "detector.a": torch.ones(1)}
    cfg = OmegaConf.create({"solver": "watermarking", "audioseal": {}, "seanet": {}, "detector": {}})
    before = kept(folder)
    make_xp(**{"xp.cfg": cfg, "best_state": {"model": state}})
    report = export_xp(SIG, dora_dir)
    manifest_naming(folder, "precious.yaml", "generator_mine.pth", "detector_mine.pth")
    make_xp()
    export_xp(SIG, dora_dir)
    before[folder.parent / "checkpoint.th"] = (folder.parent / "checkpoint.th").read_bytes()
    assert before.items() <= kept(folder).items() and len(report.files) == 3
