"""Disks that are full, or become so; and how to mount one."""

import ctypes
import os
import resource
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

from .child import export
from .errors import FAULTS, judge_fault
from .inject import COMMIT, WRITES, Injection
from .scene import Scene
from .trials import Missing, Row, isolated, some

CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


@isolated()
def file_size_limit(folder, share):
    """RLIMIT_FSIZE, at sizes from nothing to more than the largest file."""
    row = Row.of("files may not grow larger (RLIMIT_FSIZE)", *FAULTS)
    scene = Scene(folder)
    largest = max(path.stat().st_size for path in scene.clean["2"].iterdir())
    for index in some(range(20), share):
        scene.put()
        size = largest * index * 21 // (20 * 20)
        outcome = export(scene.argv("2"), lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
        judge_fault(scene, row, outcome, "write", f"{size} of {largest} bytes")
    return row


@isolated()
def full_disks(folder, share):
    """Disks with too little space, which is noticed before anything is written, and with enough of it."""
    row = Row.of(
        "disk too small (tmpfs)", *FAULTS, "free space not named", "something was written", "refused with room enough")
    own_mounts()
    scene = Scene(folder, folder / "disk" / "place" / "export")
    need = sum(path.stat().st_size for path in scene.clean["2"].iterdir())
    former = sum(path.stat().st_size for path in scene.clean["1"].iterdir())
    for index in some(range(20), share):
        room = need * (index + 1) // 16
        with disk(folder / "disk", f"size={former + room + (3 << 12)}"):
            scene.put()
            before, free = _dates(scene), os.statvfs(scene.folder.parent)
            free = free.f_bavail * free.f_frsize
            outcome, what = export(scene.argv("2")), f"{free} bytes free for {need}"
            judge_fault(scene, row, outcome, "write", what)
            if free < need:
                _judge_full(scene, row, outcome, before, what)
            elif free > 1.15 * need + (1 << 16) and outcome.code:
                row.count("refused with room enough", f"{what}: {outcome.text}")
    return row


def _judge_full(scene, row, outcome, before, what):
    if "free" not in outcome.text:
        row.count("free space not named", f"{what}: {outcome.text}")
    if before != _dates(scene):
        row.count("something was written", what)


def _dates(scene):
    return [(path, path.stat().st_mtime_ns, path.stat().st_ctime_ns)
            for path in sorted([scene.folder.parent, scene.folder, *scene.folder.iterdir()])]


@isolated()
def filling_disks(folder, share):
    """Disks that become full during an export, whatever was free when it began; and disks without inodes."""
    row = Row.of("disk fills up while it is written (tmpfs)", *FAULTS)
    own_mounts()
    scene = Scene(folder, folder / "disk" / "place" / "export")
    hog = folder / "disk" / "hog"
    with disk(folder / "disk", "size=64m"):
        scene.put()
        calls = export(scene.argv("2"), Injection(WRITES | COMMIT).arm).calls
        for number in some(range(1, len(calls) + 1), share, 40):
            hog.unlink(missing_ok=True)
            scene.put()
            outcome = export(scene.argv("2"), Injection(WRITES | COMMIT, number, lambda _, real: _fill(hog, real)).arm)
            hog.unlink(missing_ok=True)
            judge_fault(scene, row, outcome, "write", f"full from call {number} of {len(calls)}, {calls[number - 1]}")
    for inodes in some(range(6, 16), share):
        with disk(folder / "disk", f"size=64m,nr_inodes={inodes}"):
            scene.put()
            judge_fault(scene, row, export(scene.argv("2")), "write", f"{inodes} inodes")
    return row


def _fill(path, real):
    """Leave no free byte, but do not fail."""
    with suppress(OSError), open(path, "wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass
    return real()


def own_mounts():
    """From here on, what this process mounts is its own and goes with it."""
    uid, gid = os.getuid(), os.getgid()
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0)):
        raise Missing("disks of their own need root, or unprivileged user namespaces, which are not allowed here "
                      f"({os.strerror(ctypes.get_errno())}).")
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    mount("--make-rprivate", "/")


def mount(*args):
    done = subprocess.run(["mount", *map(str, args)], capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise Missing(f"no file system can be mounted here: {done.stderr.strip()}")


@contextmanager
def disk(path, options):
    path.mkdir(parents=True, exist_ok=True)
    mount("-t", "tmpfs", "-o", options, "tmpfs", path)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], capture_output=True, timeout=30)


TRIALS = (file_size_limit, full_disks, filling_disks)
