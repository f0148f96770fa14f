"""The test result: which checks a release has passed."""

from dataclasses import replace

import pytest

from audiocraft_export.release.manifest import Manifest
from audiocraft_export.signing.test_result import test_result as result_of


def test_it_names_the_files_and_the_checks(signed):
    manifest = Manifest.load(signed)
    statement = result_of(manifest)
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert [each["name"] for each in statement["subject"]] == ["state_dict.bin"]  # not of the other attestation
    predicate = statement["predicate"]
    assert predicate["result"] == "PASSED" and predicate["passedTests"] == [
        "source-crc32", f"read-back-{manifest.read_back}", "load-audiocraft"]


@pytest.mark.parametrize(("format", "package"), [
    ("audiocraft", "audiocraft"), ("safetensors", "audiocraft"), ("transformers", "transformers")])
def test_it_names_the_version_of_the_package_that_loaded_the_release(signed, monkeypatch, format, package):
    monkeypatch.setattr("audiocraft_export.signing.test_result.audiocraft_version", lambda: "of audiocraft")
    monkeypatch.setattr("audiocraft_export.signing.test_result.version", "of {}".format)  # may not be installed
    manifest = Manifest.load(signed)
    manifest = replace(manifest, options={**manifest.options, "format": format},
                       versions={**manifest.versions, "audiocraft": "the tag"})
    versions = result_of(manifest)["predicate"]["configuration"][0]["annotations"]
    assert versions.pop(package) == f"of {package}"
    assert {**versions, "audiocraft": "the tag"} == manifest.versions


def test_it_claims_no_checksums_of_a_running_solver(signed):
    manifest = replace(Manifest.load(signed), checkpoint=None)
    assert "source-crc32" not in result_of(manifest)["predicate"]["passedTests"]
