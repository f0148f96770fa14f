"""Draw the output of `list` and `inspect` as SVG: `python docs/screenshots.py FOLDER` trains in a new folder first.

The Dora folder has six trainings of the demo: one was killed, one was exported while it was running, two were exported
at their end, and the release of one of these was damaged.
"""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 96
SWEEP = ["lm.dim=64", "lm.dim=128", "lm.dim=128 optim.lr=1e-3 export=true", "lm.dim=192 optim.lr=1e-3 export=true"]
WIDE = "lm.dim=512 optim.lr=1e-3"


def train(folder: Path, overrides: str) -> "subprocess.Popen[bytes]":
    """Start a training of the demo in a folder."""
    command = [sys.executable, "-m", "dora", "-P", "audiocraft_export.demo", "run", "optim.epochs=12"]
    return subprocess.Popen([*command, *overrides.split()], cwd=folder, stderr=subprocess.DEVNULL)


def after_epochs(training: "subprocess.Popen[bytes]", folder: Path, before: set[Path], epochs: int) -> Path:
    """Wait until a new training has stored a number of epochs, and return its XP folder."""
    while training.poll() is None:
        for xp in {*folder.glob("outputs/xps/*")} - before:
            history = xp / "history.json"
            if history.exists() and history.read_text().count('"valid"') >= epochs and (xp / "checkpoint.th").exists():
                return xp
        time.sleep(0.02)
    raise SystemExit("A training ended too early: see it with `dora -P audiocraft_export.demo run`.")


def export(folder: Path, *argv: str) -> None:
    """Run `audiocraft-export` in a folder."""
    subprocess.run([sys.executable, "-m", "audiocraft_export", *argv], cwd=folder, check=True)


def train_all(folder: Path) -> Path:
    """Create the Dora folder, and return the XP folder for `inspect`."""
    for overrides in SWEEP:
        before = {*folder.glob("outputs/xps/*")}
        if train(folder, overrides).wait():
            raise SystemExit(f"The training with {overrides} failed.")
    damaged, = {*folder.glob("outputs/xps/*")} - before
    os.truncate(damaged / "export" / "state_dict.bin", 1000)
    before = {*folder.glob("outputs/xps/*")}
    stopped = train(folder, f"{WIDE} optim.ema.use=false")
    after_epochs(stopped, folder, before, 5)
    stopped.send_signal(signal.SIGKILL)
    before = {*folder.glob("outputs/xps/*")}
    going_on = train(folder, WIDE)
    shown = after_epochs(going_on, folder, before, 3)
    export(folder, "run", shown.name)
    going_on.wait()
    return shown


def on_terminal(folder: Path, *argv: str) -> str:
    """Return the output of `audiocraft-export` on a terminal."""
    said: list[bytes] = []

    def read(terminal: int) -> bytes:
        said.append(os.read(terminal, 1 << 16))
        return said[-1]
    os.environ.update(COLUMNS=str(COLUMNS), TERM="xterm-256color")
    os.chdir(folder)
    pty.spawn([sys.executable, "-m", "audiocraft_export", *argv], read)
    return b"".join(said).decode().replace("\r", "")


def draw(folder: Path, path: Path, *argv: str) -> None:
    """Write the output of `audiocraft-export` in a folder as SVG."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    command = " ".join(["audiocraft-export", *argv])
    console.print(Text(f"$ {command}\n"), Text.from_ansi(on_terminal(folder, *argv).replace(f"{folder}/", "")), sep="")
    console.save_svg(str(path), title=command, unique_id=argv[0])


if __name__ == "__main__":
    place, docs = Path(sys.argv[1]).resolve(), Path(__file__).resolve().parent
    place.mkdir(parents=True)
    sig = train_all(place).name
    draw(place, docs / "list.svg", "list")
    draw(place, docs / "inspect.svg", "inspect", sig)
