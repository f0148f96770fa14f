"""Inject each error into each system call once."""

import errno
import re
from collections import Counter

from .child import export, run_with_strace
from .inject import CLEANING, SYSTEM, Injection, failing
from .scene import Scene, name_of
from .trials import Row, isolated, some

ERRNOS = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT)
TRACED = "/^(write|fsync|close|rename.*|mkdir.*|openat|unlink.*|rmdir)$"
FAULTS = ("neither release", "half a file", "no sentence", "done, but not there", "leftover", "next export fails",
          "leftover after the next")


@isolated()
def failing_calls(folder, share):
    """Let each call fail once with each error."""
    row = Row.of("each call of the system fails once", *FAULTS)
    scene = Scene(folder)
    names = {*SYSTEM, "renameat2", "open", "os.open", "file.write", "file.flush", "file.close"}
    for foreign in (False, True):
        scene.put()
        if foreign:
            scene.add_foreign()
        calls = export(scene.argv("2"), Injection(names).arm).calls
        for number, code in some([(number, code) for number in range(1, len(calls) + 1) for code in ERRNOS], share):
            scene.put()
            if foreign:
                scene.add_foreign()
            outcome = export(scene.argv("2"), Injection(names, number, failing(code)).arm)
            call = calls[number - 1]
            judge_fault(scene, row, outcome, call, f"{errno.errorcode[code]} at call {number} of {len(calls)}, {call}, "
                                                   f"foreign files: {foreign}")
            if foreign and not scene.foreign_is_whole:
                row.count("neither release", f"{call}: a file of the user's is lost")
    return row


def judge_fault(scene, row, outcome, call, what):
    """Check after a failed call: success or refusal, the previous or the new release, no leftovers."""
    row.attempts += 1
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


@isolated()
def failing_system_calls(folder, share):
    """Inject errors with strace into system calls that Python does not wrap."""
    row = Row.of("each system call fails once, by strace", *FAULTS)
    scene = Scene(folder)
    scene.put()
    calls = Counter(re.findall(r"^(\d+) +(\w+)\(", run_with_strace(scene, scene.argv("2"), TRACED)[1], re.M))
    most = {call: max(count for (_, name), count in calls.items() if name == call) for _, call in calls}
    cases = [(call, number, code) for call in sorted(most) for number in range(1, most[call] + 2) for code in ERRNOS]
    for call, number, code in some(cases, share, min(300, len(cases))):
        scene.put()
        name = errno.errorcode[code]
        outcome, log = run_with_strace(scene, scene.argv("2"), call, f"inject={call}:error={name}:when={number}")
        what = f"{name} at {call} {number}"
        if "(INJECTED)" in log:
            judge_fault(scene, row, outcome, call, f"{what}: {re.findall('.*INJECTED.*', log)[:1]}")
        elif outcome.code != 0 or scene.side() != "2":
            row.count("next export fails", f"{what} was not reached: {outcome}")
    return row


TRIALS = (failing_calls, failing_system_calls)
