"""The rows of the table, and the process that a trial runs in if it forks.

A trial is a function that takes a folder and a share and returns a `Row`; each module lists its trials in `TRIALS`.
"""

import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from . import inject

LIMIT = 600  # timeout of a trial in seconds


@dataclass
class Row:
    """A line of the table.

    Args:
        what: description of the trial.
        attempts: number of attempts.
        violations: number of each kind of violation.
        outcomes: number of each other outcome.
        examples: examples of violations.
    """

    what: str
    attempts: int = 0
    violations: dict = field(default_factory=dict)
    outcomes: dict = field(default_factory=dict)
    examples: list = field(default_factory=list)

    @classmethod
    def of(cls, what, *violations):
        return cls(what, violations=dict.fromkeys(violations, 0))

    @property
    def good(self):
        return self.attempts > 0 and not any(self.violations.values())

    def count(self, name, example=None):
        """Count one outcome: one of `violations` (then with an example) or of `outcomes`."""
        if name in self.violations:
            self.violations[name] += 1
            self.examples.append(f"{name}: {example}")
        else:
            self.outcomes[name] = self.outcomes.get(name, 0) + 1


class Missing(RuntimeError):
    """This machine lacks a requirement of a trial: root, strace, another disk."""


def one_sentence(text):
    """Return whether an error is one clear line and at most one hint, without a traceback."""
    first, *others = text.strip().split("\n")
    return bool(first) and not re.search("Traceback|unexpected-error|report", text) and len(others) <= 1 \
        and all(line.startswith("  hint: ") for line in others)


def amount(full, share):
    return max(1, round(full * share))


def some(cases, share, full=None):
    """Return a share of the cases, always the same ones, in order."""
    cases = list(cases)
    count = min(len(cases), amount(full or len(cases), share))
    return [cases[index] for index in sorted(random.Random(0).sample(range(len(cases)), count))]


def isolated(**made):
    """Run a trial in a separate process, after writing experiments for it."""
    def decorate(function):
        @wraps(function)
        def trial(folder, share=1.0):
            from .scene import experiments
            experiments(folder, **made)
            answer = _run_apart(function.__module__, function.__name__, folder, share)
            return Row(**answer) if isinstance(answer, dict) else answer
        trial.inside = function
        return trial
    return decorate


def _run_apart(module, name, folder, share):
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import serve; serve()", module, name, str(folder), str(share)],
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        last = err.strip().splitlines()[-1:]
        raise (Missing if "Missing: " in str(last) else RuntimeError)(f"{name} cannot be tried: {last}\n{err}")
    return json.loads(out)


def environment():
    """Return the environment of a child, with the paths of package and tests and without Dora's variables."""
    paths = [str(Path(find_spec("audiocraft_export").origin).parents[1]), str(Path(__file__).parents[1])]
    environ = {key: value for key, value in os.environ.items()
               if not key.startswith(("AUDIOCRAFT_", "DORA_")) and key not in ("RANK", "WORLD_SIZE")}
    return {**environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "ignore",
            "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def serve():
    """Run one trial, and print its result as JSON."""
    module, name, folder, share = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    inject.wrap_system_calls()
    answer = getattr(import_module(module), name).inside(Path(folder), float(share))
    print(json.dumps(asdict(answer) if isinstance(answer, Row) else answer))
