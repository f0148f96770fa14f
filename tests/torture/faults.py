"""Nothing lost: kills, signals, failing system calls, full disks and odd folders while a release replaces another.

Each trial runs in a process of its own that has no threads, so that it can fork. It has imported the package after
the functions of the system were wrapped; a fork of it becomes the command, and does as the command does, but for the
one call at which something is to happen.
"""

import atexit
import builtins
import ctypes
import errno
import hashlib
import io
import json
import logging
import mmap
import os
import pathlib
import random
import re
import resource
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from . import Missing, Row, one_sentence, released

LIMIT = 600  # seconds for a trial
ERRNOS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT)
COMMIT = frozenset({"mkdir", "replace", "rename", "renameat2", "link", "unlink", "remove", "rmdir", "fsync"})
WRITES = frozenset({"mkdir", "open", "os.open", "write", "file.write", "file.flush"})
SYSTEM = ("mkdir", "replace", "rename", "link", "symlink", "unlink", "remove", "rmdir", "fsync", "fdatasync", "write",
          "close", "chmod", "statvfs", "scandir", "listdir", "ftruncate")
CLEANING = frozenset({"unlink", "remove", "rmdir", "unlinkat", "close", "open", "os.open", "openat", "file.close",
                      "scandir", "listdir"})
TRACED = "/^(write|fsync|close|rename.*|mkdir.*|openat|unlink.*|rmdir)$"
FILES = ("state_dict.bin", "compression_state_dict.bin")
MANIFEST = "export.json"
NOBODY = 65534
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


# A trial, in a process of its own.

