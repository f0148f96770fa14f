"""The errors of this package, and how values are shown in their messages."""

import re
from collections.abc import Sequence

_MAX_CHARS = 4000  # of a message
_MAX_CREDENTIALS = 1000  # characters before the `@` of an address
_CREDENTIALS = re.compile(  # also with a password that is not encoded as it should be (`joe:a/b@host`), but no port
    rf"(?<=://)(?:[^\s:/?#@\"`<>]{{0,200}}:(?!\d{{1,5}}[/?#])[^\s\"`<>]{{1,{_MAX_CREDENTIALS}}}@"
    rf"|[^\s/?#\"`<>]{{1,{_MAX_CREDENTIALS}}}@)")


class ExportError(Exception):
    """The export could not be done; the message is one sentence for the user, without control characters."""

    has_command = False  # whether the message names the command that does what is left to do

    def __str__(self) -> str:
        return printable(super().__str__())


class OptionError(ExportError):
    """An unknown option, or an invalid value of one."""


class ExperimentError(ExportError):
    """No such experiment, or more than one."""


class CheckpointError(ExportError):
    """A checkpoint that cannot be read, or does not hold what a release needs."""


class ReleaseError(ExportError):
    """A release that cannot be written or does not verify."""


def reason(exc: BaseException) -> str:
    """What the system or a library says, in one line and without the path that the message has already."""
    text = getattr(exc, "strerror", None) or str(exc).split("\n")[0]
    return str(text) or type(exc).__name__


def printable(text: str) -> str:
    """Escape all control characters of a string and cut it: names in hostile files may hold anything.

    Addresses in it are shown without credentials.
    """
    beginning = without_credentials(text[:_MAX_CHARS + 2 * _MAX_CREDENTIALS])
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode()
                    for char in beginning[:_MAX_CHARS + 1])
    return shown if len(shown) <= _MAX_CHARS else f"{shown[:_MAX_CHARS]}..."


def without_credentials(text: str) -> str:
    """Remove the user and the password of each address in a string (`https://joe:pw@host/x` is `https://host/x`)."""
    return _CREDENTIALS.sub("", text)


def public_address(address: str) -> str:
    """An address that may be shown: without credentials, query and fragment, any of which may hold a token."""
    return re.sub(r"(?<=://)[^/?#]*@|[?#].*", "", without_credentials(address), flags=re.DOTALL)


def listing(names: Sequence[str], most: int = 8) -> str:
    """Some names, for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def readable_size(nbytes: float) -> str:
    """A number of bytes, for a message."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} TB"
