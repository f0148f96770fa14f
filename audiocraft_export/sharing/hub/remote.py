"""The files of a repository of the Hub, and how they compare with those of a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ...experiment.xp import MANIFEST
from ...release.manifest import Manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Digest:
    """The bytes of a file as the Hub knows them.

    Args:
        sha256: of them, by which it knows large files.
        git: the hash that git has for them, by which it knows the others.
    """

    sha256: str
    git: str

    @classmethod
    def of(cls, size: int, pieces: Iterable[bytes]) -> Digest:
        """Of so many bytes, in pieces."""
        large, git = sha256(), sha1(b"blob %d\0" % size, usedforsecurity=False)
        for piece in pieces:
            large.update(piece)
            git.update(piece)
        return cls(large.hexdigest(), git.hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """Of a file here."""
        with path.open("rb") as file:
            return cls.of(path.stat().st_size, iter(lambda: file.read(CHUNK), b""))

    @classmethod
    def of_text(cls, text: str) -> Digest:
        """Of a text."""
        data = text.encode()
        return cls.of(len(data), [data])

    def is_that_of(self, file: Optional[RepoSibling]) -> bool:
        """Whether a file there has these bytes; one that is not there has not."""
        if file is None:
            return False
        return self.sha256 == file.lfs.sha256 if file.lfs else self.git == file.blob_id


@dataclass(frozen=True)
class Remote:
    """What a commit of a repository holds.

    Args:
        api: the client.
        repo: ORG/NAME.
        sha: of the commit.
        files: by name.
    """

    api: HfApi
    repo: str
    sha: str
    files: Mapping[str, RepoSibling]

    @classmethod
    def of(cls, api: HfApi, repo: str, revision: str) -> Remote:
        """What a revision is now."""
        info = api.model_info(repo, revision=revision, files_metadata=True)
        return cls(api, repo, str(info.sha), {file.rfilename: file for file in info.siblings or []})

    @cached_property
    def released(self) -> dict[str, str]:
        """The files that its manifest lists, by name with their SHA-256; none without a manifest."""
        if MANIFEST not in self.files:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / MANIFEST).write_bytes(download(self.api, self.repo, self.sha, MANIFEST))
            return {file.name: file.sha256 for file in Manifest.unverified_files(Path(folder))}

    def is_released(self, name: str) -> bool:
        """Whether a file is there, and still as the manifest has it: a person's, or a changed one, is not."""
        if name not in self.files or name not in self.released:
            return False
        lfs = self.files[name].lfs
        found = lfs.sha256 if lfs else sha256(download(self.api, self.repo, self.sha, name)).hexdigest()
        return found == self.released[name]


def download(api: HfApi, repo: str, revision: str, name: str) -> bytes:
    """A small file of a repository.

    Raises:
        huggingface_hub.errors.HfHubHTTPError: if the Hub does not give it.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]
    url = hf_hub_url(repo, name, revision=revision, endpoint=api.endpoint)
    answer = get_session().get(url, headers=build_hf_headers(token=api.token))
    hf_raise_for_status(answer)
    return bytes(answer.content)
