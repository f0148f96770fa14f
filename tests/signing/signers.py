"""Keys that sign releases in the tests."""

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


def write_keys(folder, curve=ec.SECP256R1, passphrase=None, key=None):
    """Write a pair of keys to a folder, and return the paths of the private and the public key."""
    key = key or ec.generate_private_key(curve())
    folder.mkdir(parents=True, exist_ok=True)
    private, public = folder / "key.pem", folder / "public.pem"
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def rsa_key():
    return rsa.generate_private_key(65537, 2048)
