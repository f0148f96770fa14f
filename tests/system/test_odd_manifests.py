"""Manifests with unusual values and a valid checksum: every reader accepts valid ones and rejects the others."""

import json
from hashlib import sha256

import pytest
from cli.commands import PRETRAINED, in_process
from helpers import SIG, with_cfg

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.release.manifest import Manifest

pytest.importorskip("safetensors")

BAND = {"sig": None, "epoch": 0, "weights": "", "why": "", "checkpoint": None, "config": ""}
SOURCE = {"name": "checkpoint.th", "bytes": 1, "mtime_ns": -1}
VALID = [
    {"best": {"metric": None, "epoch": 2, "valid": {}}}, {"best": {"epoch": 2, "valid": {}}, "weights_epoch": 2},
    {"best": {"metric": None, "epoch": 2, "valid": {"ce": 1}, "value": 3}, "weights_epoch": 2},
    {"best": {"metric": "test.acc", "epoch": 2, "valid": {}, "value": 3}, "weights_epoch": 2},
    {"best": {"metric": "\udcff", "epoch": 0, "valid": {"\udcff": -1e300}}, "weights_epoch": 0},
    {"codec": {}}, {"codec": {"sig": None, "checkpoint": {**SOURCE, "name": None}}}, {"codec": {"pretrained": ""}},
    {"versions": {}}, {"versions": {"\x1b[31m": "|\n|"}}, {"dtypes": {}}, {"warnings": ["", "|\n<!-- x -->", "\udcff"]},
    {"options": {}}, {"options": {"format": None, "weights": [], "version": 3}}, {"options": {"format": "next"}},
    {"bands": []}, {"bands": [BAND]}, {"bands": [{**BAND, "best": {"epoch": 1, "valid": {}}, "more": 1}]},
    {"sig": None, "solver": None, "checkpoint": None, "family": None, "sig_source": None}, {"family": "next"},
    {"epoch": 0, "tensors": 0, "parameters": (1 << 63) - 1, "weights_epoch": (1 << 63) - 1},
    {"weights": "", "why": "", "config": "", "time": ""}, {"nonfinite": {"": {}, "x": {"": 0}}},
    {"checkpoint": {**SOURCE, "identity": None, "more": []}}, {"checkpoint": {**SOURCE, "mtime_ns": "x"}},
    {"checkpoint": {}}, {"checkpoint": {**SOURCE, "bytes": "1"}}, {"checkpoint": {"name": []}}, {"codec": {"file": {}}},
    {"codec": {"checkpoint": {"name": 1}}},
    {"config_sha256": []},
]
INVALID = [
    {"weights": None}, {"why": 1}, {"config": []}, {"time": {}}, {"epoch": True}, {"epoch": -1}, {"tensors": 1.0},
    {"parameters": 1 << 63}, {"parameters": 10 ** 400}, {"dtypes": {"float32": "1"}}, {"warnings": [1]},
    {"warnings": ["", None]}, {"versions": {"torch": 2}}, {"versions": {"torch": None}}, {"format": True},
    {"nonfinite": {"x": {"w": -1}}}, {"nonfinite": {"x": {"w": True}}}, {"weights_epoch": 1.5},
    {"checkpoint": []}, {"checkpoint": "checkpoint.th"}, {"codec": {"checkpoint": "x"}},
    {"codec": {"sig": []}}, {"codec": {"pretrained": 1}},
    {"codec": {"file": "x"}}, {"bands": [{}]},
    {"bands": [{**BAND, "epoch": ""}]},
    {"bands": [{**BAND, "best": {"epoch": 1}}]}, {"bands": [None]}, {"best": {"metric": "ce", "epoch": 1, "valid": {}}},
    {"best": {"metric": "ce", "epoch": 1, "valid": {}, "value": None}},
    {"best": {"metric": ["ce"], "epoch": 1, "valid": {}}}, {"best": {"metric": None, "epoch": -1, "valid": {}}},
    {"best": {"metric": None, "epoch": 1, "valid": {"ce": 10 ** 400}}}, {"options": []},
]


@pytest.fixture(params=["audiocraft", "safetensors"])
def rewrite(request, make_xp, dora_dir):
    """Change values in the manifest of a release, and update its checksum as a forger could."""
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint=PRETRAINED)})
    folder = export_xp(SIG, dora_dir, ExportOptions(format=request.param, card=True)).folder

    def write(changes):
        values = {**json.loads((folder / "export.json").read_text()), **changes}
        del values["checksum"]
        values["checksum"] = sha256(json.dumps(values).encode()).hexdigest()
        (folder / "export.json").write_text(json.dumps(values, indent=2) + "\n")
        return folder
    return write


@pytest.mark.parametrize("changes", [*VALID, *INVALID], ids=lambda changes: json.dumps(changes)[:60])
def test_every_reader_accepts_a_manifest_or_reports_it_as_invalid(rewrite, changes, dora_dir, tmp_path):
    folder = rewrite(changes)
    assert (Manifest.load_or_none(folder) is not None) == (changes in VALID)
    to = "safetensors" if (folder / "state_dict.bin").exists() else "audiocraft"
    for argv in (["inspect", folder], ["inspect", folder, "--json"], ["inspect", SIG], ["list"], ["list", "--json"],
                 ["verify", folder], ["verify", folder, "--against", SIG], ["run", SIG, "--dry-run"],
                 ["convert", folder, "--to", to, "--folder", tmp_path / "there"],
                 ["run", SIG, "--format=safetensors", "--card"]):
        argv += ["--dora-dir", dora_dir] if argv[0] != "convert" else []
        result = in_process([*map(str, argv)], tmp_path)
        assert result.returncode in (0, 1) and "Traceback" not in result.stderr, (argv, result.stderr)
        if argv[0] == "list" or argv[0] == "inspect" and changes in VALID:
            assert result.returncode == 0 and result.stdout, (argv, result.stderr)
