"""Run the command in a fork of a process that has imported the package, plain or under strace."""

import atexit
import io
import json
import mmap
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field

from . import inject
from .trials import Missing, one_sentence


@dataclass
class Outcome:
    """The result of a command.

    Args:
        code: exit code, or minus the signal that ended it; None if it was killed after a timeout.
        text: stderr.
        calls: names of the counted calls.
        here: contents of the current folder at the end.
    """

    code: int
    text: str = ""
    calls: list = field(default_factory=list)
    here: list = field(default_factory=list)

    @property
    def graceful(self):
        """Return whether the command succeeded, or refused with exit code 1 and one sentence."""
        return self.code == 0 or self.code == 1 and one_sentence(self.text)


class Gate:
    """A barrier at which processes wait until all may continue."""

    def __init__(self):
        self._read, self._write = os.pipe()

    def wait(self):
        os.close(self._write)
        os.read(self._read, 1)

    def open(self):
        os.close(self._write)
        os.close(self._read)


class Child:
    """A fork that runs the command; its output returns through shared memory, which faults do not affect."""

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

    def stopped(self, timeout=120):
        """Wait until the process has stopped itself; return False if it ended before."""
        return self._wait(timeout, os.WUNTRACED) and os.WIFSTOPPED(self._status)

    def wait(self, timeout=120):
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
    code, text = 70, io.StringIO()
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sys.stdout, sys.stderr = io.StringIO(), text
        if gate:
            gate.wait()
        prepare()
        _main()(argv)
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
    except BaseException:
        text.write(traceback.format_exc())
    finally:
        calls = inject.disarm()
        atexit._run_exitfuncs()
        here = []
        with suppress(OSError):  # this may be the call that fails
            here = os.listdir(".")
        report = json.dumps({"text": text.getvalue()[-20000:], "calls": calls, "here": here}).encode()
        said[:len(report)] = report
        os._exit(code)


def _main():
    from audiocraft_export.cli.main import main
    return main


def export(argv, prepare=lambda: None, timeout=120):
    with Child(argv, prepare) as child:
        return child.wait(timeout)


def run_here(argv):
    """Run the command in this process, so that forks have all imports already."""
    out, sys.stdout, err, sys.stderr = sys.stdout, io.StringIO(), sys.stderr, io.StringIO()
    try:
        _main()(argv)
    except SystemExit as exc:
        return exc.code
    finally:
        sys.stdout, sys.stderr = out, err


def run_with_strace(scene, argv, trace, *more):
    """Run the command under strace; return its outcome and the log."""
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
