"""Choose the comparison for a transformers release; tests/audiocraft has the comparisons themselves."""

import json

import pytest

from audiocraft_export.formats.transformers import verify


@pytest.mark.parametrize(("architecture", "codec", "done"), [
    ("EncodecModel", False, ["encodec"]), ("MusicgenForCausalLM", False, ["musicgen"]),
    ("MusicgenForConditionalGeneration", True, ["musicgen", "inner codec"])])
def test_each_model_in_a_release_is_compared(tmp_path, monkeypatch, architecture, codec, done):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    if codec:
        (tmp_path / "compression_config.yaml").touch()
    called = []
    for function, name in [("verify_encodec", "encodec"), ("verify_musicgen", "musicgen"),
                           ("_verify_inner_codec", "inner codec")]:
        monkeypatch.setattr(verify, function, lambda folder, name=name: called.append(name))
    verify.verify_with_transformers(tmp_path)
    assert called == done
