"""What the measured figures say of larger models and folders: a straight line through each."""

import re

import numpy as np

RELEASE, CHECKPOINT, XPS = 6.6e9, 60e9, 100_000  # 3.3 billion parameters, in float16 and as trained

TEXT = """\
An export reads what it releases and the pickle around it, nothing else of the checkpoint: its time grows with the
release, its memory not at all. Where the cache does not hold what is read, reading is as fast as the disk, for copying
as for exporting (the cold rows). A list reads four small files of each XP; an experiment is found by its signature
without any list.

Before `run --all` exports anything, it reads the manifest of each XP and asks for the sizes of three files: of twenty,
twelve have a fresh release, three a stale one, three none, one a damaged one, one has no checkpoint. Of the fresh ones
it keeps but the name; one that is to be exported takes some 2 kB until the end, and 4 kB more once it is done. A dry
run opens the checkpoints of those to be exported. Two tries of 100,000, by hand, in November 2026, on two cores that
had other things to do, took longer than the line above says: 30 and 37 s, with 100 MiB, for that mixture; 9 and 11 s,
with 206 MiB, where all were to be exported."""


def section(rows):
    """A section of the report, as Markdown."""
    exports = [row for row in rows if re.fullmatch(r"export \(\w+, [\d.]+ GB\)", row.what)]
    plain = [row for row in rows if re.fullmatch(r"AudioCraft's way \(\w+, [\d.]+ GB\)", row.what)]
    lists = [row for row in rows if row.what.startswith("list ")]
    anonymous = [row for row in rows if row.what.startswith("memory, anonymous (")]
    ours = _line([row.nbytes for row in exports], [row.value for row in exports])
    copy = _line([row.nbytes for row in exports], [row.base_value for row in exports])
    theirs = _line([_checkpoint(row) for row in plain], [row.value for row in plain])
    listing = _line([_count(row) for row in lists], [row.value for row in lists])
    planned = [row for row in rows if re.fullmatch(r"run --all of [\d,]+ XPs", row.what)]
    planning = _line([_count(row) for row in planned], [row.value for row in planned])
    lines = [
        ("cost", "a straight line through what was measured (warm)",
         f"3.3 B parameters: {RELEASE / 1e9:g} GB of {CHECKPOINT / 1e9:g} GB"),
        ("---", "---", "---"),
        ("export", _formula(ours, 1e9, "GB released"), f"{_at(ours, RELEASE):.0f} s"),
        ("`cp` + fsync of the release", _formula(copy, 1e9, "GB released"), f"{_at(copy, RELEASE):.0f} s"),
        ("AudioCraft's way", _formula(theirs, 1e9, "GB of checkpoint"),
         f"{_at(theirs, CHECKPOINT):.0f} s, and {CHECKPOINT / 1e9:g} GB of memory"),
        ("memory of an export", ", ".join(f"{row.value:.0f}" for row in anonymous) + " MiB", "the same"),
        ("list of XPs", _formula(listing, 1000, "1,000 XPs"), f"{XPS:,} XPs: {_at(listing, XPS):.0f} s"),
        ("`run --all`, until it exports", _formula(planning, 1000, "1,000 XPs"),
         f"{XPS:,} XPs: {_at(planning, XPS):.0f} s"),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{TEXT}"

def _line(sizes, values):
    """Slope and intercept; the small ones count as much as the large ones."""
    return np.polyfit(sizes, values, 1, w=1 / np.array(values))


def _at(line, size):
    return float(np.polyval(line, size))


def _formula(line, unit, name):
    slope, start = line
    return f"{max(start, 0):.2g} s + {slope * unit:.2g} s for each {name}"


def _count(row):
    return int(re.search(r"([\d,]+) XPs", row.what)[1].replace(",", ""))


def _checkpoint(row):
    return float(re.search(r"([\d.]+) GB", row.what)[1]) * 1e9
