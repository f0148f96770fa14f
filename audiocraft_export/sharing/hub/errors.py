"""Turn exceptions of the Hub client into errors with a hint and without credentials."""

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
from ..endpoint import credentials_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "log in with `hf auth login` or set HF_TOKEN"
MAX_REASON = 400  # characters; messages of servers and libraries have no limit
CARD_ERROR = "Invalid metadata in README.md"  # prefix of a ValueError of huggingface_hub
LOGGERS = ("huggingface_hub", "requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2")  # in all versions
_SECRET = re.compile(r"\b(?:hf|api_org)_[A-Za-z0-9]{12,}|(?i:\b(?:bearer|basic)\s.*)|(?<=\S)\?\S+|(?<=\w)#\S*=\S+")


class PushRefused(Exception):
    """A push that cannot be completed.

    Args:
        reason: a clause without a final period.
        remedy: what to do before the push is repeated, in the imperative; may be empty.
        is_conflict: whether the push would overwrite a file that was edited on the Hub.
    """

    def __init__(self, reason: str, remedy: str = "", is_conflict: bool = False) -> None:
        super().__init__(reason, remedy, is_conflict)
        self.reason, self.remedy, self.is_conflict = reason, remedy, is_conflict


def require_token(repo: str) -> None:
    """Check, without network, that a push to a repository will find a token.

    Raises:
        ReleaseError: if huggingface_hub finds no token, or an invalid one.
    """
    try:
        _find_token()
    except Exception as exc:  # also those of reading the file with the token
        refused = _explain(exc)
        raise ReleaseError("push-failed", f"Pushing to {repo} would fail: {_scrub_secrets(refused.reason, [])}",
                           refused.remedy or LOG_IN) from None


@contextmanager
def session(folder: Path, repo: str, later: str) -> Iterator[HfApi]:
    """Open a client of the Hub with the token that huggingface_hub finds.

    Args:
        folder: the release folder, for messages.
        repo: the repository, for messages.
        later: the command that repeats the push, for the hint.

    Raises:
        ReleaseError: for any exception in the body; its message contains no token and no part of a signed address.
    """
    token: Optional[str] = None
    secrets: list[str] = []
    try:
        from huggingface_hub import HfApi, constants
        secrets += credentials_of(constants.ENDPOINT)
        with _quiet():
            if "@" in constants.ENDPOINT:
                _check_takes_credentials(repo)
            token = _find_token()
            yield HfApi(token=token)
    except Exception as exc:  # the types depend on the version of the client: requests, httpx, httpx2 or hf_xet
        refused = _explain(exc)
        shown = _scrub_secrets(refused.reason, [token or "", *secrets])
        error = ReleaseError("hub-conflict" if refused.is_conflict else "push-failed",
                             f"The release in {folder} is complete, but pushing it to {repo} failed: {shown}",
                             f"{refused.remedy}, then run: {later}" if refused.remedy else f"push again with: {later}")
        raise error from None  # the original exception may contain the token


def _find_token() -> str:
    from huggingface_hub import get_token
    token = get_token()
    if not token:
        raise PushRefused("no token for the Hub was found", LOG_IN)
    if not (token.isascii() and token.isprintable()):
        raise PushRefused("the token for the Hub contains invalid characters", LOG_IN)
    return token


def _check_takes_credentials(repo: str) -> None:
    """Refuse an address with credentials if the client does not support it, before a repository is created."""
    from huggingface_hub import RepoUrl, __version__, constants
    try:
        RepoUrl(f"{public_address(constants.ENDPOINT).rstrip('/')}/{repo}")  # the form in which the Hub returns it
    except ValueError:
        raise PushRefused(f"huggingface_hub {__version__} does not support credentials in HF_ENDPOINT",
                          "remove them or upgrade huggingface_hub") from None


def _scrub_secrets(text: str, secrets: Sequence[str]) -> str:
    """Return a string as one line without the given secrets, tokens, passwords and queries of signed addresses."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    line = " ".join(without_credentials(text).split()).rstrip(".")
    scrubbed = _SECRET.sub("***", line)
    return scrubbed if len(scrubbed) <= MAX_REASON else f"{scrubbed[:MAX_REASON]}..."


def _explain(exc: Exception) -> PushRefused:
    """Return the reason and the remedy for an exception, from the first known type among its causes."""
    for each in _causes(exc):
        if isinstance(each, PushRefused):
            return each
        if isinstance(each, ImportError):
            return PushRefused(f"cannot import {each.name}", "install it (`pip install huggingface_hub`)")
        if type(each).__name__ == "OfflineModeIsEnabled":
            return PushRefused("huggingface_hub is in offline mode (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE)",
                               "unset the variable")
        if str(each).startswith(CARD_ERROR):
            problem = str(each)[len(CARD_ERROR):].lstrip(".\n- ")
            return PushRefused(f"the Hub rejects the front matter of README.md: {problem}", "correct it")
        status = getattr(getattr(each, "response", None), "status_code", None)
        if status is not None:
            return _explain_status(status, getattr(each, "server_message", None) or "")  # attribute of HfHubHTTPError
        if isinstance(each, OSError) and each.filename:
            return PushRefused(f"cannot read {each.filename}: {reason(each)}")
    *messages, cause = [str(each).rstrip(".") or type(each).__name__ for each in _causes(exc)]
    own = [message for message in dict.fromkeys(messages) if cause not in message]  # urllib3 repeats the cause
    return PushRefused(f"the Hub client reports: {': '.join([*own, cause])}")


def _explain_status(status: int, message: str) -> PushRefused:
    """Return the reason and the remedy for an HTTP status of the Hub."""
    why = ": ".join(filter(None, (f"the Hub answered {status} {responses.get(status, '')}".rstrip(), message)))
    if status == HTTPStatus.UNAUTHORIZED:
        return PushRefused(why, LOG_IN)
    if status == HTTPStatus.FORBIDDEN:
        return PushRefused(why, "use a token with write access (`hf auth login` or HF_TOKEN)")
    is_temporary = status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return PushRefused(why, "wait some minutes" if is_temporary else "")


def _causes(exc: Optional[BaseException]) -> Iterator[BaseException]:
    """Iterate over an exception and its causes."""
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the logs of the client, which may contain signed addresses, and its progress bars without a terminal."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    with ExitStack() as stack:
        for logger in map(logging.getLogger, LOGGERS):  # a training may log at level INFO or DEBUG
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.ERROR)
        if not are_progress_bars_disabled() and not sys.stderr.isatty():
            disable_progress_bars()
            stack.callback(enable_progress_bars)
        yield
