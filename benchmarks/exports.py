"""One export: against copying its release, against AudioCraft's way, against safetensors; its memory; the command."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from audiocraft_export import ExportOptions, export_checkpoint

from .experiments import SIZES, experiment
from .measure import can_drop_caches, command, medians, memory, seconds, settle
from .report import Row

OUT = Path("release")
MIB = 1 << 20
PLAIN = """
import sys, time, torch
from omegaconf import OmegaConf
began = time.perf_counter()
package = torch.load(sys.argv[1], "cpu", weights_only=False)
best = package["fsdp_best_state"] or package["best_state"]
torch.save({"best_state": best["model"], "xp.cfg": OmegaConf.to_yaml(package["xp.cfg"]), "version": "1.3.0",
            "exported": True}, "plain.bin")
print(time.perf_counter() - began)
"""


def rows(runs):
    """All of them, for each size."""
    for size, lm in SIZES.items():
        checkpoint = experiment(**lm) / "checkpoint.th"
        for cold in (False, True) if can_drop_caches() else (False,):
            yield from _exports(size, checkpoint, runs, cold)
    checkpoint = experiment(**SIZES["150M"]) / "checkpoint.th"
    yield from _other_weights(checkpoint, runs)
    for size, lm in SIZES.items():
        yield from _memory(size, experiment(**lm) / "checkpoint.th")
    for size, lm in SIZES.items():
        yield from _command(size, experiment(**lm), runs)


def _exports(size, checkpoint, runs, cold):
    """Ours, `cp` with fsync, AudioCraft's way and safetensors, in turns."""
    ours(checkpoint)  # the release that is copied
    name = f"{size}, {checkpoint.stat().st_size / 1e9:.2f} GB" + (", cold" if cold else "")
    nbytes = (OUT / "state_dict.bin").stat().st_size
    tensors = torch.load(OUT / "state_dict.bin", weights_only=True)["best_state"]
    ours_s, copy_s, plain_s, safe_s = medians(
        runs, partial(ours, checkpoint, cold=cold), partial(copy, cold=cold), partial(plain, checkpoint, cold=cold),
        partial(safetensors, tensors, cold=cold))
    large = nbytes > 285e6
    yield Row(f"export ({name})", nbytes, "ours", ours_s, "cp + fsync", copy_s, most=2.5 if large else None)
    yield Row(f"AudioCraft's way ({name})", nbytes, "load + save", plain_s, "ours", ours_s,
              least=15 if size == "150M" and not cold else None)
    yield Row(f"safetensors ({name})", nbytes, "save_file + fsync", safe_s, "ours", ours_s)


def _other_weights(checkpoint, runs):
    for options in ({"weights": "ema"}, {"dtype": "float32"}, {"weights": "ema", "dtype": "bfloat16"}):
        chosen = ExportOptions(**options)
        ours(checkpoint, chosen)
        nbytes = (OUT / "state_dict.bin").stat().st_size
        ours_s, copy_s = medians(runs, partial(ours, checkpoint, chosen), copy)
        name = ", ".join(f"{key}={value}" for key, value in options.items())
        yield Row(f"export (150M, {name})", nbytes, "ours", ours_s, "cp + fsync", copy_s,
                  most=None if "dtype" in options else 2.5)


def _memory(size, checkpoint):
    setup = ("import audiocraft_export.pipeline.export, audiocraft_export.checkpoint.nonfinite; "
             "from audiocraft_export import *")
    name = f"{size}, {checkpoint.stat().st_size / 1e9:.2f} GB"
    code = f"export_checkpoint({str(checkpoint)!r}, {str(OUT)!r}, ExportOptions(%s))"
    shutil.rmtree(OUT, ignore_errors=True)
    anonymous, file = memory(setup, code % "")
    nbytes = (OUT / "state_dict.bin").stat().st_size
    yield Row(f"memory, anonymous ({name})", nbytes, "ours", anonymous / MIB, most=48, unit="MiB")
    yield Row(f"memory, file-backed ({name})", nbytes, "ours", file / MIB, unit="MiB")
    shutil.rmtree(OUT)
    anonymous, file = memory(f"import torch; {setup}", code % "dtype='float32'")
    nbytes = (OUT / "state_dict.bin").stat().st_size
    yield Row(f"memory, anonymous, dtype=float32 ({name})", nbytes, "ours", anonymous / MIB, most=48 + nbytes // MIB,
              unit="MiB")


def _command(size, folder, runs):
    run = os.path.join(os.path.dirname(sys.executable), "audiocraft-export")

    def whole():
        shutil.rmtree(folder / "export", ignore_errors=True)
        settle()
        return command(run, "run", folder.name)

    ours(folder / "checkpoint.th")
    nbytes = (OUT / "state_dict.bin").stat().st_size
    whole_s, copy_s, import_s = medians(runs, whole, copy, partial(command, sys.executable, "-c", "import torch"))
    yield Row(f"audiocraft-export run ({size})", nbytes, "whole command", whole_s, "import torch + 2.5 cp",
              import_s + 2.5 * copy_s, most=1)


def ours(checkpoint, options=ExportOptions(), cold=False):
    """How long an export takes, with all its checks."""
    shutil.rmtree(OUT, ignore_errors=True)
    settle(cold)
    return seconds(export_checkpoint, checkpoint, OUT, options)


def copy(cold=False):
    """How long a copy of the released file takes, until it is on the disk."""
    settle(cold)
    taken = seconds(_copy)
    os.unlink("copy.bin")
    return taken


def plain(checkpoint, cold=False):
    """How long it takes the way of `audiocraft.utils.export.export_lm`, in a new process, its imports not counted."""
    settle(cold)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN, checkpoint], check=True, capture_output=True)
    return float(done.stdout)


def safetensors(tensors, cold=False):
    """How long safetensors takes for the same tensors, which are in memory."""
    settle(cold)
    return seconds(_safetensors, tensors)


def _copy():
    subprocess.run(["cp", OUT / "state_dict.bin", "copy.bin"], check=True)
    _fsync("copy.bin")


def _safetensors(tensors):
    save_file(tensors, "copy.safetensors")
    _fsync("copy.safetensors")


def _fsync(path):
    descriptor = os.open(path, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)
