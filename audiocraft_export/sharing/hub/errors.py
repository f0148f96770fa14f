"""What the client of the Hub raises, as one sentence that says what to do and holds no credentials."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ...errors import ReleaseError, reason

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "log in (`hf auth login`, or HF_TOKEN)"
WAIT = "wait some minutes"
MOST_SAID = 300  # characters of what a server says
ANSWERS = {
    400: ("the Hub does not take it", "change what it names"),
    401: ("the Hub does not take the token", f"{LOG_IN} with one that is valid"),
    402: ("the Hub asks for a payment", "see to it there"),
    403: ("the token may not do that", f"{LOG_IN} with one that may write there"),
    404: ("there is no such repository, or the token may not see it", "look at its name and at the token's rights"),
    409: ("somebody else is at work there", WAIT),
    412: ("somebody has changed it meanwhile", "look at what is there now"),
    413: ("it is too large for the Hub", "make it smaller (--dtype, --max-shard-size)"),
    429: ("these were too many requests", WAIT),
}
CLIENTS = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "socket", "ssl")  # by the Hub's version
_SECRET = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{12,}|(?i:\bbearer\s.*)|(?<=://)[^/\s@]+@|(?<=\S)\?\S+")
_XET = re.compile(r"HTTP status \w+ error \((\d{3}) ")  # hf_xet raises no answers, but tells of them
CARD_ERROR = "Invalid metadata in README.md"


class Refusal(Exception):
    """Why a release is not pushed, and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.why, self.remedy = why, remedy


@contextmanager
def session(folder: Path, repo: str, later: str) -> Iterator[HfApi]:
    """The client of the Hub, with the token that huggingface_hub finds; its errors are those of a release.

    Args:
        folder: of the release, which stays as it is.
        repo: the repository, ORG/NAME.
        later: the command that pushes the release later.

    Raises:
        ReleaseError: for whatever is raised inside; the message holds no token, and no part of a signed address.
    """
    token: Optional[str] = None
    try:
        from huggingface_hub import HfApi, get_token
        with _quiet():
            token = get_token()
            if not token:
                raise Refusal("no token of the Hub is known here", LOG_IN)
            if not (token.isascii() and token.isprintable()):
                raise Refusal("the token that is known here has characters that none has", LOG_IN)
            yield HfApi(token=token)
    except Exception as exc:  # the client's are those of requests, httpx, httpx2 or hf_xet, by its version
        why, remedy = _meaning(exc)
        raise ReleaseError(f"The release in {folder} is complete, but pushing it to {repo} failed "
                           f"({scrubbed(why, token)}): {remedy}, and run: {later}") from None  # it may hold the token


def scrubbed(text: str, token: Optional[str]) -> str:
    """A text of a library without what would let somebody in: tokens, passwords, the queries of signed addresses."""
    return _SECRET.sub("***", text.replace(token, "***") if token else text)


def _meaning(exc: BaseException) -> tuple[str, str]:
    """Why, and what to do."""
    for each in _causes(exc):
        if isinstance(each, Refusal):
            return each.why, each.remedy
        if isinstance(each, ImportError):
            return f"{each.name} cannot be imported", "install audiocraft-export[hf]"
        if type(each).__name__ == "OfflineModeIsEnabled":
            return "its client is offline, by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE", "unset that"
        if str(each).startswith(CARD_ERROR):
            said = _said(str(each)[len(CARD_ERROR):].lstrip(".\n- "))
            return f"the Hub does not take the front matter of README.md: {said}", "correct it"
        status = getattr(getattr(each, "response", None), "status_code", None)
        if status is not None:
            return _answer(status, str(getattr(each, "server_message", None) or ""))
        by_xet = _XET.search(str(each))
        if by_xet:
            return _answer(int(by_xet[1]), "")
        if isinstance(each, ConnectionError) or type(each).__module__.split(".")[0] in CLIENTS:
            return f"the Hub cannot be reached, or the connection broke: {_said(reason(each))}", "look at the network"
        if isinstance(each, OSError) and each.filename:
            return f"{each.filename} cannot be read: {reason(each)}", "export it again"
    return f"the client of the Hub says: {_said(str(exc)) or type(exc).__name__}", "see to that"


def _answer(status: int, said: str) -> tuple[str, str]:
    unknown = ("the Hub fails", WAIT) if status >= 500 else ("the Hub refuses it", "see to that")
    why, remedy = ANSWERS.get(status, unknown)
    return f"{why}: {status} {_said(said)}".rstrip(), remedy


def _said(text: str) -> str:
    text = " ".join(text.split()).rstrip(".")
    return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}..."


def _causes(exc: Optional[BaseException]) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


@contextmanager
def _quiet() -> Iterator[None]:
    """While inside, the client logs no addresses, which may be signed, and draws its bars on a terminal only."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )
    with ExitStack() as stack:
        for logger in map(logging.getLogger, ("huggingface_hub", *CLIENTS)):  # a training logs what all of them say
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        if not are_progress_bars_disabled() and not sys.stderr.isatty():
            disable_progress_bars()
            stack.callback(enable_progress_bars)
        yield
