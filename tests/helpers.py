"""Helpers of the tests: checkpoints made by torch, toy Dora projects, and the real `dora`."""

import collections
import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
from hashlib import sha256
from pathlib import Path

import torch
import warm
from omegaconf import OmegaConf

SIG = "0123abcd"
# dtypes without a storage class that this torch can store: none in 2.1, more in later versions
NEW_DTYPES = sorted(str(dtype)[len("torch."):] for dtype in getattr(torch.storage, "_new_dtypes", set)())


def model_state(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        "emb.0.weight": torch.randn(5, 4, generator=generator).to(dtype),
        "linears.0.weight": torch.randn(3, 4, generator=generator).to(dtype),
        "steps": torch.tensor(7 + seed),
    }


def solver_state(sig=SIG, **sections):
    """Return the sections that AudioCraft's StandardSolver stores, each with different weights."""
    cfg = {"solver": "mine", "fsdp": {"use": False}, "optim": {"lr": 1e-4}, "user": "${oc.env:USER}"}
    state = {
        "history": [{"valid": {"ce": 2.0}}, {"valid": {"ce": 1.0}}],
        "xp.cfg": OmegaConf.create(cfg),
        "xp.sig": sig,
        "model": model_state(1),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4}]},
        "ema": {"state": collections.defaultdict(dict, model={
            name: value for name, value in model_state(2).items() if value.is_floating_point()}), "count": 3.0},
        "best_state": {"model": model_state(3)},
        "fsdp_best_state": {},
    }
    state.update(sections)
    return {name: value for name, value in state.items() if value is not ...}


def with_cfg(**changes):
    cfg = solver_state()["xp.cfg"]
    return OmegaConf.merge(cfg, OmegaConf.create(changes))


def load(path):
    """Load a file with torch, allowing only tensors and plain data."""
    return torch.load(path, weights_only=True)


def same(left, right):
    """Return whether two state dicts have equal names in the same order, equal dtypes and equal bits."""
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype and left[name].shape == right[name].shape
        and left[name].detach().contiguous().view(-1).view(torch.uint8).equal(
            right[name].detach().contiguous().view(-1).view(torch.uint8))
        for name in left)


def clean(env):
    """Return the environment without Dora's variables, with additional variables."""
    environ = {key: value for key, value in os.environ.items()
               if key not in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE", "DORA_MAIN_MODULE", "RANK", "WORLD_SIZE")}
    return {**environ, **env, "PYTHONWARNINGS": "ignore"}


def run(*command, cwd, **env):
    """Run a command as a user would, with the package that the tests import."""
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=clean(env), text=True,
                          capture_output=True, timeout=600)


def started(*command, cwd, others=(), **env):
    """Run a command as `run` does, but 1.5 s faster: torch, Dora, Hydra and other modules are imported already."""
    return warm.run(*map(str, command), cwd=cwd, env=clean(env), timeout=600, others=others)


def free_port():
    """Choose a free port for the workers, because Dora derives it from the signature."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def dora(*args, cwd, package="proj", **env):
    if "-d" in args:
        env = {"MASTER_PORT": free_port(), **env}
    return started("dora", "-P", package, *args, cwd=cwd, **env)


def command(*args, cwd, **env):
    return started("audiocraft_export", *args, cwd=cwd, **env)


def on_terminal(*argv, cwd, columns=80, **env):
    """Return what a Python script shows on a terminal with this number of columns."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 30, columns, 0, 0))
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen([sys.executable, *argv], cwd=cwd, stdin=end, stdout=end, stderr=end,
                               env={**environ, "TERM": "xterm", **env})
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1 << 16)
        except OSError:  # On Linux, this error means that the other end of the terminal is closed.
            break
    os.close(terminal)
    assert process.wait() == 0, shown
    return shown.decode()


