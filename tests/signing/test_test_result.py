"""The test result: which checks a release has passed."""

from audiocraft_export.release.manifest import Manifest
from audiocraft_export.signing.test_result import test_result as result_of


def test_it_names_the_files_and_the_checks(signed):
    manifest = Manifest.load(signed)
    statement = result_of(manifest)
    assert statement["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert [each["name"] for each in statement["subject"]] == ["state_dict.bin"]  # not of the other attestation
    predicate = statement["predicate"]
    assert predicate["result"] == "PASSED" and predicate["passedTests"] == ["source-crc32", "read-back",
                                                                            "load-audiocraft"]
    assert predicate["configuration"][0]["annotations"] == manifest.versions
