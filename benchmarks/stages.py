"""Where the processor time of an export goes, by stage."""

import hashlib
import os
import threading
import time
from collections import Counter
from contextlib import contextmanager
from unittest.mock import patch

from audiocraft_export.checkpoint import nonfinite
from audiocraft_export.pipeline import execute
from audiocraft_export.storage import lazy_bytes, read_back

STAGES = ("read", "CRC", "NaN/inf", "hash", "write", "fsync", "digest", "other")
_spent = Counter()
_sha256 = hashlib.sha256
_inside = threading.local()  # a stage that calls another one counts for both otherwise


class _Sha256:
    def __init__(self):
        self._hash = _sha256()
        self.update, self.hexdigest = _timed("hash", self._hash.update), self._hash.hexdigest


def seconds_by_stage(do, *args):
    """Return the processor seconds of all threads in each stage of a call."""
    _spent.clear()
    with _counted():
        before = time.process_time()
        do(*args)
        total = time.process_time() - before
    return [*(_spent[stage] for stage in STAGES[:-1]), total - sum(_spent.values())]


@contextmanager
def _counted():
    """Count the time of the functions in which an export spends it."""
    crc = _timed("CRC", lazy_bytes.crc32)
    with patch.object(os, "pread", _timed("read", os.pread)), patch.object(os, "write", _timed("write", os.write)), \
            patch.object(os, "fsync", _timed("fsync", os.fsync)), \
            patch.object(lazy_bytes, "crc32", crc), patch.object(read_back, "crc32", crc), \
            patch.object(nonfinite, "nonfinite", _timed("NaN/inf", nonfinite.nonfinite)), \
            patch.object(execute, "release_digest", _timed("digest", execute.release_digest)), \
            patch.object(hashlib, "sha256", _Sha256):
        yield


def _timed(stage, function):
    def timed(*args, **keywords):
        if getattr(_inside, "stage", None):
            return function(*args, **keywords)
        _inside.stage, began = stage, time.thread_time()
        try:
            return function(*args, **keywords)
        finally:
            _spent[stage] += time.thread_time() - began
            _inside.stage = None
    return timed
