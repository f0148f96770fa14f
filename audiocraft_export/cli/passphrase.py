"""Ask for the passphrase of an encrypted key, on a terminal only."""

import os
import sys
from getpass import getpass
from typing import Optional

from ..errors import ReleaseError
from ..experiment.xp import AnyPath


def check_key(path: Optional[AnyPath]) -> None:
    """Check the key that signs; ask once for its passphrase, which worker processes get in their environment.

    Raises:
        ReleaseError: if the key cannot be read, or its passphrase is missing or wrong.
    """
    if path is None:
        return
    from ..signing.keys import PASSPHRASE, needs_passphrase, read_private_key
    if needs_passphrase(path) and not os.environ.get(PASSPHRASE) and sys.stdin.isatty():
        try:
            os.environ[PASSPHRASE] = getpass(f"Passphrase of {path}: ")
        except EOFError:  # Ctrl-D
            pass
        except ValueError as exc:
            raise ReleaseError("invalid-key", f"The passphrase of {path} is not text", "type it again") from exc
    read_private_key(path)
