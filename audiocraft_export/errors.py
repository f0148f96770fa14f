"""What can go wrong, each in one sentence: what, where, why, what to do."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 4000  # characters of a message


class ExportError(Exception):
    """The export could not be done; the message is one sentence for the user, whatever names stand in it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class OptionError(ExportError):
    """An option, or the value of one, that does not exist."""


class ExperimentError(ExportError):
    """No such experiment, or not a single one."""


class CheckpointError(ExportError):
    """A checkpoint that cannot be read, or does not hold what a release needs."""


class ReleaseError(ExportError):
    """A release that cannot be written or does not verify."""


def reason(exc: BaseException) -> str:
    """What the system or a library says, in one line and without the path that the message has already."""
    text = getattr(exc, "strerror", None) or str(exc).split("\n")[0]
    return str(text) or type(exc).__name__


def printable(text: str) -> str:
    """A text in one line that a terminal shows and does not obey: names in hostile files may hold anything."""
    if text.isprintable() and len(text) <= _MOST:
        return text
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text[:_MOST])
    return shown if len(shown) <= _MOST and len(text) <= _MOST else f"{shown[:_MOST]}..."


def listing(names: Sequence[str], most: int = 8) -> str:
    """Some names, for a message."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def readable_size(nbytes: float) -> str:
    """A number of bytes, for a message."""
    unit = "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 1000 or unit == "TB":
            break
        nbytes /= 1000
    return f"{nbytes:.3g} {unit}"
