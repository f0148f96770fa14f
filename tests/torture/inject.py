"""Inject faults into functions of the system: a wrapper lets one call fail, or sends a signal."""

import builtins
import ctypes
import io
import os
import pathlib
from functools import wraps

COMMIT = frozenset({"mkdir", "replace", "rename", "renameat2", "link", "unlink", "remove", "rmdir", "fsync"})
WRITES = frozenset({"mkdir", "open", "os.open", "write", "file.write", "file.flush"})
SYSTEM = ("mkdir", "replace", "rename", "link", "symlink", "unlink", "remove", "rmdir", "fsync", "fdatasync", "write",
          "close", "chmod", "statvfs", "scandir", "listdir", "ftruncate")
CLEANING = frozenset({"unlink", "remove", "rmdir", "unlinkat", "close", "open", "os.open", "openat", "file.close",
                      "scandir", "listdir"})
_hook = None


class Injection:
    """Replaces one call, by its number among the calls with certain names.

    Args:
        names: names of the calls that are counted.
        number: number of the replaced call, from 1; 0 only counts the calls.
        act: called with the name and the original call.
    """

    def __init__(self, names, number=0, act=None):
        self.names, self.number, self.act, self.calls = names, number, act, []

    def __call__(self, name, real):
        if name not in self.names:
            return real()
        self.calls.append(name)
        return self.act(name, real) if len(self.calls) == self.number else real()

    def arm(self):
        global _hook
        _hook = self


def disarm():
    """Let all calls pass; return the names of the counted calls."""
    global _hook
    calls, _hook = _hook.calls if _hook else [], None
    return calls


def _intercept(name, real):
    return _hook(name, real) if _hook else real()


def wrap_system_calls():
    """Wrap the functions, before the package is imported."""
    for name in SYSTEM:
        _wrap(name, name)
    _wrap("open", "os.open")
    real_open = builtins.open
    builtins.open = io.open = wraps(real_open)(lambda *args, **kwargs: _open(real_open, *args, **kwargs))
    ctypes.CDLL = _Library
    ctypes.cdll = ctypes.LibraryLoader(_Library)


def _wrap(attribute, name):
    real = getattr(os, attribute)

    @wraps(real)
    def call(*args, **kwargs):
        return _intercept(name, lambda: real(*args, **kwargs))
    setattr(os, attribute, call)
    for known in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if real in known:
            known.add(call)
    accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.9 and 3.10 also have them in this module
    if getattr(accessor, attribute, None) is real:
        setattr(accessor, attribute, staticmethod(call))


def _open(real, *args, **kwargs):
    if not _hook:
        return real(*args, **kwargs)
    stream = _intercept("open", lambda: real(*args, **kwargs))
    return _Stream(stream) if set(stream.mode) & set("wxa+") else stream


class _Stream:
    def __init__(self, stream):
        self._stream = stream

    def write(self, data):
        return _intercept("file.write", lambda: self._stream.write(data))

    def flush(self):
        return _intercept("file.flush", self._stream.flush)

    def close(self):
        return _intercept("file.close", self._stream.close)

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
    """A fake `renameat2` of the C library, which fails with -1 and errno."""

    def __init__(self, function):
        vars(self)["_function"] = function

    def __call__(self, *args):
        try:
            return _intercept("renameat2", lambda: self._function(*args))
        except OSError as exc:
            ctypes.set_errno(exc.errno)
            return -1

    def __getattr__(self, name):
        return getattr(self._function, name)

    def __setattr__(self, name, value):
        setattr(self._function, name, value)


def failing(number):
    """Return an action that lets the call fail."""
    def act(name, real):
        if name.endswith("close"):
            real()
        raise OSError(number, os.strerror(number))
    return act


def sending(number, after=False):
    """Return an action that sends a signal to the process, before or after the call."""
    def act(_, real):
        if after:
            result = real()
            os.kill(os.getpid(), number)
            return result
        os.kill(os.getpid(), number)
        return real()
    return act
