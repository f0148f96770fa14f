"""Sign a statement, and read it from its sigstore bundle.

A bundle is accepted in one form only, so that no byte of it can change unnoticed: the payload is signed, and all other
values are determined by the payload, the signature and the key. As for any ECDSA signature (r, s), anybody can compute
(r, n - s), which is valid for the same payload.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md, sigstore bundle v0.3.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ReleaseError, reason
from ..release.manifest import SIGNATURE
from ..storage.small_file import read_small_file
from .keys import algorithm, key_hint
from .limits import MAX_BUNDLE_BYTES

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
_COMPACT: Mapping[str, Any] = {"separators": (",", ":")}
_LAYOUTS: tuple[Mapping[str, Any], ...] = (_COMPACT, {}, {"indent": 2})  # of the JSON of a bundle


def sign_statement(statement: Mapping[str, Any], key: EllipticCurvePrivateKey) -> bytes:
    """Return the bundle of an in-toto statement."""
    payload = json.dumps(statement, indent=2, allow_nan=False).encode()
    signature = key.sign(_pae(payload), algorithm(key.public_key()))
    return json.dumps(_bundle(payload, signature, key_hint(key.public_key())), **_COMPACT).encode()


def read_statement(path: Path, key: EllipticCurvePublicKey) -> Any:
    """Return the statement in a bundle that was signed with the private key of `key`.

    Raises:
        ReleaseError: if the file cannot be read, is not a bundle, or was not signed with this key.
    """
    text = _read_text(path)
    try:
        bundle = json.loads(text)
        envelope = bundle["dsseEnvelope"]
        payload, signature = b64decode(envelope["payload"]), b64decode(envelope["signatures"][0]["sig"])
        hint = bundle["verificationMaterial"]["publicKey"]["hint"]
        is_exact = bundle == _bundle(payload, signature, hint) and text in [json.dumps(bundle, **how)
                                                                            for how in _LAYOUTS]
    except (ValueError, LookupError, TypeError, RecursionError) as exc:
        raise _invalid("not a valid signature") from exc
    if not is_exact:
        raise _invalid("not a valid signature")
    if hint != key_hint(key):
        raise _invalid("signed with another key")
    from cryptography.exceptions import InvalidSignature
    try:
        key.verify(signature, _pae(payload), algorithm(key))
        return json.loads(payload)
    except InvalidSignature as exc:
        raise _invalid("the signature does not match what is signed") from exc
    except (ValueError, RecursionError) as exc:
        raise _invalid("the signed statement is not JSON") from exc


def _bundle(payload: bytes, signature: bytes, hint: Any) -> dict[str, Any]:
    return {
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {"payload": b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE,
                         "signatures": [{"sig": b64encode(signature).decode(), "keyid": ""}]},
    }


def _pae(payload: bytes) -> bytes:
    """Return the bytes that are signed: the pre-authentication encoding of DSSE."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _read_text(path: Path) -> str:
    if path.is_symlink():
        raise _invalid("not a regular file")
    try:
        return read_small_file(path, MAX_BUNDLE_BYTES).decode("ascii")
    except FileNotFoundError as exc:
        raise _invalid("missing: the release is not signed" if path.name == SIGNATURE else "missing") from exc
    except OSError as exc:
        raise _invalid(f"cannot read it: {reason(exc)}") from exc
    except UnicodeDecodeError as exc:
        raise _invalid("not a valid signature") from exc


def _invalid(what: str) -> ReleaseError:
    return ReleaseError("invalid-signature", what)
