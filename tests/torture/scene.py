"""Experiments, a folder with a release of one of them, and checks of its content."""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

from .child import export, run_here

FILES = ("state_dict.bin", "compression_state_dict.bin")
MANIFEST = "export.json"


def experiments(folder, sides="12", floats=1 << 19):
    """Write language models, each with its own codec, without equal parts."""
    import torch
    from helpers import solver_state, with_cfg
    for side in sides:
        shape = torch.Generator().manual_seed(int(side))
        for sig, cfg in [(xp(side), {"solver": "musicgen", "compression_model_checkpoint": f"//sig/c0dec00{side}"}),
                         (f"c0dec00{side}", {"solver": "compression", "compression_model": "encodec"})]:
            state = {f"layer.{index}.weight": torch.randn(floats // 4, generator=shape) for index in range(4)}
            home = Path(folder) / "outputs" / "xps" / sig
            home.mkdir(parents=True)
            torch.save(solver_state(sig=sig, best_state={"model": state}, **{"xp.cfg": with_cfg(**cfg)}),
                       home / "checkpoint.th")
            floats //= 2
        floats *= 4


def xp(side):
    return side * 8


class Scene:
    """Experiments, a folder for a release of any of them, and the expected releases.

    Args:
        root: the folder of the experiments.
        folder: the release folder.
        sides: the names of the experiments.
    """

    def __init__(self, root, folder=None, sides="12"):
        self.root, self.folder = root, folder or root / "place" / "export"
        self.clean = {side: root / "clean" / side for side in sides}
        for side, clean in self.clean.items():
            if not clean.exists() and run_here(self.argv(side, clean)):
                raise RuntimeError(f"The experiments in {root} cannot be exported at all.")
        run_here(self.argv(sides[0], root / "clean" / "warm"))
        run_here(self.argv(sides[-1], root / "clean" / "warm"))
        (root / "clean" / "file").write_text("no folder")
        run_here(self.argv(sides[0], root / "clean" / "file"))
        self.releases = {side: release_checksums(clean) for side, clean in self.clean.items()}
        if any(len({release[name] for release in self.releases.values()}) < len(sides) for name in FILES):
            raise RuntimeError("The releases do not differ in every file.")

    def argv(self, side, folder=None, *more):
        return ["run", str(self.root / "outputs" / "xps" / xp(side)), "--folder", str(folder or self.folder),
                "--version", "1.3.0", "--force", *more]

    def put(self, side="1", folder=None):
        """Write a previous release, and nothing else."""
        folder = folder or self.folder
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(self.clean[side], folder)

    def add_foreign(self):
        """Add files of the user, so that the folder cannot be exchanged."""
        (self.folder / "notes").mkdir()
        (self.folder / "notes" / "mine.txt").write_text("mine")
        (self.folder / "card.md").write_text("mine")

    @property
    def foreign_is_whole(self):
        files = (self.folder / "notes" / "mine.txt", self.folder / "card.md")
        return all(path.is_file() and path.read_text() == "mine" for path in files)

    def side(self, folder=None):
        """Return whose release the folder has; None without a complete one."""
        folder = folder or self.folder
        if not all((folder / name).is_file() for name in (*FILES, MANIFEST)):  # reading a FIFO would block
            return None
        found = release_checksums(folder)
        return next((side for side, release in self.releases.items() if release == found), None)

    def halves(self):
        """Return the files under final names that belong to no complete release."""
        found = [name for name in FILES if (self.folder / name).is_file() and sha256(self.folder / name)
                 not in {release[name] for release in self.releases.values()}]
        with suppress(FileNotFoundError):
            try:
                json.loads((self.folder / MANIFEST).read_text())["files"][1]["sha256"]
            except (ValueError, KeyError, IndexError):
                found.append(MANIFEST)
        return found

    def leftovers(self, folder=None):
        folder = folder or self.folder
        return [path for home in (folder, folder.parent) if home.is_dir() for path in home.iterdir()
                if path.name.startswith(".export-")]

    def judge(self, row, what, allowed=("1", "2")):
        """Count whose release the folder has after a fault."""
        there = self.side()
        if there not in allowed:
            row.count("neither release", f"{what}: {there}")
        for name in self.halves():
            row.count("half a file", f"{what}: {name}")
        return there

    def heals(self, row, what):
        """Check that the next export works and leaves nothing behind; the previous release is the other one."""
        side = "2" if self.side() == "1" else "1"
        outcome = export(self.argv(side))
        if outcome.code != 0 or self.side() != side:
            row.count("next export fails", f"{what}: {outcome}")
        if self.leftovers():
            row.count("leftover after the next", f"{what}: {self.leftovers()}")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def name_of(there, previous="1"):
    return "previous" if there == previous else "new" if there else "neither"


def release_checksums(folder):
    """Return the sha256 of each file of a release folder, or None if it does not match its manifest.

    It does not use the package: `export.json` lists name, bytes and sha256 of every file.
    """
    try:
        files = json.loads((Path(folder) / "export.json").read_text())["files"]
        found = {file["name"]: hashlib.sha256((Path(folder) / file["name"]).read_bytes()).hexdigest() for file in files}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if found and found == {file["name"]: file["sha256"] for file in files} else None
