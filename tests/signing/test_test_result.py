"""The test result: which checks a release has passed."""

from dataclasses import replace

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
    assert predicate["configuration"][0]["annotations"] == manifest.versions


def test_it_claims_no_checksums_of_a_running_solver(signed):
    manifest = replace(Manifest.load(signed), checkpoint=None)
    assert "source-crc32" not in result_of(manifest)["predicate"]["passedTests"]
