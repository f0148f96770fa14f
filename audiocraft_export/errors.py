"""The errors of this package, and helpers to show values in messages."""

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from .error_codes import WARNINGS

RESTORE = "restore it from a backup"  # the hint for a corrupted file
_MAX_CHARS = 4000  # maximum characters of a value in a message
_MAX_CREDENTIALS = 1000  # characters before the `@` of an address
_CREDENTIALS = re.compile(  # a password may have unencoded characters (`joe:a/b@host`); not a port
    r"(?:(?<=://)|(?<=[a-z][a-z0-9+.-]:/)(?!/))"  # a path has only one slash after the colon
    rf"(?:[^\s:/?#@\"`<>]{{0,200}}:(?!\d{{1,5}}[/?#])[^\s\"`<>]{{1,{_MAX_CREDENTIALS}}}@"
    rf"|[^\s/?#\"`<>]{{1,{_MAX_CREDENTIALS}}}@)")


class ExportError(Exception):
    """An error that is shown without a traceback; `str()` is the message and the hint as sentences, in one line.

    Args:
        code: the stable name of the kind of error, a key of `error_codes.ERRORS`.
        message: what is wrong and where, without a final period.
        hint: a change or a command that helps; empty if nothing does.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)  # `args`, by which an exception is pickled

    @property
    def code(self) -> str:
        """The stable name of the kind of error, for `audiocraft-export explain`."""
        return str(self.args[0])

    @property
    def message(self) -> str:
        """The description of the error, in one line without control characters."""
        return printable(self.args[1])

    @property
    def hint(self) -> str:
        """The change or command that helps; empty if there is nothing to do."""
        return printable(self.args[2])

    def __str__(self) -> str:
        return " ".join(_sentence(text) for text in (self.message, self.hint[:1].upper() + self.hint[1:]) if text)

    def to_dict(self) -> dict[str, str]:
        """Return code, message and hint as plain data for JSON."""
        return {"code": self.code, "message": self.message, "hint": self.hint}

    @property
    def lines(self) -> list[str]:
        """The lines to show: `error[code]: message`, then the hint if there is one."""
        return [f"error[{self.code}]: {self.message}", *([f"  hint: {self.hint}"] if self.hint else [])]


def unexpected_error(exc: Exception, hint: str = "please report it with the output of --debug") -> ExportError:
    """Return the error to show for an exception that is probably a bug."""
    error = ExportError("unexpected-error", f"Unexpected {type(exc).__name__}: {exc}", hint)
    error.__cause__ = exc
    return error


class OptionError(ExportError):
    """An unknown option, or an invalid value of one."""


class ExperimentError(ExportError):
    """A missing, ambiguous or unreadable experiment."""


class CheckpointError(ExportError):
    """A checkpoint that cannot be read, or does not hold what a release needs."""


class ReleaseError(ExportError):
    """A release that cannot be written or does not verify."""


def coded_warning(code: str, text: str) -> str:
    """Return a warning as the manifest stores it; `code` is a key of `error_codes.WARNINGS`."""
    return f"{code}: {text}"


def split_warning(warning: str) -> tuple[str, str]:
    """Return the code and the text of a warning; the code is empty for a warning of format 1."""
    code, colon, text = warning.partition(": ")
    return (code, text) if colon and code in WARNINGS else ("", warning)


def warning_about(subject: str, warning: str) -> str:
    """Return a warning with its subject inserted before the text, after the code if the warning has a code."""
    code, text = split_warning(warning)
    return coded_warning(code, f"{subject}: {text}") if code else f"{subject}: {text}"


def show_warning(warning: str, where: str = "") -> str:
    """Return the line `warning[code]: where: text` for a coded warning; warnings of format 1 have no code."""
    code, text = split_warning(warning)
    prefix = f"warning[{code}]: " if code else "warning: "
    return printable(prefix + (f"{where}: " if where else "") + text)


def _sentence(text: str) -> str:
    """Add a final period unless the text ends with a punctuation mark."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def reason(exc: BaseException) -> str:
    """Return the reason of an exception in one line, without the path of an OSError."""
    text = getattr(exc, "strerror", None) or str(exc).split("\n")[0]
    return str(text) or type(exc).__name__


def describe_exception(exc: BaseException, otherwise: str = "") -> str:
    """Return the type and the message of an exception in one line; `otherwise` replaces an empty message."""
    return f"{type(exc).__name__}: {' '.join(str(exc).split()) or otherwise}"


def permission_hint(exc: BaseException) -> str:
    """Return the hint for a path that cannot be read; empty if its permissions are not the reason."""
    return "check its permissions" if isinstance(exc, PermissionError) else ""


def printable(text: str) -> str:
    """Escape control characters, cut long strings, and remove credentials from addresses.

    Names and values in hostile files may have any characters.
    """
    if len(text) <= _MAX_CHARS and text.isprintable() and ":/" not in text:
        return str(text)
    beginning = without_credentials(text[:_MAX_CHARS + 2 * _MAX_CREDENTIALS])
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode()
                    for char in beginning[:_MAX_CHARS + 1])
    return shown if len(shown) <= _MAX_CHARS else f"{shown[:_MAX_CHARS]}..."


def without_credentials(text: str) -> str:
    """Remove user and password from all addresses in a string: `https://joe:pw@host/x` becomes `https://host/x`."""
    return _CREDENTIALS.sub("", text) if ":/" in text else text


def public_address(address: str) -> str:
    """Return an address without credentials, query and fragment, any of which may have a token."""
    return re.sub(r"(?<=://)[^/?#]*@|[?#].*", "", without_credentials(address), flags=re.DOTALL)


def listing(names: Sequence[str], most: int = 8) -> str:
    """Join names for a message: the first `most` names, and the number of the remaining ones."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def alternatives(names: Sequence[str]) -> str:
    """Join names for a message as `a, b or c`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def did_you_mean(name: str, names: Iterable[str], otherwise: str = "") -> str:
    """Return a hint for an unknown name: the most similar name, or `otherwise`, or else all names."""
    similar = get_close_matches(name, names := [*names], n=1)
    return f"did you mean {similar[0]}?" if similar else otherwise or f"choose one of {listing(names)}"


def plural(count: float, noun: str) -> str:
    """Return a noun in the plural unless the count is 1."""
    return noun if count == 1 else f"{noun}s"


def readable_size(nbytes: float) -> str:
    """Format a number of bytes for a message."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} TB"
