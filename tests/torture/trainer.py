"""Export checkpoints that a trainer replaces or overwrites at the same time."""

import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from random import Random

import torch
from helpers import SIG, load, same, solver_state, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_checkpoint
from audiocraft_export.checkpoint.torch_file import TorchFile

from .scene import release_checksums
from .trials import Row, one_sentence

CODEC = "c0dec000"
CONFIGS = {SIG: {"solver": "musicgen", "compression_model_checkpoint": f"//sig/{CODEC}"},
           CODEC: {"solver": "compression", "compression_model": "encodec"}}
FILES = {"state_dict.bin": SIG, "compression_state_dict.bin": CODEC}
KINDS = range(7)  # kinds of checkpoints; the first four have equal sizes and times
EXPORTS = 100
PAUSE = 0.001, 0.006  # seconds between two checkpoints that replace each other
REST = 0.001, 0.03  # seconds between two checkpoints that overwrite each other
EMPTY = 0.0005  # seconds for which an overwritten checkpoint is empty
PIECE = 1 << 14  # bytes that are written at once


@cache
def state(kind, sig):
    """Return a checkpoint of some kind; all values that a release stores differ between the kinds."""
    generator = torch.Generator().manual_seed(1000 * kind + len(CONFIGS[sig]["solver"]))
    rows, epochs = 96 + 16 * max(0, kind - 3), 5 + max(0, kind - 3)
    return solver_state(
        sig, model={}, ema=None, optimizer={},
        history=[{"valid": {"ce": 1 + abs(epoch - kind % epochs) + kind / 8}} for epoch in range(epochs)],
        best_state={"model": {f"layers.{index}": torch.randn(rows, 64, generator=generator) for index in range(12)}},
        **{"xp.cfg": with_cfg(label=f"kind {kind}", **CONFIGS[sig])})


def ready(folder, kind, sig):
    return folder / f"{sig}.{kind}"


def make_xps(folder):
    """Write all kinds of checkpoints of a language model and its codec; return the paths that the trainer writes."""
    paths = [folder / "xps" / sig / "checkpoint.th" for sig in CONFIGS]
    for path, sig in zip(paths, CONFIGS):
        for kind in KINDS:
            torch.save(state(kind, sig), ready(folder, kind, sig))
            moment = 10 ** 18 + max(0, kind - 3)
            os.utime(ready(folder, kind, sig), ns=(moment, moment))
        path.parent.mkdir(parents=True)
        shutil.copy2(ready(folder, 0, sig), path)
    return paths


def replace(folder, path):
    """Replace a checkpoint repeatedly by rename, as Flashy does; return how long to wait."""
    random, kind = Random(1), 0
    while True:
        kind = random.choice([other for other in KINDS if other != kind])
        os.link(ready(folder, kind, path.parent.name), f"{path}.tmp")
        os.rename(f"{path}.tmp", path)
        yield random.uniform(*PAUSE)


def overwrite(folder, path):
    """Overwrite a checkpoint repeatedly in place, as `torch.save` does; return how long to wait."""
    random, contents = Random(1), [ready(folder, kind, path.parent.name).read_bytes() for kind in KINDS]
    while True:
        data = random.choice(contents)
        with open(path, "wb", buffering=0) as stream:
            yield EMPTY
            for begin in range(0, len(data), PIECE):
                stream.write(data[begin:begin + PIECE])
        yield random.uniform(*REST)


def write(how, folder, path):
    """Act as the trainer until the parent process ends."""
    parent = os.getppid()
    for number, pause in enumerate({"replace": replace, "overwrite": overwrite}[how](Path(folder), Path(path))):
        if number == 0:
            print("writing", flush=True)
        time.sleep(pause)
        if os.getppid() != parent:
            break


def export(folder, path, codec, begin, end):
    """Export a checkpoint repeatedly, every second time to the same folder; print each result as JSON."""
    for number in range(int(begin), int(end)):
        out = Path(folder) / f"out-{number if number % 2 else 'again'}"
        outcome, said = export_once(path, out, ExportOptions(version="1.3.0", codec=codec))
        if outcome == "whole":
            outcome, said = judge(Path(folder), out, codec == "auto")
        print(json.dumps([outcome, said]), flush=True)
        if number % 2:
            shutil.rmtree(out, ignore_errors=True)


