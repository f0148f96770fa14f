"""The address of the Hub (HF_ENDPOINT), which may hold credentials."""

import os
import re
from urllib.parse import unquote, urlsplit

from ...errors import ReleaseError

MIN_CREDENTIAL = 3  # characters; shorter ones are in any text


def check_endpoint() -> None:
    """Refuse an address that huggingface_hub cannot parse, since its import would print parts of it.

    Raises:
        ReleaseError: if HF_ENDPOINT is no valid address.
    """
    try:
        parts = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 \
            and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ReleaseError("HF_ENDPOINT is not a valid address (its value is not shown, it may hold a password): "
                           "expected https://HOST, with special characters of a password percent-encoded.") from None


def credentials_of(endpoint: str) -> list[str]:
    """What may be secret in an address, in each form that an error may show."""
    user_info, _, rest = endpoint.partition("://")[2].rpartition("@")
    user, _, password = user_info.partition(":")
    parts = [user_info, password, user, *re.split(r"[?#&]", rest)[1:]]
    return [form for part in parts for form in (part, unquote(part)) if len(form) >= MIN_CREDENTIAL]
