"""Releases in the safetensors format, and ways to forge them."""

import json
from dataclasses import replace
from hashlib import sha256

import safetensors.torch
from helpers import SIG

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.storage.durable_file import WrittenFile

OPTIONS = ExportOptions(format="safetensors", card=False)


def exported(make_xp, dora_dir, options=OPTIONS, **sections):
    make_xp(**sections)
    return export_xp(SIG, dora_dir, options).folder


def opened(path):
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def digests(folder):
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def header_of(path):
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def forged(folder, name, change):
    """Write a release with another header in a file and a matching manifest, as a forger can."""
    path = folder / name
    header, data = header_of(path)
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    fitting(folder)


def fitting(folder):
    manifest = Manifest.load(folder)
    files = [WrittenFile(file.name, (folder / file.name).stat().st_size, digests(folder)[file.name])
             for file in manifest.files]
    (folder / "export.json").write_text(replace(manifest, files=files).text)
