"""Bundles: one form of each is valid, and no byte of it can change."""

import base64
import json
import random

import pytest

from audiocraft_export.errors import ReleaseError
from audiocraft_export.signing.bundle import read_statement, sign_statement
from audiocraft_export.signing.keys import read_private_key, read_public_key

STATEMENT = {"_type": "https://in-toto.io/Statement/v1", "subject": [], "predicate": {"a": [1, 2.5, None, "ü"]}}


@pytest.fixture
def bundle(tmp_path, keys):
    path = tmp_path / "model.sig"
    path.write_bytes(sign_statement(STATEMENT, read_private_key(keys[0])))
    return path


def refused(path, key):
    with pytest.raises(ReleaseError) as refusal:
        read_statement(path, key)
    assert refusal.value.code == "invalid-signature"
    return refusal.value.message


def test_a_statement_comes_back(bundle, keys):
    assert read_statement(bundle, read_public_key(keys[1])) == STATEMENT


def test_the_layout_of_the_json_may_be_another(bundle, keys):
    bundle.write_text(json.dumps(json.loads(bundle.read_text()), indent=2))
    assert read_statement(bundle, read_public_key(keys[1])) == STATEMENT


def test_no_flipped_bit_and_no_other_byte_is_accepted(bundle, keys):
    key, data, chance = read_public_key(keys[1]), bundle.read_bytes(), random.Random(1)
    for at in range(len(data)):
        bundle.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1:])
        refused(bundle, key)
    for extra in (b" ", b"\n", b"\0"):
        bundle.write_bytes(data + extra)
        refused(bundle, key)
    bundle.write_bytes(data)
    assert read_statement(bundle, key)


def changed(data, **values):
    bundle = json.loads(data)
    for path, value in values.items():
        *home, name = path.split("__")
        part = bundle
        for each in home:
            part = part[int(each) if each.isdecimal() else each]
        part[name] = value
    return json.dumps(bundle, separators=(",", ":"))


@pytest.mark.parametrize("values", [
    {"mediaType": "application/json"}, {"other": 1}, {"dsseEnvelope__payloadType": "text/plain"},
    {"dsseEnvelope__signatures": []}, {"dsseEnvelope__signatures__0__keyid": "1"}, {"dsseEnvelope__payload": 1},
    {"verificationMaterial__tlogEntries": [{}]}, {"verificationMaterial__publicKey": {}},
    {"dsseEnvelope__payload": base64.b64encode(b"{}").decode()}, {"dsseEnvelope": []},
])
def test_no_other_value_is_accepted(bundle, keys, values):
    bundle.write_text(changed(bundle.read_text(), **values))
    refused(bundle, read_public_key(keys[1]))


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "[" * 100_000, '{"dsseEnvelope": {}}', "é", "1" * 10_000])
def test_what_is_not_a_bundle_is_refused(bundle, keys, text):
    bundle.write_text(text)
    assert refused(bundle, read_public_key(keys[1])) == "not a valid signature"


def test_a_missing_file_a_symlink_and_a_folder_are_refused(bundle, keys, tmp_path):
    key = read_public_key(keys[1])
    (tmp_path / "link").symlink_to(bundle)
    assert refused(tmp_path / "link", key) == "not a regular file"
    assert refused(tmp_path, key) == "cannot read it: not a regular file"
    assert "is not signed" in refused(tmp_path / "other" / "model.sig", key)
    assert refused(tmp_path / "provenance.intoto.json", key) == "missing"
