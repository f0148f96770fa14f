"""Extrapolate the measurements to larger models and folders, by a linear fit of each."""

import re

import numpy as np

RELEASE, CHECKPOINT, XPS = 6.6e9, 60e9, 100_000  # 3.3 billion parameters, in float16 and as trained

TEXT = """\
An export reads the released tensors and the pickle of the checkpoint, and skips all other sections. Its time grows with
the size of the release; its memory stays nearly constant. With a cold cache, copying and exporting both read at the
speed of the disk. A list reads four small files per XP. An experiment is found by its signature without listing the
folder.

Before the first export, `run --all` reads the manifest of each XP, the sizes of three files and the zip directory of
the checkpoint. Of 20 XPs in this benchmark, 12 have an up-to-date release, 3 a stale one, 3 none, 1 a damaged one, and
1 has no checkpoint. An up-to-date XP costs only the memory of its name; an XP to export takes about 2 kB until the end,
and another 4 kB once it is done. A dry run opens the checkpoints of the XPs to export."""


def section(rows):
    """Return the section "Growth" of the report, as Markdown."""
    exports = [row for row in rows if re.fullmatch(r"export \(\w+, [\d.]+ GB\)", row.what)]
    plain = [row for row in rows if re.fullmatch(r"AudioCraft's way \(\w+, [\d.]+ GB\)", row.what)]
    lists = [row for row in rows if row.what.startswith("list ")]
    anonymous = [row for row in rows if row.what.startswith("memory, anonymous (")]
    ours = _line([row.nbytes for row in exports], [row.value for row in exports])
    cached = [row for row in rows if re.fullmatch(r"export, verify=cache \(\w+, [\d.]+ GB\)", row.what)]
    in_memory = _line([row.nbytes for row in cached], [row.value for row in cached])
    theirs = _line([_checkpoint(row) for row in plain], [row.value for row in plain])
    listing = _line([_count(row) for row in lists], [row.value for row in lists])
    planned = [row for row in rows if re.fullmatch(r"run --all of [\d,]+ XPs", row.what)]
    planning = _line([_count(row) for row in planned], [row.value for row in planned])
    lines = [
        ("cost", "linear fit of the measurements (warm)",
         f"3.3 B parameters: {RELEASE / 1e9:g} GB of {CHECKPOINT / 1e9:g} GB"),
        ("---", "---", "---"),
        ("export", _formula(ours, 1e9, "GB released"), f"{_at(ours, RELEASE):.0f} s"),
        ("export, verify=cache", _formula(in_memory, 1e9, "GB released"), f"{_at(in_memory, RELEASE):.0f} s"),
        ("AudioCraft's way", _formula(theirs, 1e9, "GB of checkpoint"),
         f"{_at(theirs, CHECKPOINT):.0f} s, and {CHECKPOINT / 1e9:g} GB of memory"),
        ("memory of an export", ", ".join(f"{row.value:.0f}" for row in anonymous) + " MiB", "not measured"),
        ("list of XPs", _formula(listing, 1000, "1,000 XPs"), f"{XPS:,} XPs: {_at(listing, XPS):.0f} s"),
        ("`run --all`, until it exports", _formula(planning, 1000, "1,000 XPs"),
         f"{XPS:,} XPs: {_at(planning, XPS):.0f} s"),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{TEXT}"


def _line(sizes, values):
    """Return slope and intercept, weighted so that small and large values count alike."""
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
