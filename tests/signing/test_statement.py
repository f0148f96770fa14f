"""Statements: the files that a signature covers."""

from copy import deepcopy

import pytest

from audiocraft_export.errors import ReleaseError
from audiocraft_export.signing.statement import IGNORED, SignedFiles, attestation
from audiocraft_export.storage.durable_file import WrittenFile

DIGESTS = {"b": "02" * 32, "a": "01" * 32}


def test_the_files_come_back_sorted_with_the_ignored_paths():
    statement = SignedFiles(DIGESTS).statement("model")
    found = SignedFiles.of(statement)
    assert found.digests == DIGESTS and [*found.digests] == ["a", "b"] and found.ignored == IGNORED


def test_an_attestation_names_the_files():
    made = attestation([WrittenFile("a", 1, "01" * 32)], "urn:x", {"key": 1})
    assert made == {"_type": "https://in-toto.io/Statement/v1", "subject": [
        {"name": "a", "digest": {"sha256": "01" * 32}}], "predicateType": "urn:x", "predicate": {"key": 1}}


@pytest.mark.parametrize("change", [
    lambda each: each.update(_type="x"), lambda each: each.update(predicateType="https://slsa.dev/provenance/v1"),
    lambda each: each["subject"].append({}), lambda each: each["subject"].clear(), lambda each: each.pop("predicate"),
    lambda each: each["subject"][0]["digest"].update(sha256="00" * 32),
    lambda each: each["predicate"]["serialization"].update(method="shards"),
    lambda each: each["predicate"]["serialization"].update(hash_type="blake3"),
    lambda each: each["predicate"]["resources"].reverse(), lambda each: each["predicate"]["resources"].pop(),
    lambda each: each["predicate"]["resources"].append(each["predicate"]["resources"][0]),
    lambda each: each["predicate"]["resources"][0].update(algorithm="sha512"),
    lambda each: each["predicate"]["resources"][0].update(digest="no hex"),
    lambda each: each["predicate"].update(resources=None),
])
def test_another_statement_is_refused(change):
    statement = deepcopy(SignedFiles(DIGESTS).statement("model"))
    change(statement)
    with pytest.raises(ReleaseError, match="not a signature of files"):
        SignedFiles.of(statement)


@pytest.mark.parametrize("value", [None, [], 1, "text", {}])
def test_what_is_not_a_statement_is_refused(value):
    with pytest.raises(ReleaseError):
        SignedFiles.of(value)
