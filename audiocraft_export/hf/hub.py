"""A verified release on the Hugging Face Hub: one commit that holds what the folder holds.

What is there is compared by its hashes first: nothing is uploaded twice, and nothing is committed that changes nothing.
Credentials are those that huggingface_hub finds; none is an option, and none is in a message.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote

from ..errors import OptionError, listing
from ..release import MANIFEST, Manifest
from .hub_errors import Refusal, session

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

CARD = "README.md"
MAIN = "main"
CHUNK = 1 << 20  # bytes
MOST_NAME = 96  # characters, as huggingface_hub has it
_PART = r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?"
_REPO = re.compile(rf"{_PART}/{_PART}", re.ASCII)
_BRANCH = re.compile(r"\w[\w.+-]*(?:/\w[\w.+-]*)*", re.ASCII)


def check_repo(name: str) -> None:
    """Whether the Hub can have a repository of this name; nobody is asked.

    The rules are those of `huggingface_hub.utils.validate_repo_id`, and that there is an organisation or a user.

    Raises:
        OptionError: if it cannot.
    """
    is_short = all(len(part) <= MOST_NAME for part in name.split("/"))
    if not _REPO.fullmatch(name) or not is_short or "--" in name or ".." in name or name.endswith(".git"):
        raise OptionError(f"{name!r} is no repository of the Hub: give ORG/NAME or USER/NAME, of letters, digits and "
                          f"single `-`, `_` or `.`, at most {MOST_NAME} characters each and without `.git` at the end.")


def check_revision(name: str) -> None:
    """Whether the Hub can have a branch of this name; nobody is asked.

    Raises:
        OptionError: if it cannot.
    """
    if not _BRANCH.fullmatch(name) or name.startswith("refs/") or ".." in name or name.endswith((".", ".lock")):
        raise OptionError(f"{name!r} is no branch of the Hub: give a name of letters, digits, `-`, `_`, `.` and `/`, "
                          "as v1.0 is one.")


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
    _check_names(repo, revision)
    with session(folder, repo, later) as api:
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
        for branch in (revision or MAIN, MAIN):
            with suppress(RevisionNotFoundError):
                try:
                    return _download(api, repo, branch, CARD).decode("utf-8")
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
        card: what `remote_card` gave, if the `README.md` of the release keeps what somebody wrote there.

    Returns:
        The address of what is there now.

    Raises:
        OptionError: if the repository or the branch has a name that none can have.
        ReleaseError: if it could not be pushed; the release stays as it is.
    """
    _check_names(repo, revision)
    with session(folder, repo, later) as api:
        branch = _made(api, repo, private, revision)
        there = _Remote.of(api, repo, branch)
        here = {name: _Digest.of_file(folder / name) for name in names}
        there.check_card(here.get(CARD), card)
        operations = [*_additions(folder, here, there), *_deletions(api, here, there)]
        if operations:
            commit = api.create_commit(repo, operations, commit_message=message, revision=branch,
                                       parent_commit=there.sha)
            _check_arrived(here, _Remote.of(api, repo, commit.oid))
        return _url(api, repo, branch)


@dataclass(frozen=True)
class _Digest:
    """The bytes of a file as the Hub knows them: large files by their SHA-256, others by the hash of git."""

    sha256: str
    git: str

    @classmethod
    def of(cls, size: int, pieces: Iterable[bytes]) -> _Digest:
        large, git = sha256(), sha1(b"blob %d\0" % size, usedforsecurity=False)
        for piece in pieces:
            large.update(piece)
            git.update(piece)
        return cls(large.hexdigest(), git.hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> _Digest:
        with path.open("rb") as file:
            return cls.of(path.stat().st_size, iter(lambda: file.read(CHUNK), b""))

    def is_that_of(self, file: Optional[RepoSibling]) -> bool:
        if file is None:
            return False
        return self.sha256 == file.lfs.sha256 if file.lfs else self.git == file.blob_id


@dataclass(frozen=True)
class _Remote:
    """What a commit of a repository holds."""

    repo: str
    sha: str
    files: Mapping[str, RepoSibling]

    @classmethod
    def of(cls, api: HfApi, repo: str, revision: str) -> _Remote:
        info: ModelInfo = api.model_info(repo, revision=revision, files_metadata=True)
        return cls(repo, str(info.sha), {file.rfilename: file for file in info.siblings or []})

    def check_card(self, card: Optional[_Digest], seen: Optional[str]) -> None:
        """What somebody wrote on the Hub is not overwritten unseen."""
        there = self.files.get(CARD)
        if card is None or there is None or card.is_that_of(there):
            return
        text = (seen or "").encode()
        if seen is None or not _Digest.of(len(text), [text]).is_that_of(there):
            raise Refusal(f"its {CARD} there has another text", "copy what shall stay of it into that of the release")


def _check_names(repo: str, revision: Optional[str]) -> None:
    check_repo(repo)
    if revision is not None:
        check_revision(revision)


def _made(api: HfApi, repo: str, private: bool, revision: Optional[str]) -> str:
    """The branch, which is there now, of a repository that is as private as it has to be."""
    api.create_repo(repo, private=private or None, exist_ok=True)
    if private and not api.model_info(repo).private:
        raise Refusal("it is there already, and public", f"make it private at {_url(api, repo)}/settings")
    if revision in (None, MAIN):
        return MAIN
    api.create_branch(repo, branch=str(revision), exist_ok=True)
    return str(revision)


def _additions(folder: Path, here: Mapping[str, _Digest], there: _Remote) -> Iterator[Any]:
    from huggingface_hub import CommitOperationAdd
    for name, digest in here.items():
        if not digest.is_that_of(there.files.get(name)):
            yield CommitOperationAdd(name, folder / name)


def _deletions(api: HfApi, here: Mapping[str, _Digest], there: _Remote) -> Iterator[Any]:
    """What only the release that is there has, as its manifest has it."""
    from huggingface_hub import CommitOperationDelete
    if MANIFEST not in there.files:
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / MANIFEST).write_bytes(_download(api, there.repo, there.sha, MANIFEST))
        former = {file.name: file.sha256 for file in Manifest.listed(Path(folder))}
    for name in sorted(former.keys() & there.files.keys() - here.keys() - {CARD}):
        file = there.files[name]
        found = file.lfs.sha256 if file.lfs else sha256(_download(api, there.repo, there.sha, name)).hexdigest()
        if found == former[name]:
            yield CommitOperationDelete(name, is_folder=False)


def _check_arrived(here: Mapping[str, _Digest], there: _Remote) -> None:
    """A `.gitignore` on the Hub keeps files away without a word, and a file may change while it is uploaded."""
    other = [name for name, digest in here.items() if not digest.is_that_of(there.files.get(name))]
    if other:
        raise Refusal(f"its commit {there.sha[:8]} is there, but not with the bytes of {listing(other)}",
                      "look for a .gitignore there, and for who changes the files here")


def _download(api: HfApi, repo: str, revision: str, name: str) -> bytes:
    """A small file of a repository."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]
    url = hf_hub_url(repo, name, revision=revision, endpoint=api.endpoint)
    answer = get_session().get(url, headers=build_hf_headers(token=api.token))
    hf_raise_for_status(answer)
    return bytes(answer.content)


def _url(api: HfApi, repo: str, branch: str = MAIN) -> str:
    where = "" if branch == MAIN else f"/tree/{quote(branch, safe='')}"
    return f"{api.endpoint}/{repo}{where}"
