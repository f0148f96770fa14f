"""No code execution: hostile pickles and containers, and a check that none of their code ran.

The exports run in a child process that has loaded torch and the package, watches all audit events of an export, and
has a folder with bait files as its current folder.
"""

import json
import os
import pickle
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import torch

import audiocraft_export

from .checkpoints import AROUND, BESIDE, RELEASED, Around, checkpoint, good_state, placed
from .containers import containers
from .payloads import CALLS, MARKER, NESTED, PAYLOADS, REAL, alone, named
from .trials import Row, environment, one_sentence

FEWEST = 60
LONGEST = 3000
PLACES = ("as the whole pickle", "as one of the weights", "as a value in xp.cfg", "as xp.sig", "in history",
          "in optimizer", "in an unknown key", "before a weight")
INTRUDERS = ("bait.same", "copy.copy", "builtins.eval", "builtins.str", "operator.itemgetter", "torch.nn.Parameter")


@dataclass
class Attempt:
    """A hostile file, and the expected result of its export.

    Args:
        what: the payload and its place.
        path: the path of the file.
        names: as `Payload.names`.
        released: whether the position of the payload is part of a release.
        good: the checkpoint without the payload, if it is not the usual one.
    """

    what: str
    path: Path
    names: Optional[tuple]
    released: bool
    good: Optional[Path] = None


def pickle_attempts(folder, share):
    """Return every payload at every position, or a share of them."""
    tries = [(name, where) for name, payload in PAYLOADS.items() for where in places(name, payload)]
    tries += [(name, where) for name in INTRUDERS for where in AROUND]
    for number, (name, where) in enumerate(sample(tries, share)):
        path = folder / f"{number}.th"
        if where in AROUND:
            checkpoint(path, placed(AROUND[where], lambda value, name=name: Around(named(name), value)))
            yield Attempt(f"{name} {where}", path, (name,), True)
        else:
            yield make_attempt(PAYLOADS[name], name, where, path)


def places(name, payload):
    """Return the positions for a payload; rare positions are skipped for payloads that only use another name."""
    released = () if payload.names is None else RELEASED
    return [where for where in (*released, *BESIDE) if name not in CALLS or where in PLACES]


def make_attempt(payload, name, where, path):
    place = {**RELEASED, **BESIDE}[where]
    checkpoint(path, placed(place, payload), payload.protocol)
    if payload.leaves is ... or where not in RELEASED:
        return Attempt(f"{name} {where}", path, payload.names, where in RELEASED)
    hashable = not isinstance(payload.leaves, dict) or where not in ("as a name in the weights", "as a key in xp.cfg")
    good = checkpoint(path.with_suffix(".good"), placed(place, payload.leaves)) if hashable else None
    return Attempt(f"{name} {where}", path, payload.names, False, good)


def sample(makers, share):
    """Return a share that is spread over all items, always the same one."""
    count = min(len(makers), max(FEWEST, round(len(makers) * share)))
    return makers if count == len(makers) else random.Random(0).sample(makers, count)


def container_attempts(folder, share):
    """Return every container, or a share of them."""
    for number, (what, made) in enumerate(sample(list(containers()), share)):
        data, names = made if isinstance(made, tuple) else (made, ("os.system|data.pkl|DATA.PKL|evil.pkl|.npy|.py",))
        path = folder / f"{number}.th"
        path.write_bytes(data)
        yield Attempt(what, path, names, False)


BAIT = f"""
open({MARKER!r}, 'w').close()
run = lambda *args: open({MARKER!r}, 'w').close()
same = lambda value: value
class Class: pass
"""
TRAPS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.putenv", "os.unsetenv",
         "os.kill", "os.startfile", "subprocess.Popen", "socket.", "ctypes.", "webbrowser.", "urllib.", "pty.",
         "pickle.find_class", "code.__new__", "function.__new__", "signal.", "sys.settrace", "sys.setprofile", "http.",
         "ftplib.", "smtplib.", "imaplib.", "poplib.", "telnetlib.", "sqlite3.", "builtins.input",
         "builtins.breakpoint", "compile", "_thread.start_", "cpython.run_", "gc.")
PATHS = ("shutil.", "tempfile.", "os.mkdir", "os.rename", "os.remove", "os.link", "os.symlink", "os.rmdir",
         "os.truncate", "os.chmod")
CODE_OF_OURS = tuple(str(Path(path).resolve()) for path in {os.path.dirname(os.__file__), sys.base_prefix, sys.prefix,
                                                           Path(audiocraft_export.__file__).parent.parent})
LIBRARIES = ("audiocraft_export", "omegaconf", "antlr4", "yaml", "encodings")
WATCHED = {name.rpartition(".")[0].split(".")[0] for name in CALLS} - {"torch", "omegaconf", "audiocraft_export"}


