"""What can go wrong, each in one sentence: what, where, why, what to do."""


class ExportError(Exception):
    """The export could not be done; the message is one sentence for the user."""


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
