"""The environment of trainings with real AudioCraft: source, music, a Dora folder, and the real `dora`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import warm

SOURCE = Path(os.environ["AUDIOCRAFT_SRC"]).resolve()
IS_MAIN = (SOURCE / "audiocraft" / "solvers" / "watermark.py").exists()
OURS, STOCK = "audiocraft_export", "audiocraft"
TIMEOUT = 400  # seconds
# What AudioCraft imports in 6 of the 10 seconds that a training takes.
IMPORTED = ("av", "encodec", "librosa.filters", "num2words", "scipy.signal", "soundfile", "spacy", "torchaudio",
            "torchmetrics", "transformers", "xformers.ops")
os.environ.setdefault("USER", "tester")  # required by AudioCraft's configuration
os.environ["HF_HUB_OFFLINE"] = "1"


class Place:
    """A Dora folder, music, and the current folder: that of AudioCraft or a clone."""

    def __init__(self, folder, source=SOURCE):
        self.root, self.source = folder, source
        self.dora_dir = folder / "outputs"
        self.music = write_music(folder / "music")
        self.env = {**os.environ, "AUDIOCRAFT_DORA_DIR": str(self.dora_dir), "PYTHONWARNINGS": "ignore"}

    def python(self, *args, check=True, **env):
        """Run Python, from its start if there are variables, which may be read by an import."""
        if args[0] == "-m" and not env:
            result = warm.run(*map(str, args[1:]), cwd=self.source, env=self.env, timeout=TIMEOUT, others=IMPORTED)
        else:
            result = subprocess.run([sys.executable, *args], cwd=self.source, env={**self.env, **env}, text=True,
                                    capture_output=True, timeout=TIMEOUT)
        assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
        return result

    def dora(self, *args, package=OURS, check=True, **env):
        return self.python("-m", "dora", "-P", package, *args, check=check, **env)

    def argv(self, recipe):
        splits = ("train", "valid", "evaluate", "generate")
        return [*recipe, *(f"datasource.{split}={self.music}" for split in splits)]

    def train(self, recipe, *args, check=True, **env):
        """Train with `dora run`, and return the new XP folder."""
        before = set(self.xps)
        result = self.dora("run", *self.argv(recipe), *args, check=check, **env)
        made = set(self.xps) - before
        assert len(made) == 1, result.stdout[-3000:] + result.stderr[-3000:]
        return made.pop()

    @property
    def xps(self):
        return [path for path in self.dora_dir.glob("xps/*") if path.is_dir()]

    def export(self, *args, check=True):
        return self.python("-m", "audiocraft_export", "run", *map(str, args), check=check)


def write_music(folder):
    """Write AudioCraft's example music as a dataset with the metadata that its conditioners need."""
    import av
    folder.mkdir(parents=True)
    lines = []
    for path in sorted((SOURCE / "assets").glob("*.mp3")):
        with av.open(str(path)) as container:
            duration, sample_rate = container.duration / av.time_base, container.streams.audio[0].rate
        (folder / path.name).symlink_to(path)
        info = {"title": path.stem, "artist": "somebody", "key": "C", "bpm": 120, "genre": "rock", "moods": ["happy"],
                "keywords": ["loud"], "description": path.stem.replace("_", " "), "name": path.stem,
                "instrument": "Mix"}
        (folder / path.name).with_suffix(".json").write_text(json.dumps(info))
        lines.append({"path": str(folder / path.name), "duration": duration, "sample_rate": sample_rate,
                      "amplitude": None, "weight": None, "info_path": None})
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
