"""Push a verified release to the Hugging Face Hub: one commit that holds what the folder holds.

The hashes are compared first: nothing is uploaded twice, and no commit is made that changes nothing. Credentials are
those that huggingface_hub finds; none is an option, and none is in a message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union
from urllib.parse import quote

from ...errors import listing
from ...experiment.xp import MANIFEST
from ..card.source import CARD_FILE
from .errors import PushRefused, session
from .remote import Digest, Remote, download

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

MAIN = "main"
Change = Union["CommitOperationAdd", "CommitOperationDelete"]


@dataclass(frozen=True)
class Destination:
    """Where a release goes.

    Args:
        repo: ORG/NAME; created if it is missing.
        later: the command that pushes the release later, for messages.
        private: whether the repository must be private.
        revision: a branch, created from `main` if it is missing; None is `main`.
    """

    folder: Path
    repo: str
    later: str
    private: bool = False
    revision: Optional[str] = None


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
        branch = _ensure_branch(api, to)
        remote = Remote.fetch(api, to.repo, branch)
        local = {name: Digest.of_file(to.folder / name) for name in names}
        _check_card(local.get(CARD_FILE), remote, merged)
        _check_others(local, remote)
        changes = [*_changes(to.folder, local, remote)]
        if changes:
            commit = api.create_commit(to.repo, changes, commit_message=message, revision=branch,
                                       parent_commit=remote.sha)
            _check_uploaded(local, Remote.fetch(api, to.repo, commit.oid))
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


def _check_card(card: Optional[Digest], remote: Remote, merged: Optional[str]) -> None:
    """Refuse to overwrite unseen what somebody wrote on the Hub."""
    file = remote.files.get(CARD_FILE)
    if card is None or file is None or card.matches(file):
        return
    is_seen = merged is not None and merged.encode() == remote.read(CARD_FILE)
    if not is_seen and not remote.is_released(CARD_FILE):
        raise PushRefused(f"its {CARD_FILE} there has another text",
                          "copy what shall stay of it into that of the release")


def _check_others(local: Mapping[str, Digest], remote: Remote) -> None:
    """Refuse to replace a file that somebody put there, but for one that a card consists of."""
    others = [name for name, digest in local.items()
              if name in remote.files and not name.endswith((".md", ".png", MANIFEST))
              and not digest.matches(remote.files[name]) and not remote.is_released(name)]
    if others:
        raise PushRefused(f"{listing(others)} there is of no release of this tool", "rename it there")


def _changes(folder: Path, local: Mapping[str, Digest], remote: Remote) -> Iterator[Change]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    for name, digest in local.items():
        if not digest.matches(remote.files.get(name)):
            yield CommitOperationAdd(name, folder / name)
    for name in sorted(remote.manifest_files.keys() - local.keys() - {CARD_FILE}):
        if remote.is_released(name):
            yield CommitOperationDelete(name, is_folder=False)


def _check_uploaded(local: Mapping[str, Digest], remote: Remote) -> None:
    """A `.gitignore` on the Hub keeps files away without a word, and a file may change while it is uploaded."""
    other = [name for name, digest in local.items() if not digest.matches(remote.files.get(name))]
    if other:
        raise PushRefused(f"its commit {remote.sha[:8]} is there, but not with the bytes of {listing(other)}",
                          "look for a .gitignore there, and for who changes the files here")


def _url(api: HfApi, repo: str, branch: str = MAIN) -> str:
    tree = "" if branch == MAIN else f"/tree/{quote(branch, safe='')}"
    return f"{api.endpoint}/{repo}{tree}"