class Watch:
    """Watch for forbidden events during an export.

    Args:
        folder: the folder that the export may write to.
    """

    def __init__(self):
        self.folder, self.events = None, []
        self.modules = set(sys.modules)
        sys.addaudithook(self.see)

    def see(self, event, args):
        if self.folder is None:
            return
        folder, self.folder = self.folder, None  # this function itself may import and open files
        try:
            found = self.judge(event, args, str(folder))
            if found:
                self.events.append(found)
        finally:
            self.folder = folder

    def judge(self, event, args, folder):
        if event.startswith(TRAPS) and not is_thread_of_ours(event, args):
            return f"{event} {args[:1]!r}"[:200]
        if event == "import" and args[0].split(".")[0] not in (*LIBRARIES, *sys.builtin_module_names) \
                and args[0].split(".")[0] not in getattr(sys, "stdlib_module_names", (args[0].split(".")[0],)):
            return f"import {args[0]}"
        if event == "exec" and not args[0].co_filename.startswith((*CODE_OF_OURS, "<frozen", "<attrs")):
            return f"exec {args[0].co_filename}"
        if event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) \
                and not inside(args[0], folder):
            return f"open {args[0]}"
        if event.startswith(PATHS) and not beneath(args) and not all(inside(path, folder) for path in args):
            return f"{event} {args!r}"
        return None

    def news(self):
        """Return the forbidden events since the last call."""
        found = [*self.events, *(["the marker"] if os.path.exists(MARKER) else [])]
        found += ["the environment"] if "INTRUDER" in os.environ or "intruder" in sys.modules else []
        found += [f"imported {name}" for name in set(sys.modules) - self.modules if name.split(".")[0] in WATCHED]
        self.events.clear()
        self.modules |= set(sys.modules)
        if os.path.isdir(MARKER) and not os.path.islink(MARKER):
            os.rmdir(MARKER)
        elif os.path.lexists(MARKER):
            os.remove(MARKER)
        os.environ.pop("INTRUDER", None)
        sys.modules.pop("intruder", None)
        return found


def is_thread_of_ours(event, args):
    """Return whether a new thread runs a function of the package."""
    thread = getattr(args[0], "__self__", None) if event.startswith("_thread.") else None
    return getattr(getattr(thread, "_target", None), "__module__", "").startswith("audiocraft_export.")


def beneath(args):
    """Return whether paths are in an open folder, as recorded when it was opened."""
    return any(isinstance(arg, int) and arg >= 0 for arg in args) and not os.path.isabs(args[0])


def inside(path, folder):
    """Return whether a path is in the release folder or its staging folder."""
    path = os.path.abspath(os.fsdecode(path)) if isinstance(path, (str, bytes, os.PathLike)) else None
    home = os.path.dirname(folder)
    return path is None or path in (folder, home) or path.startswith((folder + os.sep, f"{home}{os.sep}.export-"))


def extensions():
    """Register extension codes for os.system, as a process may have them."""
    import copyreg
    for code in (0xF0, 0x0FF0, 0x0F0FF0):
        copyreg._inverted_registry[code] = ("os", "system")
        getattr(copyreg, "_extension_cache", {})[code] = os.system


def export_watched(folder):
    """Export the files that stdin names, one per line, and report each result on stdout."""
    import logging
    logging.disable(logging.CRITICAL)
    extensions()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    paths = [line.rstrip("\n") for line in sys.stdin]
    try:  # modules that are loaded only once are loaded now
        audiocraft_export.export_checkpoint(paths[0], folder / "warm")
    except audiocraft_export.ExportError:
        pass
    watch = Watch()
    for path in paths[1:]:
        watch.folder = folder / f"{Path(path).stem}.release"
        try:
            report = audiocraft_export.export_checkpoint(path, watch.folder)
            answer = {"outcome": "exported", "text": " | ".join(report.manifest.warnings)}
        except audiocraft_export.ExportError as exc:
            answer = {"outcome": "refused", "text": str(exc)}
        except BaseException as exc:
            answer = {"outcome": "raised", "text": f"{type(exc).__name__}: {str(exc)[:300]}"}
        watch.folder = None
        print(json.dumps({**answer, "done": watch.news()}), file=answers, flush=True)


def make_bait(folder):
    """Create a folder with the files that payloads look for."""
    folder.mkdir()
    code = BAIT.encode()
    for name, data in {"bait.py": code, "hubconf.py": code, "bait.pkl": NESTED, "bait.txt": b""}.items():
        (folder / name).write_bytes(data)
    return folder


def run_in_child(call, home, lines):
    """Call a function of this module in a child process in the bait folder; yield its answers, one per line."""
    result = subprocess.run([sys.executable, "-c", f"import sys; from torture import malice; malice.{call}"],
                            cwd=home if home.exists() else make_bait(home), env=environment(), text=True,
                            timeout=300, input="\n".join(map(str, lines)), stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL)
    return [json.loads(line) for line in result.stdout.splitlines()]


