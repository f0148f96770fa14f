"""Release folders that are links, FIFOs, files, mount points, on other disks, or current directories."""

import os
import shutil
import stat
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from .child import export
from .disks import disk, mount, own_mounts
from .scene import FILES, MANIFEST, Scene, sha256
from .trials import Missing, Row, isolated, some

ODD = ("neither release", "no sentence", "done, but not there", "file of the user's lost", "leftover")


@isolated()
def mounted(folder, share):
    """Export to a read-only file system, and to mount points."""
    row = Row.of("release folder is a mount point, or read-only", *ODD, "refused without need")
    own_mounts()
    scene, home = Scene(folder), folder / "home"
    for kind in (_read_only_disk, _mount_point, _bound_folder):
        for previous in (None, "1"):
            with suppress(FileExistsError):
                home.mkdir()
            with kind(home) as target:
                if previous:
                    shutil.copytree(scene.clean[previous], target, dirs_exist_ok=True)
                if kind is _read_only_disk:
                    mount("-o", "remount,ro", target.parent)
                outcome = judge_place(scene, row, home, target, previous, kind.__name__)
                if outcome.code and kind is not _read_only_disk:
                    row.count("refused without need", f"{kind.__name__}: {outcome.text}")
    return row


@contextmanager
def _read_only_disk(home):
    with disk(home / "disk", "size=16m") as path:
        yield path / "export"


@contextmanager
def _mount_point(home):
    with disk(home / "export", "size=32m") as path:
        yield path


@contextmanager
def _bound_folder(home):
    """Bind-mount a folder of the same device, which only EBUSY reveals."""
    for name in ("real", "bound"):
        (home / name).mkdir(exist_ok=True)
    mount("--bind", home / "real", home / "bound")
    try:
        yield home / "bound"
    finally:
        subprocess.run(["umount", "-l", str(home / "bound")], capture_output=True, timeout=30)


def _link(home, put):
    put(home / "real")
    (home / "link").symlink_to("real")
    return home / "link"


def _empty_link(home, _):
    (home / "real").mkdir()
    (home / "link").symlink_to(home / "real")
    return home / "link"


def _link_above(home, put):
    put(home / "real" / "export")
    (home / "link").symlink_to("real")
    return home / "link" / "export"


def _dangling_link(home, _):
    (home / "link").symlink_to("nowhere")
    return home / "link"


def _loop(home, _):
    (home / "link").symlink_to("link")
    return home / "link"


def _fifo(home, _):
    os.mkfifo(home / "fifo")
    return home / "fifo"


def _plain_file(home, _):
    (home / "file").write_text("mine")
    return home / "file"


def _below_a_file(home, _):
    return _plain_file(home, _) / "export"


def _folder_for_a_file(home, put):
    put(home / "export")
    (home / "export" / FILES[0]).unlink()
    (home / "export" / FILES[0]).mkdir()
    (home / "export" / FILES[0] / "mine.txt").write_text("mine")
    return home / "export"


def _folder_for_the_manifest(home, _):
    (home / "export" / MANIFEST / "mine").mkdir(parents=True)
    return home / "export"


def _fifo_for_a_file(home, put):
    put(home / "export")
    (home / "export" / FILES[1]).unlink()
    os.mkfifo(home / "export" / FILES[1])
    return home / "export"


def _fifo_for_the_manifest(home, put):
    put(home / "export")
    (home / "export" / MANIFEST).unlink()
    os.mkfifo(home / "export" / MANIFEST)
    return home / "export"


def _link_for_a_file(home, put):
    put(home / "export")
    (home / "export" / FILES[0]).rename(home / "mine.bin")
    (home / "export" / FILES[0]).symlink_to(home / "mine.bin")
    return home / "export"


def _link_to_a_folder_for_a_file(home, _):
    (home / "export").mkdir()
    (home / "mine").mkdir()
    (home / "export" / FILES[1]).symlink_to("../mine")
    return home / "export"


def _dangling_link_for_the_manifest(home, _):
    (home / "export").mkdir()
    (home / "export" / MANIFEST).symlink_to("nowhere")
    return home / "export"


def _hard_links(home, put):
    put(home / "export")
    for name in (*FILES, MANIFEST):
        os.link(home / "export" / name, home / f"kept-{name}")
    return home / "export"


def _foreign_files(home, put):
    put(home / "export")
    return _foreign_only(home, put)


def _foreign_only(home, _):
    (home / "export" / "notes" / "deep").mkdir(parents=True)
    (home / "export" / "notes" / "deep" / "mine.txt").write_text("mine")
    (home / "export" / "state_dict.bin.bak").write_text("mine")
    (home / "export" / ".gitignore").write_text("*")
    (home / "export" / "link").symlink_to("notes")
    return home / "export"


def _foreign_hidden_folder(home, put):
    put(home / "export")
    (home / "export" / ".export-notes").mkdir()
    (home / "export" / ".export-notes" / "mine.txt").write_text("mine")
    (home / ".export-of-the-user").write_text("mine")
    return home / "export"


def _no_folder(home, _):
    return home / "a" / "b" / "export"


def _long_name(home, _):
    return home / ("x" * 255)


def _strange_name(home, put):
    put(home / " new\nline \udcff")
    return home / " new\nline \udcff"


