"""A verified release on the Hugging Face Hub: one commit that holds what the folder holds.

What is there is compared by its hashes first: nothing is uploaded twice, and nothing is committed that changes nothing.
Credentials are those that huggingface_hub finds; none is an option, and none is in a message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union
from urllib.parse import quote

from ...errors import listing
from ...experiment.xp import MANIFEST
from .errors import Refusal, session
from .remote import Digest, Remote, download

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

CARD = "README.md"
MAIN = "main"
Change = Union["CommitOperationAdd", "CommitOperationDelete"]


def remote_card(folder: Path, repo: str, revision: Optional[str], later: str) -> Optional[str]:
    """The `README.md` that a repository has now, so that what somebody wrote there can be kept; None without any.

    Args:
        folder: of the release, for messages.
        repo: ORG/NAME.
        revision: a branch; None is `main`. Of one that is not there yet, it is that of `main`, where it will begin.
        later: the command that pushes the release later, for messages.

    Raises:
        OptionError: if the repository or the branch has a name that none can have.
        ReleaseError: if the Hub cannot be asked.
    """
    with session(folder, repo, later) as api:
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
        for branch in (revision or MAIN, MAIN):
            with suppress(RevisionNotFoundError):
                try:
                    return download(api, repo, branch, CARD).decode("utf-8")
                except (EntryNotFoundError, RepositoryNotFoundError):
                    return None
        return None


def push(folder: Path, names: Sequence[str], repo: str, private: bool, revision: Optional[str], message: str,
         later: str, card: Optional[str] = None) -> str:
    """Put a verified release on the Hub, in one commit; in none, if it is there already.

    In the same commit, what the former release there had and this one has not is deleted: the files of its manifest,
    as long as they are still those of the manifest. A person's files stay, and so does `README.md`.

    Args:
        folder: of the release.
        names: of the files that go up, relative to it; nothing else in the folder does.
        repo: ORG/NAME; it is made if it is not there.
        private: whether it has to be private.
        revision: a branch, made of `main` if it is not there; None is `main`.
        message: of the commit.
        later: the command that pushes the release later, for messages.
        card: what `remote_card` gave, if the `README.md` of the release keeps what somebody wrote there. Without it,
            one that somebody has changed on the Hub is not overwritten.

    Returns:
        The address of what is there now.

    Raises:
        OptionError: if the repository or the branch has a name that none can have.
        ReleaseError: if it could not be pushed; the release stays as it is.
    """
    with session(folder, repo, later) as api:
        branch = _made(api, repo, private, revision)
        there = Remote.of(api, repo, branch)
        here = {name: Digest.of_file(folder / name) for name in names}
        _check_card(here.get(CARD), there, card)
        _check_others(here, there)
        changes = [*_changes(folder, here, there)]
        if changes:
            commit = api.create_commit(repo, changes, commit_message=message, revision=branch, parent_commit=there.sha)
            _check_arrived(here, Remote.of(api, repo, commit.oid))
        return _url(api, repo, branch)


def _made(api: HfApi, repo: str, private: bool, revision: Optional[str]) -> str:
    """The branch, which is there now, of a repository that is as private as it has to be."""
    api.create_repo(repo, private=private or None, exist_ok=True)
    if private and not api.model_info(repo).private:
        raise Refusal("it is there already, and public", f"make it private at {_url(api, repo)}/settings")
    if revision in (None, MAIN):
        return MAIN
    api.create_branch(repo, branch=str(revision), exist_ok=True)
    return str(revision)


def _check_card(card: Optional[Digest], there: Remote, seen: Optional[str]) -> None:
    """What somebody wrote on the Hub is not overwritten unseen."""
    file = there.files.get(CARD)
    if card is None or file is None or card.is_that_of(file):
        return
    is_seen = seen is not None and Digest.of_text(seen).is_that_of(file)
    if not is_seen and not there.is_released(CARD):
        raise Refusal(f"its {CARD} there has another text", "copy what shall stay of it into that of the release")


def _check_others(here: Mapping[str, Digest], there: Remote) -> None:
    """What somebody put there is not replaced by a file of the same name; what a card consists of may be."""
    others = [name for name, digest in here.items()
              if name in there.files and not name.endswith((".md", ".png", MANIFEST))
              and not digest.is_that_of(there.files[name]) and not there.is_released(name)]
    if others:
        raise Refusal(f"{listing(others)} there is of no release of this tool", "rename it there")


def _changes(folder: Path, here: Mapping[str, Digest], there: Remote) -> Iterator[Change]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete
    for name, digest in here.items():
        if not digest.is_that_of(there.files.get(name)):
            yield CommitOperationAdd(name, folder / name)
    for name in sorted(there.released.keys() - here.keys() - {CARD}):
        if there.is_released(name):
            yield CommitOperationDelete(name, is_folder=False)


def _check_arrived(here: Mapping[str, Digest], there: Remote) -> None:
    """A `.gitignore` on the Hub keeps files away without a word, and a file may change while it is uploaded."""
    other = [name for name, digest in here.items() if not digest.is_that_of(there.files.get(name))]
    if other:
        raise Refusal(f"its commit {there.sha[:8]} is there, but not with the bytes of {listing(other)}",
                      "look for a .gitignore there, and for who changes the files here")


def _url(api: HfApi, repo: str, branch: str = MAIN) -> str:
    where = "" if branch == MAIN else f"/tree/{quote(branch, safe='')}"
    return f"{api.endpoint}/{repo}{where}"
