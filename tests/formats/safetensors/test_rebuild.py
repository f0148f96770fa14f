"""Loading a release in safetensors by AudioCraft: it is restored in a temporary folder first."""

from audiocraft_export.formats.safetensors import rebuild
from audiocraft_export.release.families.registry import family_named

from .releases import exported


def test_the_files_of_torch_are_there_while_they_are_loaded(make_xp, dora_dir, monkeypatch):
    folder, seen = exported(make_xp, dora_dir), []
    monkeypatch.setattr(rebuild, "verify_with_audiocraft", lambda where, family, names: seen.append(
        (where, names, (where / "state_dict.bin").is_file())))
    rebuild.rebuild_with_audiocraft(folder, family_named("mine"), ["model.safetensors", "config.yaml"])
    (where, names, there), = seen
    assert names == ["state_dict.bin"] and there and not where.exists()
