"""Hostile names, which must either work or be refused in one clean line."""

import os
import unicodedata

from helpers import SIG, load, model_state, same

CODEC = "c0dec000"
CONTROL = "line\nbreak\r\x1b[2J\x1b]0;title\x07\x85\u2028end"
NAMES = ["two words", " outer spaces ", "it's \"quoted\"", "new\nline", CONTROL, "tab\tand\vmore", "é日本🎵",
         "\u202eright", "x" * 200, "$(touch pwned)`touch pwned`;&|", "*?[a-z]{b,c}", "%s %d {} {0}", "~", "#comment",
         "C:\\x\\..", "...", "${oc.env:HOME}", "a=b,c: [d]", "-rf", "--json", "-", "--", os.fsdecode(b"\xff\xfe"),
         os.fsdecode(b"\xff \xc3\xa9\n")]
PATHS = ["../../etc", "..", ".", "/", "//", "a/../..", "\0", "a\0b", f"../xps/{SIG}", f"./{SIG}", f"{SIG}/..",
         "//sig/../.."]
LONGEST = 4096  # characters of one line


def label(value):
    """Return a test ID for a hostile value."""
    return ascii(value)[:32]


def is_clean(text):
    """Return whether a text stays a single line on a terminal and in a log."""
    short = len(text) < LONGEST or text.startswith("{")  # except in JSON
    return short and not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text)


def with_hints(said):
    """Return lines, with each hint joined to the error above it."""
    joined = []
    for line in said:
        if joined and line.startswith("  hint: "):
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    return joined


def lines(text):
    return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []


def tree(folder):
    """Return all paths in a folder with their mtimes."""
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}


def released(folder):
    files = {"export.json", "state_dict.bin"}
    return folder.is_dir() and {path.name for path in folder.iterdir()} == files and same(
        load(folder / "state_dict.bin")["best_state"], model_state(3))