def _with_dots(home, put):
    put(home / "export")
    (home / "sub").mkdir()
    return home / "sub" / ".." / "export"


def _write_protected_files(home, put):
    put(home / "export")
    for name in (*FILES, MANIFEST):
        (home / "export" / name).chmod(0o444)
    return home / "export"


def _folder_of_checkpoints(home, _):
    (home / "checkpoint.th").write_text("mine")
    return home


PLACES = (_link, _empty_link, _link_above, _dangling_link, _loop, _fifo, _plain_file, _below_a_file, _folder_for_a_file,
          _folder_for_the_manifest, _fifo_for_a_file, _fifo_for_the_manifest, _link_for_a_file,
          _link_to_a_folder_for_a_file, _dangling_link_for_the_manifest, _hard_links, _foreign_files, _foreign_only,
          _foreign_hidden_folder, _no_folder, _long_name, _strange_name, _with_dots, _write_protected_files,
          _folder_of_checkpoints)
MUST_WORK = (_link, _empty_link, _link_above, _link_for_a_file, _hard_links, _foreign_files, _foreign_only,
             _foreign_hidden_folder, _no_folder, _long_name, _strange_name, _with_dots, _write_protected_files)


@isolated()
def odd_places(folder, share):
    """Export to links, FIFOs, files and folders, to another device, and to the current directory."""
    row = Row.of("odd release folders", *ODD, "refused without need", "current directory lost")
    scene = Scene(folder)
    for place in some(PLACES, share, max(len(PLACES), 3 / share)):
        home = Path(tempfile.mkdtemp(dir=folder))
        target = place(home, lambda path: shutil.copytree(scene.clean["1"], path))
        outcome = judge_place(scene, row, home, target, scene.side(target), place.__name__)
        if outcome.code and place in MUST_WORK:
            row.count("refused without need", f"{place.__name__}: {outcome.text}")
    for previous in (None, "1"):
        _other_device(scene, row, previous)
        _current_directory(scene, row, previous)
    return row


def _other_device(scene, row, previous):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == scene.root.stat().st_dev:
        raise Missing("/dev/shm is no other device than the temporary folder: set TMPDIR to one on a disk.")
    home = Path(tempfile.mkdtemp(dir=shm))
    try:
        if previous:
            shutil.copytree(scene.clean[previous], home / "export")
        if judge_place(scene, row, home, home / "export", previous, "_other_device").code:
            row.count("refused without need", "another device")
        link = Path(tempfile.mkdtemp(dir=scene.root)) / "link"
        link.symlink_to(home / "export")
        here_again = scene.side(home / "export")
        judge_place(scene, row, link.parent, link, here_again, "link to another device", side="1")
        if not link.is_symlink():
            row.count("file of the user's lost", "link to another device")
    finally:
        shutil.rmtree(home)


def _current_directory(scene, row, previous):
    home = Path(tempfile.mkdtemp(dir=scene.root))
    for target, given in (home / "export", "."), (home / "other", "../other"):
        target.mkdir()
        if previous:
            shutil.copytree(scene.clean[previous], target, dirs_exist_ok=True)
        outcome = judge_place(scene, row, home, target, previous, f"current directory, as {given}", given=given,
                              prepare=lambda target=target: os.chdir(target))
        if outcome.code:
            row.count("refused without need", f"current directory, as {given}: {outcome.text}")
        if not {*FILES, MANIFEST} <= set(outcome.here):
            row.count("current directory lost", f"as {given}, previous {previous}: it holds {outcome.here}")


def judge_place(scene, row, home, target, previous, what, side="2", given=None, prepare=lambda: None):
    """Export to a path; check that it works or is refused, and that nothing else changes."""
    before = _contents(home)
    outcome = export(scene.argv(side, given or target), prepare, 10)
    after, there = _contents(home), scene.side(target)
    row.attempts += 1
    if not outcome.graceful:
        row.count("no sentence", f"{what}: {outcome.code} {outcome.text}")
    elif outcome.code == 0 and there != side:
        row.count("done, but not there", what)
    else:
        row.count("refused" if outcome.code else "done")
    if there not in (previous, side):
        row.count("neither release", f"{what}: {there}")
    for path in before:
        if before[path] != after.get(path) and (outcome.code or before[path][0] == "folder"
                                                or not _is_final(path, target)):
            row.count("file of the user's lost", f"{what}: {path}, {before[path]} is {after.get(path)}")
    if any(os.path.basename(path).startswith(".export-") for path in after.keys() - before.keys()):
        row.count("leftover", f"{what}: {sorted(after.keys() - before.keys())}")
    return outcome


def _is_final(path, target):
    """Return whether a path is that of a release file, which an export may replace."""
    home, name = os.path.split(path)
    return name in (*FILES, MANIFEST) and os.path.isdir(target) and os.path.samefile(home, target)


def _contents(home):
    """Return kind and content of each path in a folder."""
    found = {}
    for folder, folders, files in os.walk(os.path.realpath(home)):
        for name in folders + files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                found[path] = "link", os.readlink(path)
            elif stat.S_ISREG(mode):
                found[path] = "file", sha256(Path(path))
            else:
                found[path] = "folder" if stat.S_ISDIR(mode) else "fifo", ""
    return found


TRIALS = (mounted, odd_places)
