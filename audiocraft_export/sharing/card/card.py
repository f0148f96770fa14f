"""The model card: the README.md of a release, which a person reads, and the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

from ...experiment.config import Config
from ...release.manifest import Manifest
from . import frontmatter
from .markdown import prose
from .markers import combined, memory_of
from .metadata import merged, metadata_of, remembered
from .model_types import title_of
from .sections.model import model_part
from .sections.provenance import origin_part
from .sections.training import training_part
from .sections.usage import usage_part

FILE = "README.md"


def card(manifest: Manifest, config: Config, history: Sequence[Any] = (), format: str = "audiocraft",
         architecture: Optional[str] = None, repo: Optional[str] = None, curves: Sequence[str] = (),
         former: Optional[str] = None) -> str:
    """The model card of a release; the same arguments give the same text.

    Args:
        manifest: of the release, with its files.
        config: `xp.cfg` as it is released; of the first band, for several.
        history: the metrics by stage, one entry an epoch; none for several bands.
        format: of the release: `audiocraft`, `safetensors` or `transformers`.
        architecture: the class of transformers, for that format.
        repo: on the Hub (`ORG/NAME`), if it goes there.
        curves: names of the pictures (`curve.curves`) that lie beside the card.
        former: the card that is there, read without changing its ends of lines: what a person wrote stays.

    Returns:
        The text, with the ends of lines of `former`.

    Raises:
        ReleaseError: if the front matter of `former` is no YAML, or one of its marks has lost the other one.
    """
    former = (former or "").removeprefix("\ufeff")
    written, body = frontmatter.split(former)
    end = "\r\n" if 2 * former.count("\r\n") > former.count("\n") else "\n"
    ours = metadata_of(manifest, format, architecture, repo)
    values = merged(frontmatter.parse(written), ours, memory_of(body))
    parts = {"model": model_part(manifest, config, stated=bool(values.get("license"))),
             "usage": usage_part(manifest, config, format, architecture, repo),
             "training": training_part(manifest, history, curves, repo),
             "provenance": origin_part(manifest)}
    text = combined(body if body.strip() else f"# {prose(title_of(manifest, repo))}", parts, remembered(ours), end)
    top = frontmatter.updated(written.replace("\r\n", "\n"), values).replace("\n", end)
    gap = "" if text.startswith(("\r", "\n")) else end
    return f"---{end}{top}---{end}{gap}{text}"
