"""A training of MusicGen signs its release, and attests that AudioCraft loads it."""

import json
import shutil
from hashlib import sha256

import pytest
import recipes
from signing.signers import write_keys

from audiocraft_export import verify
from audiocraft_export.signing.bundle import read_statement
from audiocraft_export.signing.keys import read_public_key

MODEL_FILES = ["state_dict.bin", "compression_state_dict.bin"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signed(place, keys):
    """The folder of the release of a training with `attest` and `source_digest`."""
    return place.train([*recipes.MUSICGEN, "label=signed"], "export=true", "exporter.verify=load",
                       f"exporter.sign={keys[0]}", "exporter.attest=true", "exporter.source_digest=true") / "export"


def digest_of(path):
    return sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["test-result.intoto.json", "provenance.intoto.json"])
def test_an_attestation_is_about_the_model_files(signed, keys, name):
    statement = read_statement(signed / name, read_public_key(keys[1]))
    assert statement["subject"] == [{"name": file, "digest": {"sha256": digest_of(signed / file)}}
                                    for file in MODEL_FILES]


def test_the_test_result_says_that_audiocraft_loads_the_release(signed, keys):
    predicate = read_statement(signed / "test-result.intoto.json", read_public_key(keys[1]))["predicate"]
    assert predicate["result"] == "PASSED"
    assert predicate["passedTests"] == ["source-crc32", "read-back-device", "load-audiocraft"]
    assert predicate["configuration"][0]["annotations"]["audiocraft"] == "1.3.0"


def test_the_provenance_names_the_checkpoint_and_the_compression_model(signed, keys):
    predicate = read_statement(signed / "provenance.intoto.json", read_public_key(keys[1]))["predicate"]
    checkpoint, codec = predicate["buildDefinition"]["resolvedDependencies"]
    assert checkpoint["annotations"] == {"sig": signed.parent.name}
    assert checkpoint["digest"]["sha256"] == digest_of(signed.parent / "checkpoint.th")
    assert codec["uri"].endswith(":debug_compression_model")


def test_the_signature_covers_all_files_and_audiocraft_still_loads_them(signed, keys, place, tmp_path):
    listed = {file["name"] for file in json.loads((signed / "export.json").read_text())["files"]}
    assert {path.name for path in signed.iterdir()} - listed <= {"export.json", "model.sig"}
    result = place.python("-m", "audiocraft_export", "verify", str(signed), "--key", str(keys[1]), "--load")
    assert "model.sig: intact" in result.stdout
    copy = shutil.copytree(signed, tmp_path / "copy")
    (copy / "test-result.intoto.json").write_bytes((copy / "provenance.intoto.json").read_bytes())
    assert verify(signed, key=keys[1]).ok and not verify(copy, key=keys[1]).ok
