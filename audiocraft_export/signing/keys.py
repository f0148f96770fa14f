"""Read EC keys from PEM files; the package `cryptography` is imported only where a key is used."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from ..errors import ReleaseError, permission_hint, reason
from ..experiment.xp import AnyPath
from ..requirements import require_packages
from ..storage.small_file import read_small_file
from .limits import MAX_KEY_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        ECDSA,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PASSPHRASE = "AUDIOCRAFT_EXPORT_PASSPHRASE"  # environment variable with the passphrase of an encrypted key
HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}  # by curve, as sigstore defines them
_BEGIN = b"-----BEGIN "  # of a PEM block; RFC 7468 allows text before it
_KEY = re.compile(r"-----|\n|(^|/)M[A-Z][A-Za-z0-9+/]{46}")  # what no path has, but a key in PEM format or base64 has
_MAKE_KEY = "make a key with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
_MAKE_PUBLIC = "make its public key with: openssl pkey -in key.pem -pubout -out public.pem"
_GIVE_PUBLIC = "give the public key of the signer"


def read_private_key(path: AnyPath) -> EllipticCurvePrivateKey:
    """Read the key that signs; the passphrase of an encrypted key is in the environment variable `PASSPHRASE`.

    Raises:
        ReleaseError: if `cryptography` is missing, the file has no private EC key of a supported curve, or its
            passphrase is missing or wrong.
    """
    require_packages("Signing", "cryptography")
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    data = _read(path, _MAKE_KEY)
    if b" PUBLIC KEY-" in data and b" PRIVATE KEY-" not in data:
        raise ReleaseError("invalid-key", f"{path} is a public key: signing needs the private key",
                           "give the private key that belongs to it")
    passphrase = _passphrase(path) if _is_encrypted(data) else None
    key = _parse(path, lambda: load_pem_private_key(data, passphrase), _MAKE_KEY, passphrase is not None)
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise _unsupported(path, _MAKE_KEY)
    return key


def read_public_key(path: AnyPath) -> EllipticCurvePublicKey:
    """Read the key that checks a signature.

    Raises:
        ReleaseError: if `cryptography` is missing, or the file has no public EC key of a supported curve.
    """
    require_packages("Checking a signature", "cryptography")
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    data = _read(path, _GIVE_PUBLIC)
    if b" PRIVATE KEY-" in data:
        raise ReleaseError("invalid-key", f"{path} is a private key: checking a signature needs the public key",
                           _MAKE_PUBLIC)
    key = _parse(path, lambda: load_pem_public_key(data), _GIVE_PUBLIC)
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in HASHES:
        raise _unsupported(path, _GIVE_PUBLIC)
    return key


def needs_passphrase(path: AnyPath) -> bool:
    """Return whether a key is encrypted.

    Raises:
        ReleaseError: if `cryptography` is missing, or the file cannot be read.
    """
    require_packages("Signing", "cryptography")
    return _is_encrypted(_read(path, _MAKE_KEY))


def key_hint(key: EllipticCurvePublicKey) -> str:
    """Return the identifier of a key in a signature: the sha256 of its PEM form."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    return sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def algorithm(key: EllipticCurvePublicKey) -> ECDSA:
    """Return the signature algorithm for a key: ECDSA, with the hash that belongs to its curve."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    return ECDSA(getattr(hashes, HASHES[key.curve.name])())


def _read(path: AnyPath, hint: str) -> bytes:
    try:
        data = read_small_file(path, MAX_KEY_BYTES)  # not a pipe, which could be read only once
    except (OSError, ValueError) as exc:
        if _KEY.search(os.fsdecode(path)):  # no message may show it, nor the traceback of the cause
            raise ReleaseError("invalid-key", "The path of the key is a key itself: expected the path of a PEM file",
                               "write the key to a file that only you can read, and give its path") from None
        raise ReleaseError("invalid-key", f"Cannot read the key {path}: {reason(exc)}",
                           permission_hint(exc) or "give the path of a PEM file") from exc
    if _BEGIN not in data:
        raise ReleaseError("invalid-key", f"{path} is not a key in PEM format", hint)
    return data


def _is_encrypted(data: bytes) -> bool:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    try:
        load_pem_private_key(data, None)
    except TypeError:  # the documented exception for an encrypted key without a password
        return True
    except Exception:  # `_parse` reports it
        return False
    return False


def _passphrase(path: AnyPath) -> bytes:
    found = os.environ.get(PASSPHRASE)
    if not found:
        raise ReleaseError("missing-passphrase", f"The key {path} is encrypted, and its passphrase is unknown",
                           f"set the environment variable {PASSPHRASE}, or run audiocraft-export in a terminal, which "
                           "asks for the passphrase")
    return found.encode("utf-8", "surrogateescape")


def _parse(path: AnyPath, load: Callable[[], Any], hint: str, is_decrypted: bool = False) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    try:
        return load()
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        if is_decrypted and not isinstance(exc, UnsupportedAlgorithm):
            raise ReleaseError("missing-passphrase", f"Cannot decrypt the key {path}: the passphrase is wrong",
                               f"check what was typed, or the environment variable {PASSPHRASE}") from exc
        raise ReleaseError("invalid-key", f"{Path(path)} is not a valid key in PEM format", hint) from exc


def _unsupported(path: AnyPath, hint: str) -> ReleaseError:
    return ReleaseError("invalid-key", f"{path} is not an EC key with the curve P-256, P-384 or P-521", hint)
