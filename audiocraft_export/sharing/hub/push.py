"""Push a verified release to the Hugging Face Hub: one commit that holds what the folder holds.

The hashes are compared first: nothing is uploaded twice, and no commit is made that changes nothing. Credentials are
those that huggingface_hub finds; none is an option, and none is in a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional
from urllib.parse import quote

from ...errors import listing, public_address
from ...experiment.xp import MANIFEST
from ..card.source import CARD_FILE
from .errors import PushRefused, session
from .remote import Digest, Remote, download

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"


@dataclass(frozen=True)
class Destination:
    """Where a release goes."""

    folder: Path
    repo: str  # ORG/NAME; created if it is missing
    later: str  # the command that pushes the release later, for messages
    private: bool = False  # whether the repository must be private
    revision: Optional[str] = None  # a branch, created from `main` if it is missing; None is `main`


def remote_card(to: Destination) -> Optional[str]:
    """The `README.md` on the branch of a destination, or on `main` where the branch will begin; None without any.

    Raises:
        ReleaseError: if the Hub cannot be asked.
    """
    with session(to.folder, to.repo, to.later) as api:
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
        for branch in (to.revision or MAIN, MAIN):
            with suppress(RevisionNotFoundError):
                try:
                    return download(api, to.repo, branch, CARD_FILE).decode("utf-8")
                except (EntryNotFoundError, RepositoryNotFoundError):
                    return None
                except UnicodeDecodeError:
                    raise PushRefused(f"its {CARD_FILE} there is no text in UTF-8", "correct it there") from None
        return None


def push(to: Destination, names: Sequence[str], message: str, merged: Optional[str] = None) -> str:
    """Push a verified release in one commit; in none, if it is there already.

    The same commit deletes what the previous release there had and this one has not: the files of its manifest, if
    they are still those of the manifest. A person's files stay, and so does `README.md`.

    Args:
        names: of the files to push, relative to its folder.
        merged: what `remote_card` gave, if the `README.md` of the release keeps what somebody wrote there. Without it,
            one that somebody has changed on the Hub is not overwritten.

    Returns:
        The URL of the release.

    Raises:
        ReleaseError: if it could not be pushed; the release stays as it is.
    """
    with session(to.folder, to.repo, to.later) as api:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        branch = _ensure_branch(api, to)
        remote = Remote.fetch(api, to.repo, branch)
        local = {name: Digest.of_file(to.folder / name) for name in names}
        changed = remote.without(local)
        _check_replaced([name for name in changed if name in remote.files], remote, merged)
        gone = [name for name in sorted(remote.manifest_files.keys() - local.keys() - {CARD_FILE})
                if remote.is_released(name)]
        if changed or gone:
            commit = api.create_commit(to.repo, [*(CommitOperationAdd(name, to.folder / name) for name in changed),
                                                 *(CommitOperationDelete(name, is_folder=False) for name in gone)],
                                       commit_message=message, revision=branch, parent_commit=remote.sha)
            missing = Remote.fetch(api, to.repo, commit.oid).without(local)
            if missing:  # a `.gitignore` there keeps files away without a word, and a file may change meanwhile
                raise PushRefused(
                    f"its commit {commit.oid[:8]} is there, but not with the bytes of {listing(missing)}",
                    "look for a .gitignore there, and for who changes the files here")
        return _url(api, to.repo, branch)


def _ensure_branch(api: HfApi, to: Destination) -> str:
    """Create the repository and the branch if they are missing; the name of the branch."""
    api.create_repo(to.repo, private=to.private or None, exist_ok=True)
    if to.private and not api.model_info(to.repo).private:
        raise PushRefused("it is there already, and public", f"make it private at {_url(api, to.repo)}/settings")
    branch = to.revision or MAIN
    if branch != MAIN:
        api.create_branch(to.repo, branch=branch, exist_ok=True)
    return branch


def _check_replaced(names: Sequence[str], remote: Remote, merged: Optional[str]) -> None:
    """Refuse to replace what somebody put there: a card that was not seen, and what is no part of a card."""
    is_seen = CARD_FILE in names and merged is not None and merged.encode() == remote.read(CARD_FILE)
    if CARD_FILE in names and not is_seen and not remote.is_released(CARD_FILE):
        raise PushRefused(f"its {CARD_FILE} there has another text",
                          "copy what shall stay of it into that of the release")
    others = [name for name in names if not name.endswith((".md", ".png", MANIFEST)) and not remote.is_released(name)]
    if others:
        raise PushRefused(f"{listing(others)} there is of no release of this tool", "rename it there")


def _url(api: HfApi, repo: str, branch: str = MAIN) -> str:
    tree = "" if branch == MAIN else f"/tree/{quote(branch, safe='')}"
    return f"{public_address(api.endpoint).rstrip('/')}/{repo}{tree}"
