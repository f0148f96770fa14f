"""Read small files as a whole."""

import errno
import os
import stat
from functools import partial
from typing import Union

from .platform import open_binary


def read_small_file(path: Union[str, "os.PathLike[str]"], most: int) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises:
        OSError: if the file cannot be read, is not a regular file, or is larger.
    """
    descriptor = open_binary(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if status.st_size > most:
            raise OSError(errno.EFBIG, "file is too large")
        return b"".join(iter(partial(os.read, descriptor, status.st_size + 1), b""))
    finally:
        os.close(descriptor)
