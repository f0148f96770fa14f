"""Check the order of fsync and rename in an strace log."""

import os
import re
import shutil

from .child import run_with_strace
from .scene import FILES, MANIFEST, Scene
from .trials import Row, isolated


@isolated()
def unsynced(folder, share):
    """Return the violations of the order of fsyncs in an strace log, as sentences."""
    scene = Scene(folder)
    return [complaint for kind in ("new", "previous", "foreign") for complaint in _unsynced(scene, kind)]


def durable(folder, share=1.0):
    """Check that files are flushed before their names, and names before the end."""
    row = Row("fsync of files and folders", attempts=3, violations={"not durable": 0})
    for complaint in unsynced(folder, share):
        row.count("not durable", complaint)
    return row


def _unsynced(scene, kind):
    if kind == "new":
        shutil.rmtree(scene.folder.parent, ignore_errors=True)
    else:
        scene.put()
    if kind == "foreign":
        scene.add_foreign()
    _, log = run_with_strace(scene, scene.argv("2"), "/^(fsync|fdatasync|rename.*)$")
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
    """Return the calls in order: ("fsync", path) and ("rename", from, to)."""
    for line in log.splitlines():
        synced_path = re.search(r"f(?:data)?sync\(\d+<(.*?)>", line)
        names = re.findall(r'(?:<([^<>]*)>, )?"((?:[^"\\]|\\.)*)"', line)
        if synced_path:
            yield "fsync", synced_path[1]
        elif "rename" in line and len(names) == 2 and re.search(r"= 0$", line):
            yield ("rename", *(os.path.join(*pair) for pair in names))


def _unsynced_folder(folder, kind, events, commit):
    """Check the order for a folder: files, staging folder, its rename, parent."""
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
    """Check the order for single files: each file, then its rename, the manifest last, then the folder."""
    finals = {str(folder / name) for name in (*FILES, MANIFEST)}
    renames = [(index, event) for index, event in enumerate(events) if event[0] == "rename" and event[2] in finals]
    for index, (_, source, target) in renames:
        if ("fsync", source) not in events[:index]:
            yield f"{kind}: {os.path.basename(target)} is not synced before it gets its name"
    if {event[2] for _, event in renames} != finals or not renames[-1][1][2].endswith(MANIFEST):
        yield f"{kind}: the manifest is not the last of the files to get its name"
    elif ("fsync", str(folder)) not in events[renames[-1][0]:]:
        yield f"{kind}: the folder is not synced after the files got their names"


TRIALS = (durable,)