def last_sentence(result, code=1):
    """Return the last error on stderr of a failed run with its hint, in one line."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    _, found, error = result.stderr.rpartition("error[")
    assert found, result.stderr
    return " ".join(re.sub(r"\x1b\[[\d;]*m", "", f"error[{error}").replace("Export:", "").split())


def change_config(root, old, new):
    """Replace text in the configuration of a project."""
    path = root / "proj" / "conf" / "config.yaml"
    path.write_text(path.read_text().replace(old, new))


def run_python(*argv, cwd):
    """Run a Python script with the environment of the tests."""
    return subprocess.run([sys.executable, *argv], cwd=cwd, text=True, capture_output=True, timeout=600)


# Sections of a checkpoint that is copied in several chunks.
LARGE_STATE = {"model": {"w": torch.randn(1 << 20), "v": torch.randn(3, 5), "steps": torch.tensor(3)}}


def flip_bit(path, tensor):
    """Change one bit of a tensor in a file."""
    data = bytearray(path.read_bytes())
    at = bytes(data).index(tensor.numpy().tobytes()[-64:])
    data[at] ^= 1
    path.write_bytes(data)


def on_disk(path):
    """Return whether a file is on a disk, not in memory (tmpfs)."""
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    kind = max((len(mount), kind) for mount, kind in mounts if Path(mount) in (path, *path.parents))[1]
    return kind not in ("tmpfs", "ramfs", "overlay")


SOLVER = """
    import flashy
    import torch

    class Solver(flashy.BaseSolver):
        def __init__(self, cfg):
            super().__init__()
            self.cfg = cfg
            torch.manual_seed(0)
            self.model = torch.nn.Linear(3, 2)
            self.best_state = {}
            self.register_stateful("model", "best_state")

        def run(self):
            self.restore()
            for _ in range(self.epoch, self.cfg.epochs + 1):
                self.run_stage("train", self.train)
                self.best_state = {"model": {name: value.clone() for name, value in self.model.state_dict().items()}}
                self.commit(save_checkpoint=self.cfg.get("save_last", True))

        def train(self):
            print("TRAINING", self.epoch)
            if self.cfg.get("fail"):
                raise RuntimeError("this training is meant to fail")
            with torch.no_grad():
                self.model.weight.add_(self.cfg.lr)
"""
TRAIN = """
    from dora import hydra_main
    {imports}
    from .solver import Solver

    {decorator}
    @hydra_main(config_path="{config_path}", config_name="{config_name}"{version_base})
    def main(cfg):
        Solver(cfg).run()

    if __name__ == "__main__":
        main()
"""
CONFIG = """
    lr: 0.5
    epochs: 2
    fail: false
    save_last: true
    label: null
    dora:
      dir: {dora_dir}
      exclude: [fail, save_last]
"""


def only_xp(folder):
    """Return the only XP of a project."""
    found = [path for path in (Path(folder) / "outputs" / "xps").iterdir() if path.is_dir()]
    assert len(found) == 1, found
    return found[0]


# Configurations of two families, and the processor state of a diffusion model.
PROCESSOR = {"counts": torch.ones(1), "sum_x": torch.arange(3.0)}
DIFFUSION = {
    "solver": "diffusion", "sample_rate": 16000, "channels": 1,
    "schedule": {"num_steps": 1000, "rate": "${sample_rate}"},
    "diffusion_unet": {"hidden": 8, "items": [{"a": None}, 2.5]}, "processor": {"use": True, "name": "x"},
    "filter": {"use": False, "n_bands": 4, "idx_band": 0, "cutoffs": None}, "n_q": 4,
    "compression_model_checkpoint": "//sig/c0dec000",
}
AUDIOSEAL = {"solver": "watermarking", "device": "cuda", "sample_rate": 16000, "audioseal": {"nbits": 16},
             "seanet": {"dimension": "${detector.output_dim}"}, "detector": {"output_dim": 32}, "dora": {"dir": "/x"}}


def to_format_1(folder):
    """Rewrite the manifest of a release folder in format 1, which has no identity of the checkpoint."""
    path = folder / "export.json"
    values = {name: value for name, value in json.loads(path.read_text()).items()
              if name not in ("checksum", "weights_epoch", "sig_source", "family")}
    values = {**_without_identity(values), "format": 1}
    values["checksum"] = sha256(json.dumps(values).encode()).hexdigest()
    path.write_text(json.dumps(values, indent=2) + "\n")


def _without_identity(value):
    if isinstance(value, list):
        return [*map(_without_identity, value)]
    if not isinstance(value, dict):
        return value
    return {name: _without_identity(item) for name, item in value.items() if name != "identity"}
