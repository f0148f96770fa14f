"""Push a release in a process with its own environment."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from audiocraft_export.sharing.hub.push import push

from .hub_server import SIGNATURE, TOKEN
from .hub_xet import ACCESS

REPO = "org/model"
LATER = "audiocraft-export run 0123abcd --push-to-hub org/model"
CARD = "---\nlicense: mit\n---\n# A model\n"
SECRETS = (TOKEN, SIGNATURE, ACCESS, "pa55word")
CLIENT = """
import contextlib, io, json, logging, os, sys, time, traceback
from pathlib import Path
from huggingface_hub import snapshot_download
from audiocraft_export.errors import ExportError
from audiocraft_export.sharing.hub import push as hub

logging.basicConfig(level=os.environ.get("LEVEL", "WARNING"))
time.sleep = lambda seconds: None  # it would wait for up to 8 s before it tries again
for line in sys.stdin:
    name, args = json.loads(line)
    try:
        folder = Path(args.pop("folder"))
        if name == "download":
            with contextlib.redirect_stderr(io.StringIO()):
                value = snapshot_download(**args, local_dir=folder)
        else:
            to = hub.Destination(folder, *args.pop("to"))
            value = {"push": hub.push, "card": hub.remote_card}[name](to, **args)
        answer = {"value": value}
    except ExportError as exc:
        answer = {"kind": type(exc).__name__, "error": str(exc), "code": exc.code,
                  "hint": exc.hint, "trace": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
"""


class Client:
    """A process with its own home folder, because huggingface_hub reads its environment when it is imported."""

    def __init__(self, home, url, **env):
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        path = os.pathsep.join([str(Path(push.__code__.co_filename).parents[3]), *sys.path])
        environ.update({"HF_HOME": str(home), "HF_ENDPOINT": url, "HF_TOKEN": TOKEN, "PYTHONPATH": path, **env})
        self.said = home / "stderr"
        home.mkdir(exist_ok=True)
        with self.said.open("wb") as said:
            self.process = subprocess.Popen([sys.executable, "-c", CLIENT], text=True, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=said, env=environ)

    def __call__(self, name, **args):
        print(json.dumps([name, args], default=str), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        said = answer + self.said.read_text()
        assert not [secret for secret in SECRETS if secret in said], said
        assert answer, said
        return json.loads(answer)

    def push(self, folder, repo=REPO, private=False, revision=None, message="A release", **args):
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "notes.txt")
        answer = self("push", folder=folder, to=[repo, LATER, private, revision], names=names, message=message, **args)
        if "error" in answer:
            assert answer["kind"] == "ReleaseError" and "\n" not in answer["error"]
            assert f"The release in {folder} is complete" in answer["error"]
            assert answer["hint"].endswith((f", then run: {LATER}", f"push again with: {LATER}"))
            assert answer["code"] == ("hub-conflict" if "was edited on the Hub" in answer["error"] else "push-failed")
        return answer

    def card(self, folder, revision=None):
        return self("card", folder=folder, to=[REPO, LATER, False, revision])["value"]

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=60) == 0
        assert self.said.read_text() == ""  # no progress bars and no warnings without a terminal
        logs = "".join(path.read_text() for path in self.said.parent.rglob("*.log"))  # hf_xet writes warnings
        assert not [secret for secret in SECRETS if secret in logs]


def write(folder, seed=0, **files):
    """Write a release folder with its manifest, and notes that are not part of the release."""
    folder.mkdir(exist_ok=True)
    noise = random.Random(f"{folder}{seed}")  # chunks that no other test has uploaded
    contents = {"state_dict.bin": noise.randbytes(50_000), "model.safetensors": noise.randbytes(250_000),
                "config.json": b'{"seed": %d}' % seed, **{name: text and text.encode() for name, text in files.items()}}
    for name, data in contents.items():
        (folder / name).write_bytes(data) if data else (folder / name).unlink(missing_ok=True)
    listed = [{"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
              for name, data in contents.items() if data]
    (folder / "export.json").write_text(json.dumps({"files": listed}))
    (folder / "notes.txt").write_text("mine")
    return folder


def released(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name != "notes.txt" and ".cache" not in path.parts}


def there(hub, revision="main"):
    return {name: file.data for name, file in hub.repos[REPO].files(revision).items() if name != ".gitattributes"}
