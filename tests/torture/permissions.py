"""Read-only folders, and the permissions of releases."""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

from .child import export
from .places import ODD, judge_place
from .scene import FILES, MANIFEST, Scene
from .trials import Row, isolated, some

NOBODY = 65534


def read_only(folder, share=1.0):
    """Export to folders that the user cannot write to."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    try:
        folder.chmod(0o755)
        return _read_only(folder, share)
    finally:
        shutil.rmtree(folder)


@isolated()
def _read_only(folder, share):
    row = Row.of("folder that may not be written", *ODD, "refused without need")
    scene = Scene(folder)
    modes = [(parent, mode, shared) for parent in (0o555, 0o755, 0o1777) for mode in (0o555, 0o755, 0o777, None)
             for shared in (False, True)]
    for parent, mode, shared in some(modes, share, max(len(modes), 4 / share)):
        home = folder / f"home-{parent:o}-{mode or 0:o}-{shared:d}"
        target = home / "place" / "export"
        target.parent.mkdir(parents=True)
        if mode is not None:
            shutil.copytree(scene.clean["1"], target)
        _give(target.parent, parent, True)
        if mode is not None:
            _give(target, mode, not shared)
        what = f"parent {parent:o}, folder {mode and oct(mode)[2:]} {'of root' if shared and not os.getuid() else ''}"
        outcome = judge_place(scene, row, home, target, mode and "1", what, prepare=_be_nobody)
        if outcome.code and _may_write(target if mode else target.parent):
            row.count("refused without need", f"{what}: {outcome.text}")
        for path in (target.parent, target):
            with suppress(FileNotFoundError):
                path.chmod(0o755)
    return row


def _give(path, mode, away):
    """Set permissions; root also changes the owner to `nobody`."""
    path.chmod(mode)
    if not os.getuid() and away:
        os.chown(path, NOBODY, NOBODY)


def _be_nobody():
    if not os.getuid():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _may_write(path):
    about = path.stat()
    owner = NOBODY if not os.getuid() else os.getuid()
    return bool(about.st_mode & (stat.S_IWUSR if about.st_uid == owner else stat.S_IWOTH))


@isolated()
def permissions(folder, share):
    """Check that new folders follow the umask, and existing ones keep their permissions."""
    row = Row.of("permissions", "not by the umask", "folder changed", "error")
    scene = Scene(folder)
    for umask in (0o022, 0o002, 0o077):
        for kind in ("new", "previous", "foreign"):
            home = Path(tempfile.mkdtemp(dir=folder))
            target = home / "a" / "export"
            if kind != "new":
                shutil.copytree(scene.clean["1"], target)
                target.chmod(0o2750)
            if kind == "foreign":
                (target / "mine.txt").write_text("mine")
            outcome = export(scene.argv("2", target), lambda umask=umask: os.umask(umask))
            row.attempts += 1
            if outcome.code:
                row.count("error", f"{kind}: {outcome}")
            _judge_modes(row, target, kind, umask)
    return row


def _judge_modes(row, target, kind, umask):
    made = [target.parent, target] if kind == "new" else []
    for path in [*made, *(target / name for name in (*FILES, MANIFEST))]:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0
        good = mode == (0o777 if path.is_dir() else 0o666) & ~umask
        row.count("by the umask" if good else "not by the umask", f"{kind}, umask {umask:o}: {path.name} has {mode:o}")
    if not made:
        mode = stat.S_IMODE(target.stat().st_mode)
        row.count("folder kept" if mode == 0o2750 else "folder changed", f"{kind}, umask {umask:o}: {mode:o}")


TRIALS = (read_only, permissions)
