"""SIGKILL at any point of an export, and an export that is stopped while another one runs."""

import random
import shutil
import signal
import time

from .child import Child, export
from .inject import COMMIT, Injection, sending
from .scene import Scene, name_of
from .trials import Row, amount, isolated, some

VIOLATIONS = ("neither release", "half a file", "next export fails", "leftover after the next")


@isolated()
def killed_at_random(folder, share):
    """Send SIGKILL at random times, from the start of an export to shortly after its end."""
    row = Row.of("SIGKILL at a random moment", *VIOLATIONS)
    scene, chance = Scene(folder), random.Random()
    scene.put("1")
    duration = sorted(_seconds(scene, side) for side in "21212")[2]
    for number in range(amount(300, share)):
        previous = scene.side()
        if previous is None:
            scene.put("1")
            previous = "1"
        with Child(scene.argv("2" if previous == "1" else "1")) as child:
            delay = chance.uniform(0, 1.2 * duration)
            time.sleep(delay)
            child.kill()
            outcome = child.wait()
        what = f"trial {number}, {delay:.3f} of {duration:.3f} s"
        row.attempts += 1
        there = scene.judge(row, what)
        if outcome.code == 0:
            row.count("finished before")
            _remove_leftovers(row, scene, what)
        else:
            row.count(name_of(there, previous) + (", staged" if scene.leftovers() else ""))
    scene.heals(row, "at the end")
    return row


def _seconds(scene, side):
    begin = time.monotonic()
    export(scene.argv(side))
    return time.monotonic() - begin


def _remove_leftovers(row, scene, what):
    for path in scene.leftovers():
        row.count("leftover after the next", f"{what}: {path}")
        shutil.rmtree(path)


@isolated()
def killed_at_each_call(folder, share):
    """Send SIGKILL before and after every call that changes a folder."""
    row = Row.of("SIGKILL at each call of the commit", *VIOLATIONS)
    scene = Scene(folder)
    for what in _kill_at_each(scene, row, share):
        row.count(name_of(scene.judge(row, what)))
        scene.heals(row, what)
    return row


@isolated()
def killed_file_by_file(folder, share):
    """Kill an export that replaces files one by one, next to files of the user; the next export repairs it."""
    row = Row.of(
        "SIGKILL at each call of a commit file by file", "half a file", "file of the user's lost",
        "next export fails", "leftover after the next")
    scene = Scene(folder)
    for what in _kill_at_each(scene, row, share, scene.add_foreign):
        for name in scene.halves():
            row.count("half a file", f"{what}: {name}")
        row.count(name_of(scene.side()))
        scene.heals(row, what)
        if not scene.foreign_is_whole:
            row.count("file of the user's lost", what)
    return row


def _kill_at_each(scene, row, share, more=lambda: None):
    """Kill an export at each of its calls, always with the same previous release; yield the calls."""
    scene.put()
    more()
    calls = export(scene.argv("2"), Injection(COMMIT).arm).calls
    for number, after in some([(number, after) for number in range(1, len(calls) + 1) for after in (0, 1)], share):
        scene.put()
        more()
        hook = Injection(COMMIT, number, sending(signal.SIGKILL, after))
        if export(scene.argv("2"), hook.arm).code == -signal.SIGKILL:
            row.attempts += 1
            yield f"{'after' if after else 'before'} call {number} of {len(calls)}, {calls[number - 1]}"


@isolated()
def stopped(folder, share):
    """Stop an export at any call: another export loses nothing, and the stopped one can continue."""
    row = Row.of(
        "stopped while another one exports there", "staging of a living one removed", "error",
        "no whole release", "leftover")
    scene = Scene(folder)
    for previous in (None, "1"):
        _prepare(scene, previous)
        calls = export(scene.argv("2"), Injection(COMMIT).arm).calls
        for number in some(range(1, len(calls) + 1), share):
            _prepare(scene, previous)
            _stop_and_export(scene, row, number, f"previous {previous}, stopped before call {number} of {len(calls)}, "
                                      f"{calls[number - 1]}")
    return row


def _prepare(scene, previous):
    scene.put(previous or "1")
    if not previous:
        shutil.rmtree(scene.folder)


def _stop_and_export(scene, row, number, what):
    with Child(scene.argv("2"), Injection(COMMIT, number, sending(signal.SIGSTOP)).arm) as child:
        if not child.stopped():
            return
        row.attempts += 1
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


TRIALS = (killed_at_random, killed_at_each_call, killed_file_by_file, stopped)
