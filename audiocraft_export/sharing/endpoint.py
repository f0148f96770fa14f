"""Check the address of the Hub (HF_ENDPOINT), and find credentials in it."""

import os
import re
from urllib.parse import unquote, urlsplit

from ..errors import ReleaseError

MIN_CREDENTIAL = 3  # characters; shorter strings occur in any message


def check_endpoint() -> None:
    """Check HF_ENDPOINT before huggingface_hub is imported, whose import prints parts of an address it cannot parse.

    Raises:
        ReleaseError: if HF_ENDPOINT is not a valid address.
    """
    try:
        parts = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 \
            and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ReleaseError("invalid-endpoint",
                           "HF_ENDPOINT is not a valid address (the value is hidden because it may hold a password)",
                           "set it to https://HOST, and percent-encode special characters of a password") from None


def credentials_of(endpoint: str) -> list[str]:
    """Return the parts of an address that may be secret, both as written and percent-decoded."""
    user_info, _, rest = endpoint.partition("://")[2].rpartition("@")
    user, _, password = user_info.partition(":")
    parts = [user_info, password, user, *re.split(r"[?#&]", rest)[1:]]
    return [form for part in parts for form in (part, unquote(part)) if len(form) >= MIN_CREDENTIAL]
