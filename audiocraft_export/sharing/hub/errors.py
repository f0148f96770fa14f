"""Errors of the Hub's client as one sentence that says what to do and holds no credentials."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ...errors import ReleaseError, public_address, reason, without_credentials
from .endpoint import check_endpoint, credentials_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "log in (`hf auth login`, or HF_TOKEN)"
MAX_REASON = 400  # characters: a server or a library may say anything
CARD_ERROR = "Invalid metadata in README.md"  # huggingface_hub raises a ValueError that begins so
LOGGERS = ("huggingface_hub", "requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")  # by its version
_SECRET = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{12,}|(?i:\b(?:bearer|basic)\s.*)|(?<=\S)\?\S+|(?<=\w)#\S*=\S+")


class PushRefused(Exception):
    """Its arguments: why a release is not pushed, and what to do."""


@contextmanager
def session(folder: Path, repo: str, later: str) -> Iterator[HfApi]:
    """Enter a client of the Hub, with the token that huggingface_hub finds; the arguments are for messages.

    Raises:
        ReleaseError: for whatever is raised inside; the message holds no token, and no part of a signed address.
    """
    check_endpoint()
    token: Optional[str] = None
    secrets: list[str] = []
    try:
        from huggingface_hub import HfApi, constants, get_token
        secrets += credentials_of(constants.ENDPOINT)
        with _quiet():
            if "@" in constants.ENDPOINT:
                _check_takes_credentials(repo)
            token = get_token()
            if not token:
                raise PushRefused("no token of the Hub is known here", LOG_IN)
            if not (token.isascii() and token.isprintable()):
                raise PushRefused("the token that is known here has characters that none has", LOG_IN)
            yield HfApi(token=token)
    except Exception as exc:  # the client's are those of requests, httpx, httpx2 or hf_xet, by its version
        why, remedy = _explain(exc).args
        said = _scrub_secrets(why, [token or "", *secrets])
        error = ReleaseError(f"The release in {folder} is complete, but pushing it to {repo} failed ("
                             f"{said}): {remedy}, and run: {later}")
        error.has_command = True
        raise error from None  # may hold the token


def _check_takes_credentials(repo: str) -> None:
    """Refuse an address with credentials before a client that cannot use one creates a repository there."""
    from huggingface_hub import RepoUrl, __version__, constants
    try:
        RepoUrl(f"{public_address(constants.ENDPOINT).rstrip('/')}/{repo}")  # as the Hub answers
    except ValueError:
        raise PushRefused(f"huggingface_hub {__version__} takes no credentials in HF_ENDPOINT",
                          "leave them out, or install a later one") from None


def _scrub_secrets(text: str, secrets: Sequence[str]) -> str:
    """A text in one line, without these, tokens, passwords and the queries of signed addresses."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    line = " ".join(without_credentials(text).split()).rstrip(".")
    scrubbed = _SECRET.sub("***", line)
    return scrubbed if len(scrubbed) <= MAX_REASON else f"{scrubbed[:MAX_REASON]}..."


def _explain(exc: Exception) -> PushRefused:
    for each in _causes(exc):
        if isinstance(each, PushRefused):
            return each
        if isinstance(each, ImportError):
            return PushRefused(f"{each.name} cannot be imported", "install audiocraft-export[hf]")
        if type(each).__name__ == "OfflineModeIsEnabled":
            return PushRefused("its client is offline, by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE", "unset that")
        if str(each).startswith(CARD_ERROR):
            problem = str(each)[len(CARD_ERROR):].lstrip(".\n- ")
            return PushRefused(f"the Hub does not take the front matter of README.md: {problem}", "correct it")
        status = getattr(getattr(each, "response", None), "status_code", None)
        if status is not None:
            return _explain_status(status, getattr(each, "server_message", None) or "")  # HfHubHTTPError has one
        if isinstance(each, OSError) and each.filename:
            return PushRefused(f"{each.filename} cannot be read: {reason(each)}", "export it again")
    messages = dict.fromkeys(str(each).rstrip(".") or type(each).__name__ for each in _causes(exc))
    return PushRefused(f"the client of the Hub says: {': '.join(messages)}", "see to that")


def _explain_status(status: int, message: str) -> PushRefused:
    why = ": ".join(filter(None, (f"the Hub answers {status} {responses.get(status, '')}".rstrip(), message)))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return PushRefused(why, LOG_IN)
    is_temporary = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return PushRefused(why, "wait some minutes" if is_temporary else "see to that")


def _causes(exc: Optional[BaseException]) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


@contextmanager
def _quiet() -> Iterator[None]:
    """While inside, the client logs no addresses, which may be signed, and draws its bars on a terminal only."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    with ExitStack() as stack:
        for logger in map(logging.getLogger, LOGGERS):  # a training logs what all of them say
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        if not are_progress_bars_disabled() and not sys.stderr.isatty():
            disable_progress_bars()
            stack.callback(enable_progress_bars)
        yield
