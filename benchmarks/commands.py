"""Time of `--help`, of lists, of finding an experiment, and of the start of a training."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from audiocraft_export import find_xp, list_xps

from .experiments import dora_folder, listed
from .measure import command, medians, seconds
from .report import Row

BIN = Path(sys.executable).parent
COUNTS = (10, 1000, 20_000)
LIST = """
import sys
from audiocraft_export import list_xps
from audiocraft_export.release.manifest import Manifest
for xp in list_xps(sys.argv[1]):
    xp.argv, xp.history, xp.checkpoints, Manifest.load_or_none(xp.folder / "export")
if "torch" in sys.modules:
    sys.exit("torch was imported")
"""
READ = """
import json, os, sys
folder, what = sys.argv[1:]
for sig in os.listdir(f"{folder}/xps"):
    for name in (".argv.json", "history.json", ".hydra/config.yaml", "export/export.json"):
        with open(f"{folder}/xps/{sig}/{name}", "rb") as stream:
            data = stream.read()
        if what == "parse" and name.endswith(".json"):
            json.loads(data)
"""
START = """
import sys, time
from importlib import import_module
import dora.run, hydra.main
began = time.perf_counter()
import_module(f"{sys.argv[1]}.train").main.get_xp(["lr=2", "export=false"])
print(time.perf_counter() - began)
"""
TRAIN = """\
from dora import hydra_main
{start}
@hydra_main(config_path="config", config_name="config", version_base="1.1")
def main(cfg):
    pass
"""
CONFIG = "lr: 1\nexport: false\ndora:\n  dir: {name}_outputs\n  exclude: [export]\n"


def rows(runs):
    """Run all benchmarks of this module."""
    import_s, help_s = medians(runs, partial(command, sys.executable, "-c", "import torch"),
                               partial(command, BIN / "audiocraft-export", "--help"))
    yield Row("audiocraft-export --help", None, "whole command", help_s, most=0.25)
    yield Row("python -c 'import torch'", None, "whole command", import_s)
    yield from _lists(runs)
    yield from _finding(runs)
    yield from _starts(runs)


def _lists(runs):
    """Measure a process that finds all XPs of a Dora folder and reads what `list` shows."""
    most = {1000: 0.6, 20_000: 8}
    for count in COUNTS:
        folder = dora_folder(Path(f"xps_{count}"), count)
        taken, = medians(runs, partial(command, sys.executable, "-c", LIST, folder))
        yield Row(f"list {count:,} XPs", None, "process", taken, most=most.get(count))
    folder = dora_folder(Path(f"listed_{COUNTS[-1]}"), COUNTS[-1], listed())
    taken, read, parsed = medians(runs, partial(command, BIN / "audiocraft-export", "list", "--dora-dir", folder),
                                  *(partial(command, sys.executable, "-c", READ, folder, what)
                                    for what in ("read", "parse")))
    name = f"audiocraft-export list of {COUNTS[-1]:,} XPs"
    yield Row(name, None, "whole command", taken, "open and read their files", read, most=1.5)
    yield Row(name, None, "whole command", taken, "open, read and parse them", parsed)


def _finding(runs):
    for what, length in ("signature", 8), ("prefix", 7):
        few, many = (_finding_one(runs, dora_folder(Path(f"xps_{count}"), count), length)
                     for count in (COUNTS[0], COUNTS[-1]))
        yield Row(f"find an XP by its {what}", None, f"of {COUNTS[-1]:,}", many, f"of {COUNTS[0]}", few,
                  most=2 if length == 8 else None)
    folder = dora_folder(Path(f"xps_{COUNTS[-1]}"), COUNTS[-1])
    listing, = medians(runs, partial(seconds, os.listdir, folder / "xps"))
    yield Row("find an XP by its prefix", None, f"of {COUNTS[-1]:,}", many, "os.listdir", listing, most=2)


def _finding_one(runs, folder, length):
    xps = list_xps(folder)
    sigs = [xps[index * len(xps) // 10].sig for index in range(10)]
    taken, = medians(runs, lambda: sum(seconds(find_xp, sig[:length], folder) for sig in sigs) / len(sigs))
    return taken


def _starts(runs):
    """Measure what `with_export` adds to the start of a training, in one process without the imports of Dora."""
    for name, start in ("bare", ""), ("wrapped", "from audiocraft_export import with_export\n\n\n@with_export"):
        (Path(name) / "config").mkdir(parents=True, exist_ok=True)
        (Path(name) / "__init__.py").touch()
        (Path(name) / "train.py").write_text(TRAIN.format(start=start))
        (Path(name) / "config" / "config.yaml").write_text(CONFIG.format(name=name))
    bare, wrapped = medians(3 * runs, partial(_start, "bare"), partial(_start, "wrapped"))
    yield Row("load a main, and find its XP", None, "with_export", wrapped, "without", bare)
    yield Row("with_export adds", None, "to a start", wrapped - bare, most=0.05)


def _start(name):
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", START, name], check=True, capture_output=True)
    return float(done.stdout)
