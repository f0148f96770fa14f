"""Push a verified release to the Hugging Face Hub in one commit.

Hashes are compared first, so that unchanged files are not uploaded and empty commits are not created. huggingface_hub
finds the credentials; they are never passed as an option, and never shown in a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Optional
from urllib.parse import quote

from ...errors import listing, public_address
from ...experiment.xp import MANIFEST
from ...formats.registry import is_looked_for
from ...release.manifest import CARD_FILE, SIGNATURE, Manifest
from ...signing.statement import is_ignored
from .errors import PushRefused, session
from .remote import Digest, Remote, download

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"


@dataclass(frozen=True)
class Destination:
    """The source and the target of a push."""

    folder: Path
    repo: str  # ORG/NAME; created if missing
    later: str  # the command that pushes the release later, for messages
    private: bool = False  # whether the repository must be private
    revision: Optional[str] = None  # a branch, created from `main` if missing; None is `main`


def remote_card(to: Destination) -> Optional[str]:
    """Download the `README.md` of the branch of a destination, or of `main` if the branch does not exist yet.

    Returns:
        The text, or None if the repository or its `README.md` does not exist.

    Raises:
        ReleaseError: if the request fails.
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
                    raise PushRefused(f"its {CARD_FILE} on the Hub is not valid UTF-8",
                                      "correct it on the Hub") from None
        return None


def push(to: Destination, names: Sequence[str], message: str, merged: Optional[str] = None) -> str:
    """Push a verified release in one commit; without changes, no commit is made.

    The commit also deletes the signature of the previous release on the Hub, and files of it that the new release does
    not have, if they still match the manifest there. Files that other people added or changed are kept, and so is
    `README.md`.

    Args:
        names: the files to push, relative to the release folder.
        message: the commit message.
        merged: the result of `remote_card`, if the local `README.md` has all of its edits. With None, a `README.md`
            that was edited on the Hub is not overwritten.

    Returns:
        The URL of the release.

    Raises:
        ReleaseError: if the push fails; the local release is not changed.
    """
    with session(to.folder, to.repo, to.later) as api:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        branch = _ensure_branch(api, to)
        remote = Remote.fetch(api, to.repo, branch)
        local = {name: Digest.of_file(to.folder / name) for name in names}
        changed = remote.without(local)
        _check_overwritten([name for name in changed if name in remote.files], remote, merged, to.folder)
        others = {*remote.manifest_files, *([SIGNATURE] if MANIFEST in changed else [])} - local.keys() - {CARD_FILE}
        gone = [name for name in sorted(others) if remote.is_released(name)]
        _check_added(remote.files.keys() - local.keys() - {*gone}, to.folder, is_signed=SIGNATURE in names)
        if changed or gone:
            commit = api.create_commit(to.repo, [*(CommitOperationAdd(name, to.folder / name) for name in changed),
                                                 *(CommitOperationDelete(name, is_folder=False) for name in gone)],
                                       commit_message=message, revision=branch, parent_commit=remote.sha)
            missing = Remote.fetch(api, to.repo, commit.oid).without(local)
            if missing:  # a `.gitignore` on the Hub silently drops files, and a local file may have changed meanwhile
                raise PushRefused(
                    f"{listing(missing)} is missing or different on the Hub after commit {commit.oid[:8]}",
                    "remove a .gitignore on the Hub, and do not change the release during a push")
        return _url(api, to.repo, branch)


def _ensure_branch(api: HfApi, to: Destination) -> str:
    """Create the repository and the branch if they are missing, and return the name of the branch."""
    api.create_repo(to.repo, private=to.private or None, exist_ok=True)
    if to.private and not api.model_info(to.repo).private:
        raise PushRefused("the repository already exists and is public",
                          f"make it private at {_url(api, to.repo)}/settings")
    branch = to.revision or MAIN
    if branch != MAIN:
        api.create_branch(to.repo, branch=branch, exist_ok=True)
    return branch


def _check_overwritten(names: Sequence[str], remote: Remote, merged: Optional[str], folder: Path) -> None:
    """Refuse to overwrite files on the Hub that were edited or added by other people.

    Raises:
        PushRefused: for a `README.md` whose edits are not in `merged`, or a file that does not belong to a release.
    """
    is_seen = CARD_FILE in names and merged is not None and merged.encode() == remote.read(CARD_FILE)
    if CARD_FILE in names and not is_seen and not remote.is_released(CARD_FILE):
        raise PushRefused(f"{CARD_FILE} was edited on the Hub",
                          f"merge the edits into {folder / CARD_FILE}", is_conflict=True)
    others = [name for name in names if name not in (CARD_FILE, MANIFEST) and not remote.is_released(name)]
    if others:
        raise PushRefused(f"{listing(others)} on the Hub does not belong to a release", "rename it on the Hub")


def _check_added(names: Iterable[str], folder: Path, is_signed: bool) -> None:
    """Refuse to push beside files of other people that a loader would read, or that a signature does not cover.

    Raises:
        PushRefused: if the Hub has such a file.
    """
    manifest = Manifest.load_or_none(folder)
    for name in sorted(names):
        if manifest is not None and is_looked_for(manifest.release_format, name, manifest.sig):
            raise PushRefused(f"{name} on the Hub does not belong to the release, but a loader would read it",
                              "move it on the Hub")
        if is_signed and not is_ignored(PurePosixPath(name)):
            raise PushRefused(f"{name} on the Hub does not belong to the release, and the signature covers all files",
                              "move it to another repository, or push without a signature")


def _url(api: HfApi, repo: str, branch: str = MAIN) -> str:
    tree = "" if branch == MAIN else f"/tree/{quote(branch, safe='')}"
    return f"{public_address(api.endpoint).rstrip('/')}/{repo}{tree}"
