"""The guarantees as figures: attacks, bombs, damage, faults and crowds, each tried many times and counted.

`make torture` runs all of it and prints one table; bounded runs are in the test suite (test_torture.py).
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Row:
    """One line of the table.

    Args:
        what: what was tried.
        tried: how often.
        never: what must not happen, and how often it did.
        instead: what happened in place of it, and how often.
        examples: what went wrong, for whoever has to mend it; not printed when nothing did.
    """

    what: str
    tried: int = 0
    never: dict = field(default_factory=dict)
    instead: dict = field(default_factory=dict)
    examples: list = field(default_factory=list)

    @property
    def good(self):
        return self.tried > 0 and not any(self.never.values())

    def count(self, name, example=None):
        """Count one outcome: one of `never` (then with an example) or of `instead`."""
        if name in self.never:
            self.never[name] += 1
            self.examples.append(f"{name}: {example}")
        else:
            self.instead[name] = self.instead.get(name, 0) + 1


class Missing(RuntimeError):
    """What a trial needs, this machine does not have: root, strace, another disk."""


def released(folder):
    """The sha256 of each file of a release folder if it is what its manifest says, else None: a judge of its own.

    It knows nothing of the package: only that `export.json` lists name, bytes and sha256 of every file.
    """
    try:
        files = json.loads((Path(folder) / "export.json").read_text())["files"]
        found = {file["name"]: hashlib.sha256((Path(folder) / file["name"]).read_bytes()).hexdigest() for file in files}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found and found == {file["name"]: file["sha256"] for file in files} else None


def one_sentence(text):
    """Whether an error is one clear line: no traceback, no wish to have it reported."""
    return bool(text.strip()) and "\n" not in text.strip() and "Traceback" not in text and "unexpected" not in text
