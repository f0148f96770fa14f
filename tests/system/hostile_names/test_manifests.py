"""Hostile file names in a manifest."""

import json
import os
from hashlib import sha256

import pytest
import torch
from helpers import SIG, load, model_state, same
from omegaconf import OmegaConf

import audiocraft_export
from audiocraft_export import (
    export_xp,
)

from .names import CONTROL, is_clean, label


def manifest_naming(folder, *names, **changes):
    """Write the manifest of a release with additional file names."""
    manifest = json.loads((folder / "export.json").read_text())
    for name in names:
        data = b""
        if isinstance(name, str) and os.path.isfile(folder / name):
            data = (folder / name).read_bytes()
        manifest["files"].append({"name": name, "bytes": len(data), "sha256": sha256(data).hexdigest(), **changes})
    (folder / "export.json").write_text(json.dumps(manifest, indent=2) + "\n")


@pytest.fixture
def folder(make_xp, dora_dir, tmp_path):
    """Write a release next to unrelated files."""
    folder = dora_dir / "xps" / SIG / "export"
    make_xp()
    export_xp(SIG, dora_dir)
    (folder / "sub").mkdir()
    for name in ("precious.yaml", "precious.txt", "generator_mine.pth", "detector_mine.pth", "sub/x", "sub/y.yaml",
                 "../history.json"):
        (folder / name).write_text(f"mine: {name}")
    (folder / "linked.yaml").symlink_to(tmp_path / "victim")
    (folder / "compression_state_dict.bin").symlink_to(tmp_path / "victim")
    return folder


def kept(folder):
    return {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file() and path.name not in (
        "export.json", "state_dict.bin", "compression_state_dict.bin")}


HOSTILE = ["../../victim", "../../../../victim", "{root}/victim", "sub/x", "./precious.yaml", "precious.yaml",
           "precious.txt", "linked.yaml", "generator_mine.pth", "detector_mine.pth", "sub/y.yaml", "../history.json",
           "../checkpoint.th", "sub", "..", ".", "", "/", "export.json", "state_dict.bin/../precious.yaml", "\0",
           "state_dict.bin\0", CONTROL, "x" * 10_000, None, 3, ["precious.yaml"], {"a": 1}, True]


@pytest.mark.parametrize("name", [*HOSTILE, HOSTILE], ids=label)
@pytest.mark.parametrize("changes", [{}, {"sha256": "0" * 64, "bytes": 0}, {"bytes": -1}], ids=["true", "false", "odd"])
def test_a_manifest_cannot_have_anything_removed_that_is_not_of_a_release(make_xp, dora_dir, tmp_path, folder, run,
                                                                         name, changes):
    names = [each.format(root=tmp_path) if isinstance(each, str) and "{root}" in each else each
             for each in (name if name is HOSTILE else [name])]
    manifest_naming(folder, *names, **changes)
    before = kept(folder)
    make_xp(best_state={"model": model_state(3)}, history=[])
    before = {**before, folder.parent / "checkpoint.th": (folder.parent / "checkpoint.th").read_bytes()}
    assert run(SIG, f"--dora-dir={dora_dir}", "--codec=none")[0] == 0
    assert kept(folder) == before
    assert same(load(folder / "state_dict.bin")["best_state"], model_state(3))


@pytest.mark.parametrize("text", ["", "null", "3", "[]", "{}", '{"files": 3}', '{"files": [3]}', '{"files": {"a": 1}}',
                                  "[" * 100_000, '{"files": ' + "[" * 100_000, "9" * 10_000, "\ufeff{}", "NaN",
                                  '{"files": [{"name": "precious.yaml"}]}', "\udcff"])
@pytest.mark.parametrize("victim", ["export.json", "../history.json", "../.argv.json"])
def test_an_invalid_json_file_does_not_fail(make_xp, dora_dir, folder, run, text, victim):
    before = kept(folder)
    (folder / victim).write_text(text, errors="surrogateescape")
    assert run(SIG, f"--dora-dir={dora_dir}", "--weights=last")[0] == 0
    assert same(load(folder / "state_dict.bin")["best_state"], model_state(1))
    assert set(before) <= set(kept(folder))


@pytest.mark.parametrize("name", [*HOSTILE, "/dev/zero", "/etc/passwd", "compression_state_dict.bin"],
                         ids=label)
def test_a_release_with_a_hostile_manifest_does_not_verify_and_leads_nowhere(folder, tmp_path, opened, name):
    name = name.format(root=tmp_path) if isinstance(name, str) and "{root}" in name else name
    (folder / "compression_state_dict.bin").unlink()
    manifest_naming(folder, name)
    opened.clear()
    found = audiocraft_export.verify(folder)
    assert not found.ok and found.problems and all(is_clean(str(problem)) for problem in found.problems)
    assert not {"/dev/zero", "/etc/passwd", str(tmp_path / "victim")} & set(opened)


def test_a_watermarking_release_leaves_the_files_of_others_that_are_named_like_its_own(make_xp, dora_dir, folder):
    state = {"generator.a": torch.ones(1), "detector.a": torch.ones(1)}
    cfg = OmegaConf.create({"solver": "watermarking", "audioseal": {}, "seanet": {}, "detector": {}})
    before = kept(folder)
    make_xp(**{"xp.cfg": cfg, "best_state": {"model": state}})
    report = export_xp(SIG, dora_dir)
    manifest_naming(folder, "precious.yaml", "generator_mine.pth", "detector_mine.pth")
    make_xp()
    export_xp(SIG, dora_dir)
    before[folder.parent / "checkpoint.th"] = (folder.parent / "checkpoint.th").read_bytes()
    assert before.items() <= kept(folder).items() and len(report.files) == 3
