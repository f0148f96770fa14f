"""Run work in a second thread: in order, completely, and with its errors raised."""

import json
from contextlib import nullcontext
from functools import partial
from queue import SimpleQueue
from textwrap import dedent
from threading import Timer

import pytest
from helpers import SIG, run_python

from audiocraft_export.storage.threads import background


def test_a_second_thread_runs_all_tasks_in_order():
    done = []
    with background() as later:
        for number in range(100):
            later(partial(done.append, number))
    assert done == list(range(100))


def test_an_error_in_the_second_thread_is_raised_and_ends_its_work():
    done = []
    with pytest.raises(ZeroDivisionError), background() as later:
        for number in (1, 0, 1, 1):
            later(lambda number=number: done.append(1 // number))
    assert done == [1]


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_a_second_thread_that_need_not_finish_stops_after_the_current_task(error):
    started, goes_on, done = SimpleQueue(), SimpleQueue(), []

    def first():
        started.put(None)
        done.append(goes_on.get())

    with pytest.raises(error) if error else nullcontext(), background(finish=bool(error)) as later:
        later(first)
        later(partial(done.append, "second"))
        started.get()
        Timer(0.05, goes_on.put, ["first"]).start()
        if error:
            raise error
    assert done == ["first"]


INTERRUPTED = """
    import faulthandler, random, signal, time
    from functools import partial
    from audiocraft_export.storage.threads import background
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
    "with background() as later: [later(int) for _ in iter(int, 1)]",
    "while True: exec('with background() as later: [later(partial(time.sleep, 1e-6)) for _ in range(4)]')"],
    ids=["tasks", "threads"])
def test_a_signal_at_any_step_of_the_work_of_two_threads_ends_it(tmp_path, work):
    result = run_python("-c", dedent(INTERRUPTED).format(work=work), cwd=tmp_path)
    assert (result.returncode, result.stdout) == (0, "all of them\n"), result.stderr


def test_an_export_works_while_the_process_ends(make_xp, tmp_path):
    folder = make_xp()
    code = f"import atexit, audiocraft_export as a; atexit.register(a.export_xp, {SIG!r}, 'outputs')"
    result = run_python("-c", code, cwd=tmp_path)
    assert result.returncode == 0 and not result.stderr
    assert json.loads((folder / "export" / "export.json").read_text())["sig"] == SIG
