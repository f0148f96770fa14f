"""Render the model card of a release (README.md)."""

from . import frontmatter
from .markdown import prose
from .markers import last_metadata, replace_sections
from .metadata import merge, metadata_of, to_remember
from .sections.model import model_section
from .sections.provenance import provenance_section
from .sections.training import training_section
from .sections.usage import usage_section
from .source import CardSource


def render_card(source: CardSource, previous: str = "") -> str:
    """Render the model card of a release; the output is deterministic.

    Args:
        source: the release.
        previous: the card to update. Its line endings and the text that people wrote are kept.

    Raises:
        ReleaseError: if the front matter of `previous` is not valid YAML, or a marker is unmatched.
    """
    previous = previous.removeprefix("\ufeff")
    theirs, body = frontmatter.split_card(previous)
    end = "\r\n" if 2 * previous.count("\r\n") > previous.count("\n") else "\n"
    ours = metadata_of(source)
    values = merge(frontmatter.parse(theirs), ours, last_metadata(body))
    sections = {"model": model_section(source, has_license=bool(values.get("license"))), "usage": usage_section(source),
                "training": training_section(source), "provenance": provenance_section(source)}
    body = body if body.strip() else f"# {prose(source.title)}"
    text = replace_sections(body, sections, to_remember(ours, source.curve), end)
    top = frontmatter.update(theirs.replace("\r\n", "\n"), values).replace("\n", end)
    gap = "" if text.startswith(("\r", "\n")) else end
    return f"---{end}{top}---{end}{gap}{text}"
