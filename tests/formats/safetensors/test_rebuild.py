"""Load a safetensors release with AudioCraft from a temporary folder."""

from audiocraft_export.formats import registry
from audiocraft_export.release.families.registry import family_by_name

from .releases import exported


def test_the_torch_files_exist_while_they_are_loaded(make_xp, dora_dir, monkeypatch):
    folder, seen = exported(make_xp, dora_dir), []
    monkeypatch.setattr(registry, "verify_with_audiocraft", lambda where, family, names: seen.append(
        (where, names, (where / "state_dict.bin").is_file())))
    registry.verify_loads("safetensors", folder, family_by_name("mine"), ["model.safetensors", "config.yaml"])
    (where, names, there), = seen
    assert names == ["state_dict.bin"] and there and not where.exists()