def experiments(folder, sides="12", floats=1 << 19):
    """Write language models, each with a codec of its own, of which nothing is the same."""
    import torch
    from helpers import solver_state, with_cfg
    for side in sides:
        shape = torch.Generator().manual_seed(int(side))
        for sig, cfg in [(xp(side), {"solver": "musicgen", "compression_model_checkpoint": f"//sig/c0dec00{side}"}),
                         (f"c0dec00{side}", {"solver": "compression", "compression_model": "encodec"})]:
            state = {f"layer.{index}.weight": torch.randn(floats // 4, generator=shape) for index in range(4)}
            home = Path(folder) / "outputs" / "xps" / sig
            home.mkdir(parents=True)
            torch.save(solver_state(sig=sig, best_state={"model": state}, **{"xp.cfg": with_cfg(**cfg)}),
                       home / "checkpoint.th")
            floats //= 2
        floats *= 4


def xp(side):
    return side * 8


def apart(**made):
    """Run a trial in a process of its own, after making experiments for it."""
    def decorate(function):
        @wraps(function)
        def trial(folder, share=1.0):
            experiments(folder, **made)
            answer = _ask(function.__module__, function.__name__, folder, share)
            return Row(**answer) if isinstance(answer, dict) else answer
        trial.inside = function
        return trial
    return decorate


def _ask(module, name, folder, share):
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import serve; serve()", module, name, str(folder), str(share)],
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        last = err.strip().splitlines()[-1:]
        raise (Missing if "Missing: " in str(last) else RuntimeError)(f"{name} cannot be tried: {last}\n{err}")
    return json.loads(out)


def environment():
    """Where the package and the tests are; nothing of a Dora that the user may have."""
    paths = [str(Path(find_spec("audiocraft_export").origin).parents[1]), str(Path(__file__).parents[1])]
    environ = {key: value for key, value in os.environ.items()
               if key not in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE", "DORA_MAIN_MODULE", "RANK", "WORLD_SIZE")}
    return {**environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1"}


def serve():
    """The process of one trial: what it answers is JSON on stdout."""
    module, name, folder, share = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _watch()
    answer = getattr(import_module(module), name).inside(Path(folder), float(share))
    print(json.dumps(asdict(answer) if isinstance(answer, Row) else answer))


def amount(full, share):
    return max(1, round(full * share))


def some(cases, share, full=None):
    """A share of the cases, always the same ones, in their order."""
    cases = list(cases)
    count = min(len(cases), amount(full or len(cases), share))
    return [cases[index] for index in sorted(random.Random(0).sample(range(len(cases)), count))]


# The functions of the system, so that something can happen at one call of them.

_hook = None


class At:
    """At one call, by its number among those with some names, something happens in its place.

    Args:
        names: of the calls that count.
        number: of the call, from 1; 0: none, they are only counted.
        act: gets the name and what the call would do.
    """

    def __init__(self, names, number=0, act=None):
        self.names, self.number, self.act, self.calls = names, number, act, []

    def __call__(self, name, real):
        if name not in self.names:
            return real()
        self.calls.append(name)
        return self.act(name, real) if len(self.calls) == self.number else real()

    def set(self):
        global _hook
        _hook = self


def _call(name, real):
    return _hook(name, real) if _hook else real()


def _watch():
    """Wrap the functions; to be done before the package is imported."""
    for name in SYSTEM:
        _wrap(name, name)
    _wrap("open", "os.open")
    real_open = builtins.open
    builtins.open = io.open = wraps(real_open)(lambda *args, **kwargs: _opened(real_open, *args, **kwargs))
    ctypes.CDLL = _Library
    ctypes.cdll = ctypes.LibraryLoader(_Library)


def _wrap(attribute, name):
    real = getattr(os, attribute)

    @wraps(real)
    def call(*args, **kwargs):
        return _call(name, lambda: real(*args, **kwargs))
    setattr(os, attribute, call)
    for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if real in known:
            known.add(call)
    accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.9 and 3.10 have them there, too
    if getattr(accessor, attribute, None) is real:
        setattr(accessor, attribute, staticmethod(call))


def _opened(real, *args, **kwargs):
    if not _hook:
        return real(*args, **kwargs)
    stream = _call("open", lambda: real(*args, **kwargs))
    return _Stream(stream) if set(stream.mode) & set("wxa+") else stream


class _Stream:
    def __init__(self, stream):
        self._stream = stream

    def write(self, data):
        return _call("file.write", lambda: self._stream.write(data))

    def flush(self):
        return _call("file.flush", self._stream.flush)

    def close(self):
        return _call("file.close", self._stream.close)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __getattr__(self, name):
        return getattr(self._stream, name)


class _Library(ctypes.CDLL):
    def __getitem__(self, name):
        function = super().__getitem__(name)
        return _Foreign(function) if name in ("renameat2", "syscall") else function


class _Foreign:
    """`renameat2` of the C library: it fails with -1 and errno."""

    def __init__(self, function):
        vars(self)["_function"] = function

    def __call__(self, *args):
        try:
            return _call("renameat2", lambda: self._function(*args))
        except OSError as exc:
            ctypes.set_errno(exc.errno)
            return -1

    def __getattr__(self, name):
        return getattr(self._function, name)

    def __setattr__(self, name, value):
        setattr(self._function, name, value)


def failing(number):
    """An action: the call fails."""
    def act(name, real):
        if name.endswith("close"):
            real()
        raise OSError(number, os.strerror(number))
    return act


def sending(number, after=False):
    """An action: the process gets a signal, before the call or after it."""
    def act(_, real):
        if after:
            result = real()
            os.kill(os.getpid(), number)
            return result
        os.kill(os.getpid(), number)
        return real()
    return act


# The command, in a fork.

@dataclass
class Outcome:
    """How the command ended.

    Args:
        code: its exit code; minus the signal that ended it; None if it had to be killed because it did not end.
        text: its stderr.
        calls: the names of the calls that counted.
        here: what is in its current directory at the end.
    """

    code: int
    text: str = ""
    calls: list = field(default_factory=list)
    here: list = field(default_factory=list)

    @property
    def graceful(self):
        """Whether it did it, or refused it with exit code 1 and one sentence."""
        return self.code == 0 or self.code == 1 and one_sentence(self.text)


class Gate:
    """Where processes wait until all of them may go on."""

    def __init__(self):
        self._read, self._write = os.pipe()

    def wait(self):
        os.close(self._write)
        os.read(self._read, 1)

    def open(self):
        os.close(self._write)
        os.close(self._read)


class Child:
    """A fork that is the command; what it says comes back through shared memory, which no fault reaches."""

    def __init__(self, argv, prepare=lambda: None, gate=None):
        self._said = mmap.mmap(-1, 1 << 18)
        self._status = None
        self.pid = os.fork()
        if not self.pid:
            _become_command(argv, prepare, gate, self._said)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if not self._ended:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._said.close()

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)

    def stopped(self, timeout=30):
        """Wait until it stopped itself; False if it ended before."""
        return self._wait(timeout, os.WUNTRACED) and os.WIFSTOPPED(self._status)

    def wait(self, timeout=30):
        if not self._ended and not self._wait(timeout, 0):
            self.kill()
            os.waitpid(self.pid, 0)
            self._status = 0
            return Outcome(None, f"no end after {timeout} s")
        code = -os.WTERMSIG(self._status) if os.WIFSIGNALED(self._status) else os.WEXITSTATUS(self._status)
        said = self._said[:].partition(b"\0")[0]
        return Outcome(code, **(json.loads(said) if said else {}))

    @property
    def _ended(self):
        return self._status is not None and not os.WIFSTOPPED(self._status)

    def _wait(self, timeout, flags):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG | flags)
            if pid:
                self._status = status
                return True
            time.sleep(0.001)
        return False


def _become_command(argv, prepare, gate, said):
    global _hook
    code, text = 70, io.StringIO()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.stdout, sys.stderr = io.StringIO(), text
        if gate:
            gate.wait()
        prepare()
        _command()(argv)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:
        text.write(traceback.format_exc())
    finally:
        calls, _hook = _hook.calls if _hook else [], None
        atexit._run_exitfuncs()
        here = []
        with suppress(OSError):  # this one may be the call that fails
            here = os.listdir(".")
        report = json.dumps({"text": text.getvalue()[-20000:], "calls": calls, "here": here}).encode()
        said[:len(report)] = report
        os._exit(code)


def _command():
    from audiocraft_export.cli.main import main
    return main


def export(argv, prepare=lambda: None, timeout=30):
    with Child(argv, prepare) as child:
        return child.wait(timeout)


def here(argv):
    """The command in this very process, so that its forks have imported all that it needs."""
    out, sys.stdout, err, sys.stderr = sys.stdout, io.StringIO(), sys.stderr, io.StringIO()
    try:
        _command()(argv)
    except SystemExit as exc:
        return exc.code
    finally:
        sys.stdout, sys.stderr = out, err


# What there is, and what may be there.

class Scene:
    """Experiments, a folder for the release of any of them, and what each release must be.

    Args:
        root: where the experiments are.
        folder: for the release.
        sides: the experiments.
    """

    def __init__(self, root, folder=None, sides="12"):
        self.root, self.folder = root, folder or root / "place" / "export"
        self.clean = {side: root / "clean" / side for side in sides}
        for side, clean in self.clean.items():
            if not clean.exists() and here(self.argv(side, clean)):
                raise RuntimeError(f"The experiments in {root} cannot be exported at all.")
        here(self.argv(sides[0], root / "clean" / "warm"))
        here(self.argv(sides[-1], root / "clean" / "warm"))
        (root / "clean" / "file").write_text("no folder")
        here(self.argv(sides[0], root / "clean" / "file"))
        self.releases = {side: released(clean) for side, clean in self.clean.items()}
        if any(len({release[name] for release in self.releases.values()}) < len(sides) for name in FILES):
            raise RuntimeError("The releases do not differ in every file.")

    def argv(self, side, folder=None, *more):
        return ["run", str(self.root / "outputs" / "xps" / xp(side)), "--folder", str(folder or self.folder),
                "--version", "1.3.0", *more]

    def put(self, side="1", folder=None):
        """A former release, and nothing else."""
        folder = folder or self.folder
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(self.clean[side], folder)

    def add_foreign(self):
        """Files of the user's, so that the folder cannot be exchanged."""
        (self.folder / "notes").mkdir()
        (self.folder / "notes" / "mine.txt").write_text("mine")
        (self.folder / "card.md").write_text("mine")

    @property
    def foreign_is_whole(self):
        files = (self.folder / "notes" / "mine.txt", self.folder / "card.md")
        return all(path.is_file() and path.read_text() == "mine" for path in files)

    def side(self, folder=None):
        """Whose release is there, None if there is no whole one."""
        folder = folder or self.folder
        if not all((folder / name).is_file() for name in (*FILES, MANIFEST)):  # a FIFO would never end
            return None
        found = released(folder)
        return next((side for side, release in self.releases.items() if release == found), None)

    def halves(self):
        """The files under final names that are not those of any release, whole."""
        found = [name for name in FILES if (self.folder / name).is_file() and sha256(self.folder / name)
                 not in {release[name] for release in self.releases.values()}]
        with suppress(FileNotFoundError):
            try:
                json.loads((self.folder / MANIFEST).read_text())["files"][1]["sha256"]
            except (ValueError, KeyError, IndexError):
                found.append(MANIFEST)
        return found

    def leftovers(self, folder=None):
        folder = folder or self.folder
        return [path for home in (folder, folder.parent) if home.is_dir() for path in home.iterdir()
                if path.name.startswith(".export-")]

    def judge(self, row, what, allowed=("1", "2")):
        """Count whose release is there after a fault."""
        there = self.side()
        if there not in allowed:
            row.count("neither release", f"{what}: {there}")
        for name in self.halves():
            row.count("half a file", f"{what}: {name}")
        return there

    def heals(self, row, what):
        """The next export works and leaves nothing over; the former release is the other one."""
        side = "2" if self.side() == "1" else "1"
        outcome = export(self.argv(side))
        if outcome.code != 0 or self.side() != side:
            row.count("next export fails", f"{what}: {outcome}")
        if self.leftovers():
            row.count("leftover after the next", f"{what}: {self.leftovers()}")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def name_of(there, former="1"):
    return "former" if there == former else "new" if there else "neither"


# SIGKILL.

@apart()
def killed_at_random(folder, share):
    """SIGKILL at random moments, between the start of an export and a bit after its end."""
    row = Row("SIGKILL at a random moment", never=dict.fromkeys(
        ("neither release", "half a file", "next export fails", "leftover after the next"), 0))
    scene, chance = Scene(folder), random.Random()
    scene.put("1")
    duration = sorted(_seconds(scene, side) for side in "21212")[2]
    for number in range(amount(300, share)):
        former = scene.side()
        if former is None:
            scene.put("1")
            former = "1"
        with Child(scene.argv("2" if former == "1" else "1")) as child:
            delay = chance.uniform(0, 1.2 * duration)
            time.sleep(delay)
            child.kill()
            outcome = child.wait()
        what = f"trial {number}, {delay:.3f} of {duration:.3f} s"
        row.tried += 1
        there = scene.judge(row, what)
        if outcome.code == 0:
            row.count("finished before")
            _cleaned(row, scene, what)
        else:
            row.count(name_of(there, former) + (", staged" if scene.leftovers() else ""))
    scene.heals(row, "at the end")
    return row


def _seconds(scene, side):
    begin = time.monotonic()
    export(scene.argv(side))
    return time.monotonic() - begin


def _cleaned(row, scene, what):
    for path in scene.leftovers():
        row.count("leftover after the next", f"{what}: {path}")
        shutil.rmtree(path)


@apart()
def killed_at_each_call(folder, share):
    """SIGKILL before and after every call that changes a folder."""
    row = Row("SIGKILL at each call of the commit", never=dict.fromkeys(
        ("neither release", "half a file", "next export fails", "leftover after the next"), 0))
    scene = Scene(folder)
    for what in _killed(scene, row, share):
        row.count(name_of(scene.judge(row, what)))
        scene.heals(row, what)
    return row


@apart()
def killed_file_by_file(folder, share):
    """The same among files of the user's: then the release changes file by file, and the next export has to mend it."""
    row = Row("SIGKILL at each call of a commit file by file", never=dict.fromkeys(
        ("half a file", "file of the user's lost", "next export fails", "leftover after the next"), 0))
    scene = Scene(folder)
    for what in _killed(scene, row, share, scene.add_foreign):
        for name in scene.halves():
            row.count("half a file", f"{what}: {name}")
        row.count(name_of(scene.side()))
        scene.heals(row, what)
        if not scene.foreign_is_whole:
            row.count("file of the user's lost", what)
    return row


def _killed(scene, row, share, more=lambda: None):
    """Kill an export at each of its calls, each time from the same former release; gives at which."""
    scene.put()
    more()
    calls = export(scene.argv("2"), At(COMMIT).set).calls
    for number, after in some([(number, after) for number in range(1, len(calls) + 1) for after in (0, 1)], share):
        scene.put()
        more()
        hook = At(COMMIT, number, sending(signal.SIGKILL, after))
        if export(scene.argv("2"), hook.set).code == -signal.SIGKILL:
            row.tried += 1
            yield f"{'after' if after else 'before'} call {number} of {len(calls)}, {calls[number - 1]}"


# Two at a time, one of them stopped.

@apart()
def stopped(folder, share):
    """An export that is stopped at any call loses nothing to another one, and goes on."""
    row = Row("stopped while another one exports there", never=dict.fromkeys(
        ("staging of a living one removed", "error", "no whole release", "leftover"), 0))
    scene = Scene(folder)
    for former in (None, "1"):
        _prepare(scene, former)
        calls = export(scene.argv("2"), At(COMMIT).set).calls
        for number in some(range(1, len(calls) + 1), share):
            _prepare(scene, former)
            _stop(scene, row, number, f"former {former}, stopped before call {number} of {len(calls)}, "
                                      f"{calls[number - 1]}")
    return row


def _prepare(scene, former):
    scene.put(former or "1")
    if not former:
        shutil.rmtree(scene.folder)


def _stop(scene, row, number, what):
    with Child(scene.argv("2"), At(COMMIT, number, sending(signal.SIGSTOP)).set) as child:
        if not child.stopped():
            return
        row.tried += 1
        before = _tree(scene)
        other = export(scene.argv("1"))
        missing = before - _tree(scene)
        child.kill(signal.SIGCONT)
        outcome = child.wait()
    if missing:
        row.count("staging of a living one removed", f"{what}: {sorted(map(str, missing))}")
    for which, ended in ("the other", other), ("the stopped one", outcome):
        if ended.code != 0:
            row.count("error", f"{what}: {which}: {ended.code} {ended.text}")
    there = scene.side()
    row.count("release of the stopped one" if there == "2" else "release of the other" if there else "no whole release",
              what)
    if scene.leftovers():
        row.count("leftover", f"{what}: {scene.leftovers()}")


def _tree(scene):
    return {path for stage in scene.leftovers() for path in [stage, *stage.rglob("*")]}


# SIGTERM and Ctrl-C.

SIGNALS = {signal.SIGTERM: ("SIGTERM", {143, -15}), signal.SIGINT: ("Ctrl-C", {130, -2})}


@apart(floats=1 << 22)
def signals_at_random(folder, share):
    """The real command, at random moments after it began to write."""
    row = Row("SIGTERM and Ctrl-C at a random moment", never=dict.fromkeys(
        ("neither release", "half a file", "leftover", "traceback", "other exit code", "done, but not there"), 0))
    scene, chance = Scene(folder), random.Random()
    scene.put()
    duration = min(_signalled(scene, side, None, 0)[1] for side in "21")
    for number in [number for number in SIGNALS for _ in range(amount(20, share))]:
        former = scene.side()
        if former is None:
            scene.put("1")
            former = "1"
        side = "2" if former == "1" else "1"
        delay = chance.uniform(0, 1.2 * duration)
        outcome, _ = _signalled(scene, side, number, delay)
        _judge_signal(scene, row, outcome, number, former, f"{SIGNALS[number][0]} after {delay:.2f} s")
    return row


def _signalled(scene, side, number, delay):
    """Run the command and send it a signal so long after it began to write; also gives how long it wrote."""
    process = subprocess.Popen([sys.executable, "-m", "audiocraft_export", *scene.argv(side)], env=environment(),
                               cwd=scene.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None and not scene.leftovers():
            time.sleep(0.001)
        begin = time.monotonic()
        if number:
            time.sleep(delay)
            process.send_signal(number)
        _, text = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return Outcome(process.returncode, text), time.monotonic() - begin


@apart()
def signals_at_each_call(folder, share):
    """Before every call that changes a folder."""
    row = Row("SIGTERM and Ctrl-C at each call of the commit", never=dict.fromkeys(
        ("neither release", "half a file", "leftover", "traceback", "other exit code", "done, but not there"), 0))
    scene = Scene(folder)
    for foreign in (False, True):
        scene.put()
        calls = export(scene.argv("2"), At(COMMIT).set).calls
        for number, call in some([(number, call) for number in SIGNALS for call in range(1, len(calls) + 1)], share):
            scene.put()
            if foreign:
                scene.add_foreign()
            outcome = export(scene.argv("2"), At(COMMIT, call, sending(number)).set)
            _judge_signal(scene, row, outcome, number, "1", f"{SIGNALS[number][0]} before call {call} of {len(calls)},"
                                                            f" {calls[call - 1]}, foreign files: {foreign}")
    return row


def _judge_signal(scene, row, outcome, number, former, what):
    name, codes = SIGNALS[number]
    row.tried += 1
    there = scene.judge(row, what)
    if scene.leftovers():
        row.count("leftover", f"{what}: {scene.leftovers()}")
        for path in scene.leftovers():
            shutil.rmtree(path)
    if "Traceback" in outcome.text:
        row.count("traceback", f"{what}: {outcome.text}")
    if outcome.code in codes:
        row.count(f"{name}: {outcome.code}, {name_of(there, former)}")
    elif outcome.code != 0:
        row.count("other exit code", f"{what}: {outcome}")
    elif there == former:
        row.count("done, but not there", f"{what}: {outcome}")
    else:
        row.count(f"{name}: 0, new")


# Failing calls.

FAULTS = ("neither release", "half a file", "no sentence", "done, but not there", "leftover", "next export fails",
          "leftover after the next")


@apart()
def failing_calls(folder, share):
    """Each call of the system fails once, with each error."""
    row = Row("each call of the system fails once", never=dict.fromkeys(FAULTS, 0))
    scene = Scene(folder)
    names = {*SYSTEM, "renameat2", "open", "os.open", "file.write", "file.flush", "file.close"}
    for foreign in (False, True):
        scene.put()
        if foreign:
            scene.add_foreign()
        calls = export(scene.argv("2"), At(names).set).calls
        for number, code in some([(number, code) for number in range(1, len(calls) + 1) for code in ERRNOS], share):
            scene.put()
            if foreign:
                scene.add_foreign()
            outcome = export(scene.argv("2"), At(names, number, failing(code)).set)
            call = calls[number - 1]
            judge_fault(scene, row, outcome, call, f"{errno.errorcode[code]} at call {number} of {len(calls)}, {call}, "
                                                   f"foreign files: {foreign}")
            if foreign and not scene.foreign_is_whole:
                row.count("neither release", f"{call}: a file of the user's is lost")
    return row


def judge_fault(scene, row, outcome, call, what):
    """After a call failed: done or refused, the former or the new release, nothing left over."""
    row.tried += 1
    there = scene.judge(row, what)
    if not outcome.graceful:
        row.count("no sentence", f"{what}: {outcome.code} {outcome.text}")
    elif outcome.code == 0 and there == "1":
        row.count("done, but not there", what)
    else:
        row.count(f"{'refused' if outcome.code else 'done'}, {name_of(there)}")
    if scene.leftovers():
        row.count("left to the next export" if call in CLEANING else "leftover", f"{what}: {scene.leftovers()}")
        scene.heals(row, what)


@apart()
def failing_system_calls(folder, share):
    """The same by strace, which makes system calls fail that Python does not know of."""
    row = Row("each system call fails once, by strace", never=dict.fromkeys(FAULTS, 0))
    scene = Scene(folder)
    scene.put()
    calls = Counter(re.findall(r"^(\d+) +(\w+)\(", traced(scene, scene.argv("2"), TRACED)[1], re.M))
    most = {call: max(count for (_, name), count in calls.items() if name == call) for _, call in calls}
    cases = [(call, number, code) for call in sorted(most) for number in range(1, most[call] + 2) for code in ERRNOS]
    for call, number, code in some(cases, share, min(300, len(cases))):
        scene.put()
        name = errno.errorcode[code]
        outcome, log = traced(scene, scene.argv("2"), call, f"inject={call}:error={name}:when={number}")
        what = f"{name} at {call} {number}"
        if "(INJECTED)" in log:
            judge_fault(scene, row, outcome, call, f"{what}: {re.findall('.*INJECTED.*', log)[:1]}")
        elif outcome.code != 0 or scene.side() != "2":
            row.count("next export fails", f"{what} was not reached: {outcome}")
    return row


def traced(scene, argv, trace, *more):
    """Run the command under strace from its first line on; gives its outcome and the log."""
    if not shutil.which("strace"):
        raise Missing("strace is missing: install it to have system calls fail and to see fsync.")
    gate, log = Gate(), scene.root / "strace.log"
    with Child(argv, gate=gate) as child:
        tracer = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "4096", "-p", str(child.pid), "-o", str(log), "-e", f"trace={trace}",
             *(part for option in more for part in ("-e", option))], stderr=subprocess.PIPE, text=True)
        try:
            line = tracer.stderr.readline() if select.select([tracer.stderr], [], [], 20)[0] else "no answer"
            if "attached" not in line:
                raise Missing(f"strace cannot be used here: {line.strip()}")
            gate.open()
            outcome = child.wait()
            tracer.wait(20)
        finally:
            tracer.kill()
            tracer.communicate()
    return outcome, log.read_text(errors="replace")


# Disks that are full, or become so.

@apart()
def file_size_limit(folder, share):
    """RLIMIT_FSIZE, at sizes from nothing to more than the largest file."""
    row = Row("files may not grow larger (RLIMIT_FSIZE)", never=dict.fromkeys(FAULTS, 0))
    scene = Scene(folder)
    largest = max(path.stat().st_size for path in scene.clean["2"].iterdir())
    for index in some(range(20), share):
        scene.put()
        size = largest * index * 21 // (20 * 20)
        outcome = export(scene.argv("2"), lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
        judge_fault(scene, row, outcome, "write", f"{size} of {largest} bytes")
    return row


@apart()
def full_disks(folder, share):
    """Disks with too little space, which is noticed before anything is written, and with enough of it."""
    row = Row("disk too small (tmpfs)", never=dict.fromkeys(
        (*FAULTS, "free space not named", "something was written", "refused with room enough"), 0))
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


@apart()
def filling_disks(folder, share):
    """Disks that become full during an export, whatever was free when it began; and disks without inodes."""
    row = Row("disk fills up while it is written (tmpfs)", never=dict.fromkeys(FAULTS, 0))
    own_mounts()
    scene = Scene(folder, folder / "disk" / "place" / "export")
    hog = folder / "disk" / "hog"
    with disk(folder / "disk", "size=64m"):
        scene.put()
        calls = export(scene.argv("2"), At(WRITES | COMMIT).set).calls
        for number in some(range(1, len(calls) + 1), share, 40):
            hog.unlink(missing_ok=True)
            scene.put()
            outcome = export(scene.argv("2"), At(WRITES | COMMIT, number, lambda _, real: _fill(hog, real)).set)
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


# Folders that are none, or of another kind.

ODD = ("neither release", "no sentence", "done, but not there", "file of the user's lost", "leftover")


@apart()
def mounted(folder, share):
    """A read-only file system, and mount points in the place of the release folder."""
    row = Row("release folder is a mount point, or read-only", never=dict.fromkeys((*ODD, "refused without need"), 0))
    own_mounts()
    scene, home = Scene(folder), folder / "home"
    for kind in (_read_only_disk, _mount_point, _bound_folder):
        for former in (None, "1"):
            with suppress(FileExistsError):
                home.mkdir()
            with kind(home) as target:
                if former:
                    shutil.copytree(scene.clean[former], target, dirs_exist_ok=True)
                if kind is _read_only_disk:
                    mount("-o", "remount,ro", target.parent)
                outcome = judge_place(scene, row, home, target, former, kind.__name__)
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
    """Of the same device, so that nothing but EBUSY tells."""
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
             _foreign_hidden_folder, _no_folder, _long_name, _strange_name, _with_dots, _write_protected_files,
             _folder_of_checkpoints)


@apart()
def odd_places(folder, share):
    """Links, FIFOs, files and folders in the place of others; another device; the current directory."""
    row = Row("odd release folders", never=dict.fromkeys((*ODD, "refused without need", "current directory lost"), 0))
    scene = Scene(folder)
    for place in some(PLACES, share, max(len(PLACES), 3 / share)):
        home = Path(tempfile.mkdtemp(dir=folder))
        target = place(home, lambda path: shutil.copytree(scene.clean["1"], path))
        outcome = judge_place(scene, row, home, target, scene.side(target), place.__name__)
        if outcome.code and place in MUST_WORK:
            row.count("refused without need", f"{place.__name__}: {outcome.text}")
    for former in (None, "1"):
        _other_device(scene, row, former)
        _current_directory(scene, row, former)
    return row


def _other_device(scene, row, former):
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == scene.root.stat().st_dev:
        raise Missing("/dev/shm is no other device than the temporary folder: set TMPDIR to one on a disk.")
    home = Path(tempfile.mkdtemp(dir=shm))
    try:
        if former:
            shutil.copytree(scene.clean[former], home / "export")
        if judge_place(scene, row, home, home / "export", former, "_other_device").code:
            row.count("refused without need", "another device")
        link = Path(tempfile.mkdtemp(dir=scene.root)) / "link"
        link.symlink_to(home / "export")
        here_again = scene.side(home / "export")
        judge_place(scene, row, link.parent, link, here_again, "link to another device", side="1")
        if not link.is_symlink():
            row.count("file of the user's lost", "link to another device")
    finally:
        shutil.rmtree(home)


def _current_directory(scene, row, former):
    home = Path(tempfile.mkdtemp(dir=scene.root))
    for target, given in (home / "export", "."), (home / "other", "../other"):
        target.mkdir()
        if former:
            shutil.copytree(scene.clean[former], target, dirs_exist_ok=True)
        outcome = judge_place(scene, row, home, target, former, f"current directory, as {given}", given=given,
                              prepare=lambda target=target: os.chdir(target))
        if outcome.code:
            row.count("refused without need", f"current directory, as {given}: {outcome.text}")
        if not {*FILES, MANIFEST} <= set(outcome.here):
            row.count("current directory lost", f"as {given}, former {former}: it holds {outcome.here}")


def judge_place(scene, row, home, target, former, what, side="2", given=None, prepare=lambda: None):
    """Export to a place and see that it worked or was refused, and that nothing else there has changed."""
    before = _contents(home)
    outcome = export(scene.argv(side, given or target), prepare, 10)
    after, there = _contents(home), scene.side(target)
    row.tried += 1
    if not outcome.graceful:
        row.count("no sentence", f"{what}: {outcome.code} {outcome.text}")
    elif outcome.code == 0 and there != side:
        row.count("done, but not there", what)
    else:
        row.count("refused" if outcome.code else "done")
    if there not in (former, side):
        row.count("neither release", f"{what}: {there}")
    for path in before:
        if before[path] != after.get(path) and (outcome.code or before[path][0] == "folder"
                                                or not _is_final(path, target)):
            row.count("file of the user's lost", f"{what}: {path}, {before[path]} is {after.get(path)}")
    if any(os.path.basename(path).startswith(".export-") for path in after.keys() - before.keys()):
        row.count("leftover", f"{what}: {sorted(after.keys() - before.keys())}")
    return outcome


def _is_final(path, target):
    """Whether a path is the place of a file of the release, which an export may replace."""
    home, name = os.path.split(path)
    return name in (*FILES, MANIFEST) and os.path.isdir(target) and os.path.samefile(home, target)


def _contents(home):
    """What there is: kind and content of each path."""
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


# Permissions.

def read_only(folder, share=1.0):
    """Folders that the user may not write to."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    try:
        folder.chmod(0o755)
        return _read_only(folder, share)
    finally:
        shutil.rmtree(folder)


@apart()
def _read_only(folder, share):
    row = Row("folder that may not be written", never=dict.fromkeys((*ODD, "refused without need"), 0))
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
    """Set permissions; root gives the folder to nobody, too."""
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


@apart()
def permissions(folder, share):
    """The umask decides; a folder that was there keeps its own."""
    row = Row("permissions", never=dict.fromkeys(("not by the umask", "folder changed", "error"), 0))
    scene = Scene(folder)
    for umask in (0o022, 0o002, 0o077):
        for kind in ("new", "former", "foreign"):
            home = Path(tempfile.mkdtemp(dir=folder))
            target = home / "a" / "export"
            if kind != "new":
                shutil.copytree(scene.clean["1"], target)
                target.chmod(0o2750)
            if kind == "foreign":
                (target / "mine.txt").write_text("mine")
            outcome = export(scene.argv("2", target), lambda umask=umask: os.umask(umask))
            row.tried += 1
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


# Durability.

@apart()
def synced(folder, share):
    """What was not fsynced in the right order, as strace shows it: a list of sentences, empty if all was."""
    scene = Scene(folder)
    return [complaint for kind in ("new", "former", "foreign") for complaint in _unsynced(scene, kind)]


def durable(folder, share=1.0):
    """Files before their names, names before the end."""
    row = Row("fsync of files and folders", tried=3, never={"not durable": 0})
    for complaint in synced(folder, share):
        row.count("not durable", complaint)
    return row


def _unsynced(scene, kind):
    if kind == "new":
        shutil.rmtree(scene.folder.parent, ignore_errors=True)
    else:
        scene.put()
    if kind == "foreign":
        scene.add_foreign()
    _, log = traced(scene, scene.argv("2"), "/^(fsync|fdatasync|rename.*)$")
    events = list(_events(log))
    whole = [index for index, (call, *paths) in enumerate(events) if call == "rename" and str(scene.folder) in paths]
    if scene.side() != "2":
        yield f"{kind}: not released"
    elif whole:
        yield from _unsynced_folder(scene.folder, kind, events, whole[0])
    else:
        yield from _unsynced_files(scene.folder, kind, events)
    if kind == "new" and ("fsync", str(scene.root)) not in events:
        yield f"{kind}: the folder is new, and the one that it was made in is not synced"


def _events(log):
    """The calls in their order: ("fsync", path) and ("rename", from, to)."""
    for line in log.splitlines():
        synced_path = re.search(r"f(?:data)?sync\(\d+<(.*?)>", line)
        names = re.findall(r'(?:<([^<>]*)>, )?"((?:[^"\\]|\\.)*)"', line)
        if synced_path:
            yield "fsync", synced_path[1]
        elif "rename" in line and len(names) == 2 and re.search(r"= 0$", line):
            yield ("rename", *(os.path.join(*pair) for pair in names))


def _unsynced_folder(folder, kind, events, commit):
    """The files, then the staged folder, then its name, then the parent."""
    stage = next(path for path in events[commit][1:] if path != str(folder))
    files = [os.path.join(stage, name) for name in (*FILES, MANIFEST)]
    for path in [*files, stage]:
        if ("fsync", path) not in events[:commit]:
            yield f"{kind}: {os.path.basename(path)} is not synced before it gets its name"
    if ("fsync", stage) in events and any(("fsync", path) in events[events.index(("fsync", stage)):] for path in files):
        last = max(index for index, event in enumerate(events[:commit]) if event == ("fsync", stage))
        if any(("fsync", path) in events[last:commit] for path in files):
            yield f"{kind}: the staged folder is synced before its files"
    if ("fsync", str(folder.parent)) not in events[commit:]:
        yield f"{kind}: {folder.parent.name} is not synced after the release got its name"


def _unsynced_files(folder, kind, events):
    """Each file, then its name, the manifest last, then the folder."""
    finals = {str(folder / name) for name in (*FILES, MANIFEST)}
    renames = [(index, event) for index, event in enumerate(events) if event[0] == "rename" and event[2] in finals]
    for index, (_, source, target) in renames:
        if ("fsync", source) not in events[:index]:
            yield f"{kind}: {os.path.basename(target)} is not synced before it gets its name"
    if {event[2] for _, event in renames} != finals or not renames[-1][1][2].endswith(MANIFEST):
        yield f"{kind}: the manifest is not the last of the files to get its name"
    elif ("fsync", str(folder)) not in events[renames[-1][0]:]:
        yield f"{kind}: the folder is not synced after the files got their names"


TRIALS = (killed_at_random, killed_at_each_call, killed_file_by_file, stopped, signals_at_random, signals_at_each_call,
          failing_calls, failing_system_calls, file_size_limit, full_disks, filling_disks, mounted, odd_places,
          read_only, permissions, durable)