def answers_of(good, attempts, folder):
    """Return the answer of the child for each attempt; None if the child died."""
    answers = []
    while len(answers) < len(attempts):
        paths = [attempt.path for attempt in attempts[len(answers):]]
        said = run_in_child(f"export_watched(malice.Path({str(folder)!r}))", folder / "home", [good, *paths])
        answers += said if len(said) == len(paths) else [*said, None]
    return answers


def clear(said):
    return one_sentence(said) and said.replace("\n", "").isprintable() and len(said) <= LONGEST


def names_in(names, said):
    return [any(each in said for each in name.split("|")) for name in names or ()]


def is_same_release(folder, good):
    """Return whether a release equals that of the good checkpoint, bit for bit."""
    left, right = ((path / "state_dict.bin") for path in (folder, good))
    if left.read_bytes() == right.read_bytes():
        return True
    from helpers import load, same
    left, right = load(left), load(right)
    weights = left.pop("best_state"), right.pop("best_state")
    tensors = isinstance(weights[0], dict) and all(isinstance(value, torch.Tensor) for value in weights[0].values())
    return tensors and left == right and same(*weights)


def export_good(good):
    """Return the release of the good checkpoint of an attempt, if it can be released."""
    try:
        return good and audiocraft_export.export_checkpoint(good, good.with_suffix(".sound")).folder
    except audiocraft_export.ExportError:
        return None


def trouble(attempt, answer, good):
    """Return the name and the reason of a violation in an answer; None without one."""
    if answer is None or answer["done"]:
        return "executed or imported", answer["done"] if answer else "the process ended"
    said = answer["text"]
    found = names_in(attempt.names, said)
    if answer["outcome"] == "raised":
        return "unclear", said
    if answer["outcome"] == "refused":
        if not clear(said):
            return "unclear", f"no clear sentence: {said[:300]!r}"
        named_or_not_asked = not attempt.released or not attempt.names or any(found)
        return None if named_or_not_asked else ("unclear", f"names no intruder: {said}")
    if "; used its value" in said and any(found):
        return None  # one plain argument, like an enumeration in xp.cfg: released as text, with a warning
    if not is_same_release(attempt.path.parent / f"{attempt.path.stem}.release", export_good(attempt.good) or good):
        return "unclear", "another release"
    if attempt.names is not None and (not attempt.names or not all(found) or not clear(said)):
        return "unclear", f"exported, and its warnings are {said[:300]!r}"
    return None


def run_attempts(what, make, folder, share):
    row = Row.of(what, "executed or imported", "unclear")
    good = checkpoint(folder / "good.th", good_state())
    audiocraft_export.export_checkpoint(good, folder / "good")
    (folder / "files").mkdir()
    attempts = list(make(folder / "files", share))
    for attempt, answer in zip(attempts, answers_of(good, attempts, folder / "files")):
        row.attempts += 1
        wrong = trouble(attempt, answer, folder / "good")
        if wrong:
            row.count(wrong[0], f"{attempt.what}: {wrong[1]}")
        else:
            row.count("exported with a warning" if answer["outcome"] == "exported" else "refused in one sentence")
    return row


def malicious_pickles(folder, share=1.0):
    return run_attempts("Nothing executed: malicious pickles", pickle_attempts, folder, share)


def malicious_containers(folder, share=1.0):
    return run_attempts("Nothing executed: malicious containers", container_attempts, folder, share)


TRIALS = (malicious_pickles, malicious_containers)


def load_each(load):
    """Load the files that stdin names without protection, each in a process, and report which wrote a marker."""
    extensions()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                with open(line.rstrip("\n"), "rb") as stream:
                    load(stream)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        print(json.dumps(os.path.exists(MARKER)), flush=True)
        if os.path.exists(MARKER):
            os.remove(MARKER)


def trusting(stream):
    return torch.load(stream, weights_only=False)


def unpickle(stream):
    return pickle.load(stream)


def executed_by_torch(folder):
    """Return the payloads of `REAL` that `torch.load` executes in the history of a checkpoint."""
    paths = [checkpoint(folder / f"{number}.th", good_state(history=[PAYLOADS[name]]), PAYLOADS[name].protocol)
             for number, name in enumerate(REAL)]
    return names_that_ran(folder, paths, "malice.trusting")


def executed_by_pickle(folder):
    """Return the payloads of `REAL` that `pickle.load` executes as a whole pickle."""
    paths = [folder / f"{number}.pkl" for number in range(len(REAL))]
    for path, name in zip(paths, REAL):
        path.write_bytes(alone(PAYLOADS[name].opcodes, PAYLOADS[name].protocol))
    return names_that_ran(folder, paths, "malice.unpickle")


def names_that_ran(folder, paths, load):
    answers = run_in_child(f"load_each({load})", folder / "home", paths)
    return [name for name, ran in zip(REAL, answers) if ran]
