"""Time of one export against its floor, AudioCraft's way, torch and safetensors; its memory; the whole command."""

import hashlib
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from audiocraft_export import ExportOptions, export_checkpoint
from audiocraft_export.storage.platform import drop_cache

from .experiments import SIZES, experiment
from .measure import command, medians, medians_of, memory, seconds, settle
from .report import Row
from .stages import seconds_by_stage

OUT = Path("release")
CACHE = ExportOptions(verify="cache")  # all checks except the read from the disk
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
    """Run all benchmarks of this module, for each size of the model."""
    for size, lm in SIZES.items():
        yield from _exports(size, experiment(**lm) / "checkpoint.th", runs)
    yield from _other_weights(experiment(**SIZES["150M"]) / "checkpoint.th", runs)
    for size, lm in SIZES.items():
        yield from _memory(size, experiment(**lm) / "checkpoint.th")
    for size, lm in SIZES.items():
        yield from _command(size, experiment(**lm), runs)


def _exports(size, checkpoint, runs):
    """Measure the export with its floor, from the cache and from the disk, and other ways to write the same weights."""
    ours(checkpoint)  # the release that is copied
    nbytes = (OUT / "state_dict.bin").stat().st_size
    name = f"{size}, {checkpoint.stat().st_size / 1e9:.2f} GB"
    cached, copied, hashed = medians(runs, partial(ours, checkpoint, CACHE), copy, sha256)
    # Apart: what these drop from the page cache, the system takes back slowly.
    device, copied_and_read = medians(runs, partial(ours, checkpoint), partial(copy, _read_cold))
    # Apart as well, because of the memory of these.
    tensors = torch.load(OUT / "state_dict.bin", weights_only=True)["best_state"]
    save_s, safe_s = medians(runs, partial(saved, torch_save, tensors), partial(saved, save_file, tensors))
    del tensors
    plain_s, = medians(runs, partial(plain, checkpoint))
    yield Row(f"export, verify=cache ({name})", nbytes, "ours", cached, *floor(copied, hashed),
              most=1.2 if nbytes > 285e6 else 1.8)
    yield Row(f"export ({name})", nbytes, "ours", device, "cp + fsync + read from the disk", copied_and_read,
              most=1.2 if nbytes > 285e6 else 1.8)
    yield Row(f"AudioCraft's way ({name})", nbytes, "load + save", plain_s, "ours", device)
    yield Row(f"torch ({name})", nbytes, "torch.save + fsync", save_s, "ours", device)
    yield Row(f"safetensors ({name})", nbytes, "save_file + fsync", safe_s, "ours", device)


def _other_weights(checkpoint, runs):
    for options in ({"weights": "ema"}, {"dtype": "float32"}, {"weights": "ema", "dtype": "bfloat16"}):
        chosen = ExportOptions(verify="cache", **options)
        ours(checkpoint, chosen)
        nbytes = (OUT / "state_dict.bin").stat().st_size
        ours_s, copied, hashed = medians(runs, partial(ours, checkpoint, chosen), copy, sha256)
        name = ", ".join(f"{key}={value}" for key, value in options.items())
        yield Row(f"export, verify=cache (150M, {name})", nbytes, "ours", ours_s, *floor(copied, hashed),
                  most=2 if "dtype" in options else 1.2)


def stages(runs):
    """Return the processor seconds of an export by stage, for each size of the model and kind of export."""
    digest = ExportOptions(digest=True)
    for size, lm in SIZES.items():
        checkpoint = experiment(**lm) / "checkpoint.th"
        for name, options in (("", ExportOptions()), (", verify=cache", CACHE), (", digest=true", digest)):
            [found] = medians_of(runs, partial(_stages, checkpoint, options))
            yield f"{size}{name}", found
    for options in ({"dtype": "float32"}, {"weights": "ema", "dtype": "bfloat16"}):
        [found] = medians_of(runs, partial(_stages, experiment(**SIZES["150M"]) / "checkpoint.th",
                                           ExportOptions(**options)))
        yield "150M, " + ", ".join(f"{key}={value}" for key, value in options.items()), found


def _stages(checkpoint, options):
    shutil.rmtree(OUT, ignore_errors=True)
    settle()
    return seconds_by_stage(export_checkpoint, checkpoint, OUT, options)


def floor(copied, hashed):
    """Return the name and the value of the larger of two durations: of a copy with fsync, and of a sha256."""
    return max(("cp + fsync", copied), ("sha256", hashed), key=lambda each: each[1])


def _memory(size, checkpoint):
    setup = ("import audiocraft_export.pipeline.export, audiocraft_export.checkpoint.nonfinite; "
             "from audiocraft_export import *")
    name = f"{size}, {checkpoint.stat().st_size / 1e9:.2f} GB"
    code = f"export_checkpoint({str(checkpoint)!r}, {str(OUT)!r}, ExportOptions(%s))"
    shutil.rmtree(OUT, ignore_errors=True)
    anonymous, file = memory(setup, code % "")
    nbytes = (OUT / "state_dict.bin").stat().st_size
    yield Row(f"memory, anonymous ({name})", nbytes, "ours", anonymous / MIB, most=16, unit="MiB")
    yield Row(f"memory, file-backed ({name})", nbytes, "ours", file / MIB, unit="MiB")
    shutil.rmtree(OUT)
    anonymous, file = memory(f"import torch; {setup}", code % "dtype='float32'")
    nbytes = (OUT / "state_dict.bin").stat().st_size
    yield Row(f"memory, anonymous, dtype=float32 ({name})", nbytes, "ours", anonymous / MIB, most=16,
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


def ours(checkpoint, options=ExportOptions()):
    """Return the duration of an export with all its checks."""
    shutil.rmtree(OUT, ignore_errors=True)
    settle()
    return seconds(export_checkpoint, checkpoint, OUT, options)


def copy(then=None):
    """Return the duration of a copy of the released file, with fsync; `then` is called with the path of the copy."""
    settle()
    taken = seconds(_copy) + (seconds(then, "copy.bin") if then else 0)
    os.unlink("copy.bin")
    return taken


def sha256():
    """Return the duration of the sha256 of the released file, from memory."""
    data = (OUT / "state_dict.bin").read_bytes()
    return seconds(hashlib.sha256, data)


def plain(checkpoint):
    """Return the duration of what `audiocraft.utils.export.export_lm` does, in a new process, without imports."""
    settle()
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN, checkpoint], check=True, capture_output=True)
    return float(done.stdout)


def saved(save, tensors):
    """Return the duration of saving tensors that are already in memory, with fsync."""
    settle()
    taken = seconds(_saved, save, tensors)
    os.unlink("saved.bin")
    return taken


def torch_save(tensors, path):
    """Save tensors as `save_file` of safetensors does, with torch."""
    torch.save(tensors, path)


def _copy():
    subprocess.run(["cp", OUT / "state_dict.bin", "copy.bin"], check=True)
    _fsync("copy.bin")


def _read_cold(path):
    """Read a file from its disk, as an export does after it has written it."""
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as stream:
        drop_cache(stream.fileno())
        while stream.readinto(buffer):
            pass


def _saved(save, tensors):
    save(tensors, "saved.bin")
    _fsync("saved.bin")


def _fsync(path):
    descriptor = os.open(path, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)
