"""Keys: EC keys of three curves are read, all other files are refused with a reason."""

import os

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from audiocraft_export.errors import ReleaseError
from audiocraft_export.signing.keys import (
    PASSPHRASE,
    algorithm,
    key_hint,
    needs_passphrase,
    read_private_key,
    read_public_key,
)

from .signers import rsa_key, write_keys


def refused(read, path, code="invalid-key"):
    with pytest.raises(ReleaseError) as refusal:
        read(path)
    assert refusal.value.code == code
    return str(refusal.value)


@pytest.mark.parametrize(("curve", "name"), [(ec.SECP256R1, "sha256"), (ec.SECP384R1, "sha384"),
                                             (ec.SECP521R1, "sha512")])
def test_the_curve_decides_the_hash(tmp_path, curve, name):
    private, public = write_keys(tmp_path, curve)
    key = read_private_key(private).public_key()
    assert key_hint(key) == key_hint(read_public_key(public))
    assert algorithm(key).algorithm.name == name


def test_an_encrypted_key_needs_its_passphrase_from_the_environment(tmp_path, monkeypatch):
    private, _ = write_keys(tmp_path, passphrase="open sesame")
    assert needs_passphrase(private)
    monkeypatch.delenv(PASSPHRASE, raising=False)
    assert PASSPHRASE in refused(read_private_key, private, "missing-passphrase")
    monkeypatch.setenv(PASSPHRASE, "wrong words")
    text = refused(read_private_key, private, "missing-passphrase")
    assert "passphrase is wrong" in text and "wrong words" not in text
    monkeypatch.setenv(PASSPHRASE, "open sesame")
    assert read_private_key(private)


def test_a_passphrase_in_the_environment_is_ignored_for_a_key_without_one(tmp_path, monkeypatch):
    private, _ = write_keys(tmp_path)
    monkeypatch.setenv(PASSPHRASE, "unused")
    assert read_private_key(private) and not needs_passphrase(private)


@pytest.mark.parametrize(("make", "says"), [
    (lambda path: None, "Cannot read the key .*No such file"),
    (lambda path: path.write_bytes(os.urandom(99)), "not a key in PEM format"),
    (lambda path: path.write_bytes(b"x" * 100_000), "file is too large"),
    (lambda path: path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
     "not a valid key in PEM format"),
    (lambda path: path.mkdir(), "not a regular file"), (os.mkfifo, "not a regular file"),
])
def test_a_file_that_is_not_a_key_is_refused(tmp_path, make, says):
    make(tmp_path / "key.pem")
    with pytest.raises(ReleaseError, match=says) as refused:
        read_private_key(tmp_path / "key.pem")
    # A hint to make a key here would replace what the user has, perhaps the key itself.
    assert ("openssl" in refused.value.hint) is says.endswith("PEM format")
    with pytest.raises(ReleaseError, match=says.replace("PRIVATE", "PUBLIC")) if "valid" not in says \
            else pytest.raises(ReleaseError, match="is a private key"):
        read_public_key(tmp_path / "key.pem")


@pytest.mark.parametrize("key", [rsa_key(), ec.generate_private_key(ec.SECP256K1())])
def test_a_key_of_another_kind_or_curve_is_refused(tmp_path, key):
    private, public = write_keys(tmp_path, key=key)
    assert "P-256, P-384 or P-521" in refused(read_private_key, private)
    text = refused(read_public_key, public)
    assert "P-256, P-384 or P-521" in text and "the public key of the signer" in text and "genpkey" not in text


def test_a_public_and_a_private_key_that_were_mixed_up_are_named(keys):
    private, public = keys
    assert "is a public key: signing needs the private key" in refused(read_private_key, public)
    assert "openssl pkey -in key.pem -pubout" in refused(read_public_key, private)


@pytest.mark.parametrize("read", [read_private_key, read_public_key, needs_passphrase])
def test_a_key_that_is_given_instead_of_its_path_is_not_shown(keys, read):
    for path in keys:
        text = path.read_text()
        body = "".join(text.splitlines()[1:-1])
        for value in (text, text.partition("\n")[2], body, text.encode()):
            for given in (value, b"/home/jane/" + value if isinstance(value, bytes) else f"/home/jane/{value}"):
                said = refused(read, given)
                assert "expected the path of a PEM file" in said and body[:20] not in said


def test_a_path_of_many_letters_is_not_taken_for_a_key(keys, tmp_path):
    folder = tmp_path.joinpath(*["MUSICGEN"] * 9)
    folder.mkdir(parents=True)
    assert read_private_key(keys[0].rename(folder / "key"))


def test_a_file_with_both_keys_signs(tmp_path, keys):
    both = tmp_path / "both.pem"
    both.write_bytes(keys[0].read_bytes() + keys[1].read_bytes())
    assert key_hint(read_private_key(both).public_key()) == key_hint(read_public_key(keys[1]))


def test_text_around_a_key_is_ignored(keys):
    for path, read in zip(keys, (read_private_key, read_public_key)):
        path.write_text(f"made for Jane\n{path.read_text()}\nkeep it\n")
        assert read(path)
