"""What the tests share: checkpoints made by torch, toy Dora projects, and the real `dora`."""

import collections
import fcntl
import json
import os
import pty
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
# Those that this torch can store without a storage class of their own: none in 2.1, more with each version.
NEW_DTYPES = sorted(str(dtype)[len("torch."):] for dtype in getattr(torch.storage, "_new_dtypes", set)())


def model_state(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        "emb.0.weight": torch.randn(5, 4, generator=generator).to(dtype),
        "linears.0.weight": torch.randn(3, 4, generator=generator).to(dtype),
        "steps": torch.tensor(7 + seed),
    }


def solver_state(sig=SIG, **sections):
    """The sections that AudioCraft's StandardSolver stores; each weight set is another one."""
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
    """What torch loads, with nothing allowed but tensors and plain data."""
    return torch.load(path, weights_only=True)


def same(left, right):
    """Same names in the same order, same dtypes, same bits."""
    return list(left) == list(right) and all(
        left[name].dtype == right[name].dtype and left[name].shape == right[name].shape
        and left[name].detach().contiguous().view(-1).view(torch.uint8).equal(
            right[name].detach().contiguous().view(-1).view(torch.uint8))
        for name in left)


def clean(env):
    """The environment of a user who has none of Dora's variables, with some more."""
    environ = {key: value for key, value in os.environ.items()
               if key not in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE", "DORA_MAIN_MODULE", "RANK", "WORLD_SIZE")}
    return {**environ, **env, "PYTHONWARNINGS": "ignore"}


def run(*command, cwd, **env):
    """Run a command as a user would; the package comes from where the tests import it."""
    return subprocess.run([sys.executable, "-m", *command], cwd=cwd, env=clean(env), text=True,
                          capture_output=True, timeout=600)


def started(*command, cwd, **env):
    """What `run` does, 1.5 s sooner: torch, Dora and Hydra are imported already."""
    return warm.run(*command, cwd=cwd, env=clean(env), timeout=600)


def free_port():
    """Dora takes the port of its workers from the signature, whether it is free or not."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def dora(*args, cwd, package="proj", **env):
    if "-d" in args:
        env = {"MASTER_PORT": free_port(), **env}
    return started("dora", "-P", package, *args, cwd=cwd, **env)


def command(*args, cwd, **env):
    return run("audiocraft_export", *args, cwd=cwd, **env)


def on_terminal(*argv, cwd, columns=80, **env):
    """What Python shows on a terminal of so many columns."""
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
        except OSError:  # how Linux says that nobody writes any more
            break
    os.close(terminal)
    assert process.wait() == 0, shown
    return shown.decode()


def last_sentence(result, code=1):
    """The last line on stderr of a run that was refused."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr, result.stderr
    return result.stderr.splitlines()[-1]


def change_config(root, old, new):
    """Replace text in the configuration of a project."""
    path = root / "proj" / "conf" / "config.yaml"
    path.write_text(path.read_text().replace(old, new))


def run_python(*argv, cwd):
    """Run Python as it is, with the environment of the tests."""
    return subprocess.run([sys.executable, *argv], cwd=cwd, text=True, capture_output=True, timeout=600)


# Sections of a checkpoint that takes several chunks to copy.
LARGE_STATE = {"model": {"w": torch.randn(1 << 20), "v": torch.randn(3, 5), "steps": torch.tensor(3)}}


def flip_bit(path, tensor):
    """Change one bit of a tensor in a file."""
    data = bytearray(path.read_bytes())
    at = bytes(data).index(tensor.numpy().tobytes()[-64:])
    data[at] ^= 1
    path.write_bytes(data)


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
            if self.checkpoint_path.exists():
                self.load_state_dict(torch.load(self.checkpoint_path, weights_only=False))
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
    """The one XP of a project that has trained one."""
    found = [path for path in (Path(folder) / "outputs" / "xps").iterdir() if path.is_dir()]
    assert len(found) == 1, found
    return found[0]


# Configurations of two families, and the state of the processor of a diffusion model.
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
    """Write the manifest of a release folder as it was before checkpoints were identified."""
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
