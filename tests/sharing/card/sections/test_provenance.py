"""The section `provenance` of a card."""

from dataclasses import replace

from audiocraft_export.sharing.card.sections.provenance import provenance_section
from audiocraft_export.sharing.card.source import CardSource


def test_thirty_warnings_are_listed_and_the_others_counted(release):
    manifest, config, _ = release()
    manifest = replace(manifest, warnings=[f"warning {number}" for number in range(1033)])
    text = provenance_section(CardSource(manifest, config))
    assert text.endswith("- warning 29\n- and 1,003 more") and "| Experiment | `0123abcd` after 3 epochs" in text
    assert "Warnings" not in provenance_section(CardSource(replace(manifest, warnings=[]), config))


def test_the_digest_and_the_commit_are_named_if_the_manifest_has_them(release):
    manifest, config, _ = release()
    text = provenance_section(CardSource(manifest, config))
    assert "Content digest" not in text and "git commit" not in text
    known = replace(manifest, content_digest="sha256:0", git={"commit": "abc", "dirty": False})
    text = provenance_section(CardSource(known, config))
    assert "| Content digest | `sha256:0` |" in text and ", git commit `abc` |" in text
