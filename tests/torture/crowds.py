"""Many processes that export at the same time, to one folder or to neighboring folders.

They start at the same time, or move their files into place at the same time.
"""

import shutil
import signal
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from .child import Child, Gate, run_here
from .inject import Injection, sending
from .scene import FILES, MANIFEST, Scene, release_checksums, sha256
from .trials import Row, amount, isolated

CROWD = 8
SIDES = "12345678"
SMALL = 1 << 17  # number of values in a model
VIOLATIONS = ("no whole release", "error", "leftover", "other file in the folder")
MIXED = (["--dtype", "float16"], ["--dtype", "bfloat16"], ["--dtype", "float32"], ["--weights", "last"],
         ["--weights", "ema"], ["--weights", "last", "--dtype", "float16"], ["--codec", "none"], [])


@isolated(floats=SMALL)
def same_folder(folder, share):
    """Export the same experiment to one folder: empty, with the same release, another one, or files of the user."""
    row = Row.of(f"{CROWD} processes export the same XP to one folder", *VIOLATIONS, "file of the user's lost")
    scene = Scene(folder)
    for number, kind in zip(range(amount(20, share)), cycle(("new", "other", "foreign", "same"))):
        scene.put("2" if kind == "same" else "1")
        if kind == "new":
            shutil.rmtree(scene.folder)
        elif kind == "foreign":
            scene.add_foreign()
        what = f"round {number}, {kind}"
        _judge_all(row, together([scene.argv("2")] * CROWD, number // 4 % 2), what)
        if scene.side() != "2":
            row.count("no whole release", f"{what}: {scene.side()}")
        if kind == "foreign" and not scene.foreign_is_whole:
            row.count("file of the user's lost", what)
        _judge_folder(row, scene.folder, {"notes", "card.md"} if kind == "foreign" else set(), what)
    return row


@isolated(floats=SMALL, sides=SIDES)
def own_folders(folder, share):
    """Export different experiments to neighboring folders."""
    row = Row.of(f"{CROWD} processes export {CROWD} XPs to {CROWD} folders", *VIOLATIONS)
    scene = Scene(folder, sides=SIDES)
    for number, kind in zip(range(amount(20, share)), cycle(("new", "other", "same"))):
        shutil.rmtree(scene.folder.parent, ignore_errors=True)
        places = {side: scene.folder.parent / side for side in SIDES}
        for side, place in places.items():
            if kind != "new":
                shutil.copytree(scene.clean[side if kind == "same" else SIDES[SIDES.index(side) - 1]], place)
        what = f"round {number}, {kind}"
        _judge_all(row, together([scene.argv(side, place) for side, place in places.items()], number // 3 % 2), what)
        for side, place in places.items():
            if scene.side(place) != side:
                row.count("no whole release", f"{what}: {side} has {scene.side(place)}")
            _judge_folder(row, place, set(), what)
        if {path.name for path in scene.folder.parent.iterdir()} != set(SIDES):
            row.count("other file in the folder", f"{what}: {sorted(scene.folder.parent.iterdir())}")
    return row


@isolated(floats=SMALL)
def mixed_folder(folder, share):
    """Export different options and experiments to one folder: the last release wins, completely."""
    row = Row.of(f"{CROWD} processes export different releases to one folder", *VIOLATIONS, "mixture")
    scene = Scene(folder)
    wanted = [("12"[index % 2], options) for index, options in enumerate(MIXED)]
    possible = [_alone(scene, side, options, index) for index, (side, options) in enumerate(wanted)]
    for number, previous in zip(range(amount(20, share)), cycle((None, "1"))):
        scene.put("1")
        if not previous:
            shutil.rmtree(scene.folder)
            scene.folder.mkdir()
        name = f"round {number}, previous {previous}"
        _judge_all(row, together([scene.argv(side, None, *options) for side, options in wanted], number // 2 % 2),
                   name)
        there = release_checksums(scene.folder)
        if there not in possible:
            row.count("mixture" if there else "no whole release", f"{name}: {there}")
        _judge_folder(row, scene.folder, set(), name)
        there = there or {}
        found = {path.name: sha256(path) for path in scene.folder.glob("*.bin")}
        if found != there:
            row.count("mixture", f"{name}: {sorted(found)}, but the manifest has {sorted(there)}")
    return row


def _alone(scene, side, options, index):
    place = scene.root / "alone" / str(index)
    if run_here(scene.argv(side, place, *options)):
        raise RuntimeError(f"An export with {options} does not work at all.")
    return release_checksums(place)


def together(commands, late=False):
    """Start one process per command, let all continue at the same time, and return their outcomes.

    Args:
        commands: one command per process.
        late: whether they wait before the first rename instead of at the start.
    """
    gate, hook = Gate(), Injection(("replace", "rename", "renameat2"), 1, sending(signal.SIGSTOP))
    with ExitStack() as stack:
        children = [stack.enter_context(Child(argv, hook.arm if late else lambda: None, gate)) for argv in commands]
        gate.open()
        end = time.monotonic() + 3
        there = [child for child in children if late and child.stopped(max(0.01, end - time.monotonic()))]
        for child in there:
            child.kill(signal.SIGCONT)
        return [child.wait(60) for child in children]


def _judge_all(row, outcomes, what):
    row.attempts += 1
    row.outcomes["exports"] = row.outcomes.get("exports", 0) + len(outcomes)
    for outcome in outcomes:
        if outcome.code != 0:
            row.count("error", f"{what}: {outcome.code} {outcome.text}")


def _judge_folder(row, folder, more, what):
    names = {path.name for path in Path(folder).iterdir()} if Path(folder).is_dir() else set()
    for home in (folder, folder.parent):
        if any(path.name.startswith(".export-") for path in home.iterdir()):
            row.count("leftover", f"{what}: {sorted(path.name for path in home.iterdir())}")
    foreign = {name for name in names if not name.startswith(".export-")} - {*FILES, MANIFEST} - more
    if foreign:
        row.count("other file in the folder", f"{what}: {foreign}")


TRIALS = (same_folder, own_folders, mixed_folder)
