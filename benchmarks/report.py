"""The table of the results, and the description of the machine."""

import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Optional


@dataclass
class Row:
    """One measurement, with its baseline and target.

    Args:
        what: name of the measurement.
        nbytes: number of bytes written; None if not relevant.
        name, value: the measured value, in `unit`.
        base, base_value: the baseline; empty without one.
        most: maximum of the ratio, or of the value without a baseline.
        least: minimum of the same.
    """

    what: str
    nbytes: Optional[int]
    name: str
    value: float
    base: str = ""
    base_value: float = 0.
    most: Optional[float] = None
    least: Optional[float] = None
    unit: str = "s"

    @property
    def ratio(self):
        """The value divided by its baseline, or the value itself."""
        return self.value / self.base_value if self.base else self.value

    @property
    def is_met(self):
        """Whether the target is met; None without a target."""
        if self.most is None and self.least is None:
            return None
        return self.ratio <= self.most if self.most is not None else self.ratio >= self.least

    @property
    def cells(self):
        """The cells of the row."""
        target = f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}" if self.least else ""
        target += "" if self.base or not target else f" {self.unit}"
        return [self.what, _size(self.nbytes) if self.nbytes else "", f"{self.name} {_figure(self.value, self.unit)}",
                f"{self.base} {_figure(self.base_value, self.unit)}" if self.base else "",
                f"{self.ratio:.2f}" if self.base else "", target, {None: "", True: "yes", False: "NO"}[self.is_met]]


HEAD = ["what", "bytes", "a", "b", "a / b", "target", "met"]


def table(rows):
    """Return rows as an aligned Markdown table."""
    cells = [HEAD, *(row.cells for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def stage_table(stages):
    """Return the processor seconds by stage as a Markdown table."""
    from .stages import STAGES
    lines = [("export", *STAGES, "total"), ("---",) * (len(STAGES) + 2)]
    lines += [(name, *(f"{value:.3f}" for value in [*values, sum(values)])) for name, values in stages]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine():
    """Return the hardware, the system and the package versions."""
    processor = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                      if line.startswith("model name")), platform.processor())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", "."], text=True, capture_output=True, check=True).stdout
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in
                         ("audiocraft-export", "torch", "numpy", "safetensors", "hydra-core", "dora-search"))
    return (f"{len(os.sched_getaffinity(0))} cores ({processor}), {memory / 2**30:.0f} GiB, {disk.strip()}, "
            f"{platform.system()} {platform.release()}; Python {platform.python_version()}, {packages}")


def _figure(value, unit):
    if unit != "s":
        return f"{value:.1f} {unit}"
    return f"{value:.3g} s" if value >= 0.01 else f"{value * 1000:.3g} ms" if value >= 1e-4 else f"{value * 1e6:.3g} us"


def _size(count):
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"
