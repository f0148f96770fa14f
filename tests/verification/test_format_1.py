"""Releases of manifest format 1, stored as they were written: one of each family in each format."""

from pathlib import Path

import pytest
from cli.commands import command, inspected
from formats.safetensors.releases import digests

from audiocraft_export import verify
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.families.multiband_diffusion import FILE
from audiocraft_export.release.manifest import Manifest

pytest.importorskip("safetensors")

RELEASES = sorted(path for path in Path(__file__).with_name("format_1").iterdir())
BOTH = ("audiocraft", "safetensors")


def family_and_format(folder):
    return tuple(folder.name.split("-"))


def test_each_family_in_each_format_is_there():
    families = ("musicgen", "audiogen", "magnet", "audio_magnet", "jasco", "lm", "compression", "diffusion", "bands",
                "watermarking", "general", "nonfinite", "tied")
    assert {*map(family_and_format, RELEASES)} == {
        *((family, format) for family in families for format in BOTH),
        ("musicgen", "transformers"), ("compression", "transformers")}


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_a_release_of_format_1_is_sound_and_can_be_looked_into(release):
    result = verify(release)
    assert result.ok and all(verify(path).ok for path in release.iterdir()), str(result)
    assert Manifest.load(release).format == 1
    assert inspected(release, release)[0]["kind"] == "release"
    assert command("inspect", release, cwd=release).stdout
    assert (sum(result.nonfinite_by_file.values()) == 13) == release.name.startswith("nonfinite")


@pytest.mark.parametrize("release", [each for each in RELEASES if family_and_format(each)[1] in BOTH],
                         ids=lambda release: release.name)
def test_a_release_of_format_1_becomes_the_other_format_and_that_one_again(release, tmp_path):
    _, format = family_and_format(release)
    there = convert(release, BOTH[1 - BOTH.index(format)], tmp_path / "there").folder
    max_shard_size = Manifest.load(release).options.get("max_shard_size", "5GB")
    back = convert(there, format, tmp_path / "back", max_shard_size).folder
    expected, found = digests(release), digests(back)
    assert expected.pop("export.json") != found.pop("export.json") and expected.keys() == found.keys()
    if FILE in found:  # The same content: only the opcodes of its configuration have changed.
        expected, found = digests(there), digests(convert(back, "safetensors", tmp_path / "again").folder)
    assert expected == found
    assert verify(there).ok and verify(back).ok
