"""Scanners find nothing in a release; fickling, which reports every tensor, no more than in a plain torch.save."""

import os

import pytest
import safetensors
import torch
from safetensors.torch import save_file

from audiocraft_export.options import CHOICES

from .releases import CHECKPOINTS, NAMES
from .scanners import (
    HAS_MODELSCAN,
    fickling,
    fickling_as_pickle,
    modelscan,
    picklescan,
    save_plain,
    scan,
    scan_pickle,
)

every_release = pytest.mark.parametrize("release", NAMES, indirect=True)
needs_modelscan = pytest.mark.skipif(not HAS_MODELSCAN, reason="no version of modelscan for this Python")


@pytest.fixture
def release(releases, request):
    return releases / request.param


@pytest.fixture
def planted(tmp_path):
    """A file of torch with a tensor, and a call of os.system that torch.load would make."""
    class Call:
        def __reduce__(self):
            return os.system, ("false",)
    (tmp_path / "planted").mkdir()
    torch.save({"best_state": {"w": torch.ones(2)}, "xp.cfg": Call()}, tmp_path / "planted" / "state_dict.bin")
    return tmp_path / "planted" / "state_dict.bin"


def pickled(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in (".bin", ".pth"))


def test_there_is_a_release_of_every_family(releases):
    assert {path.name for path in releases.iterdir()} == {*NAMES} and {*CHECKPOINTS} == {*CHOICES["family"]} - {None}
    assert all(any(releases.rglob(name)) for name in (
        "state_dict.bin", "compression_state_dict.bin", "diffusion_state_dict.bin", "generator_*.pth",
        "model.safetensors", "compression_model.safetensors", "compression_model.json", "conditioners.safetensors"))


@every_release
def test_picklescan_finds_nothing_beyond_what_it_finds_in_a_plain_file_and_nothing_dangerous(release, tmp_path):
    scanned, found = picklescan(release)
    plain = tmp_path / "plain"
    for path in pickled(release):
        save_plain(path, plain)
    assert scanned >= len(pickled(release))  # a record of a tensor may begin like a pickle
    assert not found - picklescan(plain)[1] and not any(each.startswith("dangerous") for each in found)


@needs_modelscan
@every_release
def test_modelscan_finds_nothing(release):
    assert modelscan(release) == (len(pickled(release)), [])


@every_release
def test_fickling_finds_nothing_beyond_what_it_finds_in_a_plain_file(release, tmp_path):
    for path in pickled(release):
        (verdict, found), (expected, plain) = fickling(path), fickling(save_plain(path, tmp_path))
        assert verdict == expected and not found - plain


@every_release
def test_fickling_finds_in_safetensors_only_what_it_finds_in_a_file_of_that_library(release, tmp_path):
    for path in release.glob("*.safetensors"):
        with safetensors.safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            save_file(tensors, tmp_path / "plain.safetensors", file.metadata())
        assert fickling_as_pickle(path) == fickling_as_pickle(tmp_path / "plain.safetensors")


def test_the_commands_find_nothing(releases, tmp_path):
    code, output = scan("picklescan", "--path", releases, cwd=tmp_path)
    assert code == 0 and "Infected files: 0" in output and "Dangerous globals: 0" in output
    for name in ("musicgen-audiocraft/state_dict.bin", "odd-audiocraft/state_dict.bin",
                 "bands-audiocraft/diffusion_state_dict.bin"):
        code, found = scan_pickle(releases / name, tmp_path)
        plain_code, plain = scan_pickle(save_plain(releases / name, tmp_path), tmp_path / "plain")
        assert code == plain_code and found and not found - plain


@needs_modelscan
def test_the_command_of_modelscan_finds_nothing(releases, tmp_path):
    code, output = scan("modelscan", "--path", releases, cwd=tmp_path)
    assert code == 0 and "No issues found" in output
    code, output = scan("modelscan", "--path", releases / "musicgen-safetensors", cwd=tmp_path)
    assert code == 3 and "No issues found" in output  # there is nothing that it scans


def test_picklescan_and_fickling_find_a_planted_call(planted, tmp_path):
    assert picklescan(planted.parent)[1] == {"dangerous: posix.system": 1}
    code, output = scan("picklescan", "--path", planted, cwd=tmp_path)
    assert code == 1 and "dangerous import 'posix system' FOUND" in output
    torch.save([torch.ones(2)], tmp_path / "plain.bin")
    (verdict, found), (plain_verdict, plain) = fickling(planted), fickling(tmp_path / "plain.bin")
    assert verdict > plain_verdict and any("posix import system" in what for _, _, what in found - plain)
    code, output = scan_pickle(planted, tmp_path)
    assert code == 1 and any("posix import system" in line for line in output)


@needs_modelscan
def test_modelscan_finds_a_planted_call(planted, tmp_path):
    scanned, issues = modelscan(planted)
    assert scanned == 1 and any("'system' from module 'posix'" in what for what in issues)
    code, output = scan("modelscan", "--path", planted, cwd=tmp_path)
    assert code == 1 and "'system' from module 'posix'" in output
