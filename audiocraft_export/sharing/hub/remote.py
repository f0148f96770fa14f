"""Compare the files of a Hub repository with local files by hash."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1, sha256
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ...errors import readable_size
from ...experiment.xp import MANIFEST
from ...release.limits import MAX_MANIFEST_BYTES
from ...release.manifest import CARD_FILE, CURVE_FILE, SIGNATURE, Manifest
from ...storage.checksum import chunks_of
from ..card.limits import MAX_CARD_BYTES
from ..card.markers import last_metadata
from .errors import PushRefused

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling


@dataclass(frozen=True)
class Digest:
    """The hashes by which the Hub identifies a file."""

    sha256: str  # identifies LFS files
    git: str  # git blob hash, which identifies other files

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """Compute the hashes of a local file."""
        large, git = sha256(), sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
        for chunk in chunks_of(path):
            large.update(chunk)
            git.update(chunk)
        return cls(large.hexdigest(), git.hexdigest())

    def matches(self, file: Optional[RepoSibling]) -> bool:
        """Return whether a file on the Hub has the same content; False for a missing file (None)."""
        if file is None:
            return False
        return self.sha256 == file.lfs.sha256 if file.lfs else self.git == file.blob_id


@dataclass(frozen=True)
class Remote:
    """The files of one commit of a repository, by name."""

    api: HfApi
    repo: str
    sha: str
    files: Mapping[str, RepoSibling]

    @classmethod
    def fetch(cls, api: HfApi, repo: str, revision: str) -> Remote:
        """Request the files of the latest commit of a revision.

        Raises:
            huggingface_hub.errors.HfHubHTTPError: if the request fails.
        """
        info = api.model_info(repo, revision=revision, files_metadata=True)
        return cls(api, repo, str(info.sha), {file.rfilename: file for file in info.siblings or []})

    @cached_property
    def manifest_files(self) -> dict[str, str]:
        """SHA-256 of each file that the manifest on the Hub lists; empty if the Hub has no manifest."""
        if MANIFEST not in self.files:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / MANIFEST).write_bytes(self.read(MANIFEST))
            return {file.name: file.sha256 for file in Manifest.unverified_files(Path(folder))}

    def without(self, local: Mapping[str, Digest]) -> list[str]:
        """Return the names of the local files that are missing or different on the Hub."""
        return [name for name, digest in local.items() if not digest.matches(self.files.get(name))]

    def is_released(self, name: str) -> bool:
        """Return whether a file on the Hub still has the SHA-256 that the manifest on the Hub lists.

        The card on the Hub lists that of the training curve. A signature next to a manifest always belongs to the
        release.
        """
        if name == SIGNATURE and MANIFEST in self.files:
            return name in self.files
        listed = self._curve if name == CURVE_FILE else self.manifest_files.get(name)
        if name not in self.files or listed is None:
            return False
        lfs = self.files[name].lfs
        found = lfs.sha256 if lfs else sha256(self.read(name)).hexdigest()
        return found == listed

    @property
    def _curve(self) -> Any:
        """What the card on the Hub lists as the SHA-256 of the training curve; None without one."""
        card = self.read(CARD_FILE) if CARD_FILE in self.files else b""
        return last_metadata(card.decode("utf-8", "replace")).get(CURVE_FILE)

    def read(self, name: str) -> bytes:
        """Download a small file of the commit; see `download` for its exceptions."""
        return download(self.api, self.repo, self.sha, name)


def download(api: HfApi, repo: str, revision: str, name: str) -> bytes:
    """Download a small file of a repository.

    Raises:
        huggingface_hub.errors.HfHubHTTPError: if the request fails.
        PushRefused: if the file is larger than a model card or a manifest may be.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status  # type: ignore[attr-defined]
    url = hf_hub_url(repo, name, revision=revision, endpoint=api.endpoint)
    limit = MAX_CARD_BYTES if name == CARD_FILE else MAX_MANIFEST_BYTES
    part = {"Range": f"bytes=0-{limit}", "Accept-Encoding": "identity"}  # one byte more than the limit
    answer = get_session().get(url, headers={**build_hf_headers(token=api.token), **part})
    if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # the file is empty
        return b""
    hf_raise_for_status(answer)
    if len(answer.content) > limit:
        raise PushRefused(f"{name} on the Hub is larger than the limit of {readable_size(limit)}",
                          "shorten it on the Hub")
    return bytes(answer.content)
