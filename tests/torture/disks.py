"""Disks that are full, or become full; and how to mount one."""

import ctypes
import os
import resource
import subprocess
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from .child import export
from .errors import FAULTS, judge_fault
from .inject import COMMIT, WRITES, Injection
from .scene import FILES, Scene
from .trials import Missing, Row, isolated, some

BLOCK = 4096  # bytes of a block of the file system
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


@isolated()
def file_size_limit(folder, share):
    """Set RLIMIT_FSIZE to sizes from 0 to more than the largest file."""
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
    """Use disks with too little space, which is noticed before anything is written, and with enough space."""
    row = Row.of(
        "disk too small (tmpfs)", *FAULTS, "free space not named", "something was written", "refused with room enough")
    own_mounts()
    scene = Scene(folder, folder / "disk" / "place" / "export")
    need = sum(path.stat().st_size for path in scene.clean["2"].iterdir())
    previous = sum(path.stat().st_size for path in scene.clean["1"].iterdir())
    for index in some(range(20), share):
        room = need * (index + 1) // 16
        with disk(folder / "disk", f"size={previous + room + (3 << 12)}"):
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
    """Fill the disk during an export, or use up its inodes."""
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
    """Fill the disk completely, ignoring errors."""
    with suppress(OSError), open(path, "wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while stream.write(bytes(size)) == size:
                    pass
    return real()


@isolated(floats=1 << 14)
def changing_disks(folder, share):
    """Change a bit of a released file on its disk, after the fsync and before the file is read back."""
    row = Row.of("bit changed on the disk after fsync (loop device)", "not found", "previous release lost")
    own_mounts()
    image, scene = folder / "image", Scene(folder, folder / "disk" / "place" / "export")
    with loop_disk(folder / "disk", image):
        for number in some(range(200), share):
            scene.put()
            name = FILES[number % len(FILES)]
            data = (scene.clean["2"] / name).read_bytes()
            position = number * len(data) // 200
            outcome = export(scene.argv("2"), partial(_change_on_disk, image, name, data, position))
            row.attempts += 1
            if outcome.code != 1 or "read-back-failed" not in outcome.text:
                row.count("not found", f"byte {position} of {name}: {outcome.code} {outcome.text}")
            if scene.side() != "1":
                row.count("previous release lost", f"byte {position} of {name}: {outcome.text}")
    return row


def _change_on_disk(image, name, data, position):
    """When a file leaves the page cache, change it in the image of its disk."""
    from audiocraft_export.storage import read_back
    drop = read_back.drop_cache

    def drop_and_change(descriptor):
        drop(descriptor)
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).name == name:
            _flip(image, data, position)
    read_back.drop_cache = drop_and_change


def _flip(image, data, position):
    """Change a bit of the file with these bytes in each copy of the image, which may have old ones."""
    begin = position // BLOCK * BLOCK
    block, at = data[begin:begin + BLOCK], -BLOCK
    with open(image, "r+b") as stream:
        disk = stream.read()
        while (at := disk.find(block, at + BLOCK)) >= 0:
            stream.seek(at + position - begin)
            stream.write(bytes([block[position - begin] ^ 1]))


def own_mounts():
    """Create a mount namespace, so that mounts of this process disappear with it."""
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


@contextmanager
def loop_disk(path, image):
    """Mount a file system that is stored in the file `image`."""
    path.mkdir()
    with open(image, "wb") as stream:
        stream.truncate(32 << 20)
    if subprocess.run(["mkfs.ext4", "-q", "-b", str(BLOCK), image], capture_output=True, timeout=30).returncode:
        raise Missing("mkfs.ext4 is missing.")
    mount("-o", "loop", image, path)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], capture_output=True, timeout=30)


TRIALS = (file_size_limit, full_disks, filling_disks, changing_disks)
