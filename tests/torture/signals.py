"""SIGTERM and Ctrl-C at any point of an export."""

import random
import shutil
import signal
import subprocess
import sys
import time

from .child import Outcome, export
from .inject import COMMIT, Injection, sending
from .scene import Scene, name_of
from .trials import Row, amount, environment, isolated, some

SIGNALS = {signal.SIGTERM: ("SIGTERM", {143, -15}), signal.SIGINT: ("Ctrl-C", {130, -2})}
VIOLATIONS = ("neither release", "half a file", "leftover", "traceback", "other exit code", "done, but not there")


@isolated(floats=1 << 22)
def signals_at_random(folder, share):
    """Send signals to the real command at random times after it began to write."""
    row = Row.of("SIGTERM and Ctrl-C at a random moment", *VIOLATIONS)
    scene, chance = Scene(folder), random.Random()
    scene.put()
    duration = min(_run_and_signal(scene, side, None, 0)[1] for side in "21")
    for number in [number for number in SIGNALS for _ in range(amount(20, share))]:
        previous = scene.side()
        if previous is None:
            scene.put("1")
            previous = "1"
        side = "2" if previous == "1" else "1"
        delay = chance.uniform(0, 1.2 * duration)
        outcome, _ = _run_and_signal(scene, side, number, delay)
        _judge_signal(scene, row, outcome, number, previous, f"{SIGNALS[number][0]} after {delay:.2f} s")
    return row


def _run_and_signal(scene, side, number, delay):
    """Run the command, and send a signal some time after it began to write; return how long it wrote."""
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


@isolated()
def signals_at_each_call(folder, share):
    """Send signals before every call that changes a folder."""
    row = Row.of("SIGTERM and Ctrl-C at each call of the commit", *VIOLATIONS)
    scene = Scene(folder)
    for foreign in (False, True):
        scene.put()
        calls = export(scene.argv("2"), Injection(COMMIT).arm).calls
        for number, call in some([(number, call) for number in SIGNALS for call in range(1, len(calls) + 1)], share):
            scene.put()
            if foreign:
                scene.add_foreign()
            outcome = export(scene.argv("2"), Injection(COMMIT, call, sending(number)).arm)
            _judge_signal(scene, row, outcome, number, "1", f"{SIGNALS[number][0]} before call {call} of {len(calls)},"
                                                            f" {calls[call - 1]}, foreign files: {foreign}")
    return row


def _judge_signal(scene, row, outcome, number, previous, what):
    name, codes = SIGNALS[number]
    row.attempts += 1
    there = scene.judge(row, what)
    if scene.leftovers():
        row.count("leftover", f"{what}: {scene.leftovers()}")
        for path in scene.leftovers():
            shutil.rmtree(path)
    if "Traceback" in outcome.text:
        row.count("traceback", f"{what}: {outcome.text}")
    if outcome.code in codes:
        row.count(f"{name}: {outcome.code}, {name_of(there, previous)}")
    elif outcome.code != 0:
        row.count("other exit code", f"{what}: {outcome}")
    elif there == previous:
        row.count("done, but not there", f"{what}: {outcome}")
    else:
        row.count(f"{name}: 0, new")


TRIALS = (signals_at_random, signals_at_each_call)
