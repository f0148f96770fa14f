"""Tell what an export does, with a small model: `python -m audiocraft_export.demo [FOLDER]`."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import readable_size

TRAINING = ("dora", "-P", "audiocraft_export.demo", "run", "export=true")


def main() -> None:
    """Train with an export, show what it made, load the release, and print the next commands."""
    parser = argparse.ArgumentParser(prog="python -m audiocraft_export.demo", description="Train a small model on the "
                                     "CPU, export it, load the release, and show the next commands.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path("export-demo"),
                        help="where to train (default: %(default)s)")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    print(f"Training a small language model on the CPU: {shlex.join(TRAINING)}", flush=True)
    train()
    show(folder)


def train() -> None:
    """Run the training in a process of its own, and show its log only if it fails."""
    result = subprocess.run([sys.executable, "-m", *TRAINING], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, errors="replace")
    if result.returncode:
        sys.exit(f"{result.stdout}error: the training failed")


def show(folder: Path) -> None:
    """Print what the training and the export made in the current folder, which the user knows as `folder`."""
    from .train import main as training
    xp = training.get_xp([])
    xp.link.load()
    checkpoint, release = xp.folder / "checkpoint.th", xp.folder / "export"
    before, after = checkpoint.stat().st_size, sum(path.stat().st_size for path in release.iterdir())
    first, last = (xp.link.history[epoch]["valid"]["ce"] for epoch in (0, -1))
    shown = folder / os.path.relpath(xp.folder)
    print(f"Experiment {xp.sig}: {len(xp.link.history)} epochs, cross entropy {first:.3f} to {last:.3f}\n"
          "When the training ended, export=true exported the best weights:\n\n"
          f"  checkpoint  {readable_size(before):>7}  {shown / checkpoint.name}\n"
          f"  release     {readable_size(after):>7}  {shown / release.name}, {before / after:.1f} times smaller\n"
          f"  loaded      {load(release / 'state_dict.bin')}\n")
    print("Next:" if folder == Path() else f"Next, after `cd {shlex.quote(str(folder))}`:", *next_commands(xp.sig),
          sep="\n  ")


def load(path: Path) -> str:
    """Load a release into its model, as any program can, and describe it."""
    import torch
    from omegaconf import OmegaConf

    from .model import CodebookLM
    release = torch.load(path, weights_only=True)
    model = CodebookLM(**OmegaConf.create(release["xp.cfg"]).lm)
    model.load_state_dict(release["best_state"])
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"with torch.load: {len(release['best_state'])} tensors, {parameters:,} parameters"


def next_commands(sig: str) -> list[str]:
    """Return commands that work when they are typed in the current folder."""
    is_elsewhere = os.environ.keys() & {"AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE"}
    dora_dir = " --dora-dir outputs" if is_elsewhere else ""
    return [f"{command()} {words}{dora_dir}" for words in (
        "list", f"inspect {sig}", f"run {sig} --dtype float16 --folder float16")]


def command() -> str:
    """Return the command by its name if the shell finds it, or else by its path."""
    name = "audiocraft-export"
    found = shutil.which(name, path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
    if found is None:
        return f"{shlex.quote(sys.executable)} -m audiocraft_export"
    return name if found == shutil.which(name) else shlex.quote(min(os.path.relpath(found), found, key=len))


if __name__ == "__main__":
    main()
