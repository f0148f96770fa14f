"""Read a text file of a release."""

from pathlib import Path

from ..errors import CheckpointError, readable_size, reason
from ..storage.file_reader import FileReader

MAX_TEXT_FILE = 1 << 25  # bytes
AGAIN = "export again"  # a hint


def read_text(path: Path) -> str:
    """Read a text file of a release.

    Raises:
        CheckpointError: if the file cannot be read, is larger than `MAX_TEXT_FILE`, or is not valid UTF-8.
    """
    file = FileReader(path, "release")
    if file.nbytes > MAX_TEXT_FILE:
        raise CheckpointError("damaged-release", f"{path} is larger than {readable_size(MAX_TEXT_FILE)}, unlike any "
                              "text file of a release", AGAIN)
    try:
        return file.read_bytes(0, file.nbytes).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise CheckpointError("damaged-release", f"{path} is not valid UTF-8: {reason(exc)}", AGAIN) from exc