def export_once(path, out, options):
    try:
        export_checkpoint(path, out, options)
    except ExportError as exc:
        return "refused" if one_sentence(str(exc)) else "tracebacks", str(exc)
    except Exception:
        return "tracebacks", traceback.format_exc()
    return "whole", None


def judge(folder, out, replaced):
    """Check that each file of a release, and its manifest, are of a single checkpoint."""
    if release_checksums(out) is None:
        return "mixtures", "the files are not those of the manifest"
    manifest = json.loads((out / "export.json").read_text())
    kinds = []
    for file in manifest["files"]:
        sig, package = FILES[file["name"]], load(out / file["name"])
        kind = next((kind for kind in KINDS if same(package["best_state"], state(kind, sig)["best_state"]["model"])),
                    None)
        if kind is None:
            return "mixtures", f"the weights in {file['name']} are of no checkpoint"
        said, true = claims_of(manifest, sig, package), truth(folder, kind, sig)
        wrong = [name for name in said if said[name] != true[name] and (replaced or name != "mtime_ns")]
        if wrong:
            return "mixtures", f"weights of {sig}.{kind}, but {[(name, said[name], true[name]) for name in wrong]}"
        kinds.append(kind)
    return "whole", kinds


def claims_of(manifest, sig, package):
    """Return the manifest values of one of the checkpoints of a release."""
    if sig == CODEC:
        return {"text": package["xp.cfg"], **manifest["codec"]["checkpoint"]}
    return {"text": package["xp.cfg"], "epoch": manifest["epoch"], "best": manifest["best"], **manifest["checkpoint"]}


def truth(folder, kind, sig):
    cfg, history, stat = state(kind, sig)["xp.cfg"], state(kind, sig)["history"], ready(folder, kind, sig).stat()
    valid, epoch = min((epoch["valid"]["ce"], number) for number, epoch in enumerate(history, 1))
    identity = TorchFile.read(ready(folder, kind, sig)).source.identity
    return {"text": OmegaConf.to_yaml(cfg), "epoch": len(history), "name": "checkpoint.th", "bytes": stat.st_size,
            "mtime_ns": stat.st_mtime_ns, "identity": identity,
            "best": {"metric": "ce", "epoch": epoch, "valid": {"ce": valid}}}


def process(*args):
    """Return the command that runs a function of this module."""
    return {"args": [sys.executable, "-m", "torture.trainer", *map(str, args)], "text": True,
            "env": {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}


@contextmanager
def writer(how, folder, path):
    with subprocess.Popen(**process("write", how, folder, path)) as running:
        try:
            line = running.stdout.readline()
            assert line, running.stderr.read()
            yield
        finally:
            running.kill()


def exports(folder, path, codec, times):
    """Collect the outcomes of exports in processes that may die."""
    found = []
    while len(found) < times:
        result = subprocess.run(**process("export", folder, path, codec, len(found), times), timeout=300)
        found += map(json.loads, result.stdout.splitlines())
        if result.returncode < 0:
            found.append(["deaths", f"signal {-result.returncode}"])
        elif result.returncode > 0:
            found.append(["tracebacks", result.stderr])
    return found


def replaced(folder, share=1.0):
    """Export 100 times while the checkpoints of model and codec are replaced every few milliseconds."""
    row, paths = Row.of("checkpoints replaced meanwhile", "mixtures", "failures"), make_xps(folder)
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(writer("replace", folder, path))
        outcomes = exports(folder, paths[0], "auto", round(EXPORTS * share))
    for row.attempts, (outcome, said) in enumerate(outcomes, 1):
        failed = outcome not in ("whole", "mixtures")
        row.count("failures" if failed else outcome, f"{outcome}: {said}" if failed else said)
    met = {tuple(said) for outcome, said in outcomes if outcome == "whole"}
    row.outcomes["different"] = len(met)
    if row.attempts > 9 and len(met) < 2:
        row.count("failures", "the trainer wrote nothing")
    return row


def overwritten(folder, share=1.0):
    """Export 100 times while the checkpoint is overwritten in place."""
    row = Row.of("checkpoints written over meanwhile", "mixtures", "deaths", "tracebacks")
    path = make_xps(folder)[0]
    with writer("overwrite", folder, path):
        outcomes = exports(folder, path, "none", round(EXPORTS * share))
    for row.attempts, (outcome, said) in enumerate(outcomes, 1):
        row.count(outcome, said)
    return row


TRIALS = (replaced, overwritten)

if __name__ == "__main__":
    {"write": write, "export": export}[sys.argv[1]](*sys.argv[2:])
