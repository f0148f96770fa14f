"""Run work in a second thread: in order, completely, and with its errors raised."""

import hashlib
import json
import os
from textwrap import dedent

import pytest
from helpers import SIG, run_python

from audiocraft_export.storage.durable_file import write_durable
from audiocraft_export.storage.threads import background, map_two


def test_a_second_thread_does_all_items_in_order():
    done = []
    with background(done.append) as take:
        for number in range(100):
            take(number)
    assert done == list(range(100))


def test_an_error_in_the_second_thread_is_raised():
    with pytest.raises(ZeroDivisionError), background(lambda number: 1 // number) as take:
        for number in (1, 0, 1, 1):
            take(number)
    with pytest.raises(ZeroDivisionError):
        map_two(lambda number: 1 // number, [1, 0], print)


INTERRUPTED = """
    import faulthandler, random, signal, time
    from audiocraft_export.storage.threads import background, map_two
    faulthandler.dump_traceback_later(60, exit=True)
    def stop(*_): raise SystemExit
    signal.signal(signal.SIGALRM, stop)
    stopped = 0
    while stopped < 1000:
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, 1e-3), 0.1)  # again: a destructor swallows one
            {work}
        except SystemExit:
            stopped += 1
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("all of them")
"""


@pytest.mark.parametrize("work", [
    "with background(len) as take: [take(b'') for _ in iter(int, 1)]",
    "[map_two(time.sleep, [0, 1e-6, 0, 0], str) for _ in iter(int, 1)]"], ids=["background", "two threads"])
def test_a_signal_at_any_step_of_the_work_of_two_threads_ends_it(tmp_path, work):
    result = run_python("-c", dedent(INTERRUPTED).format(work=work), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "all of them\n"), result.stderr


def test_a_file_is_hashed_as_on_the_disk(tmp_path):
    pieces = [os.urandom(size) for size in (1, 1 << 16, 3, (1 << 18) + 1, 0, 70_000, 5)]
    file = write_durable(tmp_path / "file", lambda stream: [*map(stream.write, pieces)])
    written = (tmp_path / "file").read_bytes()
    assert written == b"".join(pieces) and file.bytes == len(written)
    assert file.sha256 == hashlib.sha256(written).hexdigest()


def test_an_export_works_while_the_process_ends(make_xp, tmp_path):
    folder = make_xp()
    code = f"import atexit, audiocraft_export as a; atexit.register(a.export_xp, {SIG!r}, 'outputs')"
    result = run_python("-c", code, cwd=tmp_path)
    assert result.returncode == 0 and not result.stderr
    assert json.loads((folder / "export" / "export.json").read_text())["sig"] == SIG
