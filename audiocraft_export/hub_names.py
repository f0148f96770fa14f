"""The names that repositories and branches of the Hub can have, without asking it."""

from __future__ import annotations

import re
from typing import Optional

from .errors import OptionError

MOST = 96  # characters of each part, as huggingface_hub has it
_PART = r"\w(?:[\w.-]*\w)?"
_REPO = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_BRANCH = re.compile(r"\w[\w.+-]*(?:/\w[\w.+-]*)*", re.ASCII)


def check_repo(name: str) -> None:
    """Whether the Hub can have a repository of this name.

    The rules are those of `huggingface_hub.utils.validate_repo_id`, and that there is an organisation or a user.

    Raises:
        OptionError: if it cannot.
    """
    is_long = any(len(part) > MOST for part in name.split("/"))
    if is_long or not _REPO.fullmatch(name) or "--" in name or ".." in name or name.endswith(".git"):
        raise OptionError(f"{name!r} is no repository of the Hub: give ORG/NAME or USER/NAME, of letters, digits and "
                          f"single `-`, `_` or `.`, at most {MOST} characters each and without `.git` at the end.")


def check_revision(name: Optional[str]) -> None:
    """Whether the Hub can have a branch of this name; None is its main one.

    Raises:
        OptionError: if it cannot.
    """
    if name is None:
        return
    if not _BRANCH.fullmatch(name) or name.startswith("refs/") or ".." in name or name.endswith((".", ".lock")):
        raise OptionError(f"{name!r} is no branch of the Hub: give a name of letters, digits, `-`, `_`, `.` and `/`, "
                          "as v1.0 is one.")
