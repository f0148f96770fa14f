"""Replace the sections of a card, and keep the text around them."""

import time

import pytest

from audiocraft_export.errors import ReleaseError
from audiocraft_export.sharing.card.markers import has_sections, last_metadata, outline, replace_sections

from .releases import card, without_section


def test_a_part_that_a_person_deleted_stays_deleted_unless_all_are(release):
    manifest, config, history = release()
    text = without_section(card(manifest, config, history), "training")
    again = card(manifest, config, history, previous=text)
    assert again == text and "## Training" not in again and "## Provenance" in again
    for part in ("model", "usage", "provenance"):
        text = without_section(text, part)
    assert "## Training" in card(manifest, config, history, previous=text)


def test_an_existing_readme_keeps_its_text_above_the_sections(release):
    manifest, config, history = release()
    text = card(manifest, config, history, previous="---\nlicense: mit\nlibrary_name: theirs\n---\n# Theirs\n\nText.\n")
    assert text.startswith("---\nlicense: mit\nlibrary_name: theirs\npipeline_tag: text-to-audio\n")
    assert "\n# Theirs\n\nText.\n\n<!-- audiocraft-export" in text and "# MusicGen" not in text
    assert card(manifest, config, history, previous=text) == text
    assert "\n\nText only.\n\n<!--" in card(manifest, config, history, previous="Text only.")


def test_the_next_export_finds_the_metadata_of_the_last_one():
    text = replace_sections("# Mine\n", {"model": "one", "usage": "two"}, {"tags": ["a"]})
    assert last_metadata(text) == {"tags": ["a"]} and has_sections(text) and not has_sections("# Mine\n")
    again = replace_sections(text + "\nEnd.\n", {"model": "three", "usage": "two", "new": "x"}, {"tags": []})
    assert again == text.replace("one", "three").replace('["a"]', "[]") + "\nEnd.\n"
    assert last_metadata("<!-- audiocraft-export wrote {no JSON} -->") == last_metadata("") == {}


def test_the_outline_has_the_markers_and_the_text_around_them():
    cards = [replace_sections("# Mine\r\n", {"model": text, "usage": "two\nthree"}, {}) for text in ("one", "four")]
    lines, others = (outline(f"{each}\nEnd.\n") for each in cards)
    assert lines == others and {"# Mine", "<!-- audiocraft-export: usage -->", "End."} <= {*lines}
    assert not {"one", "two", "three", "four"} & {*lines}


def test_a_duplicate_section_is_refused(release):
    text = card(*release())
    with pytest.raises(ReleaseError, match="the section model occurs more than once"):
        card(*release(), previous=text + text[text.index("<!-- audiocraft-export: model"):])


@pytest.mark.parametrize("text", [
    "<!-- audiocraft-export wrote {", "<!-- audiocraft-export wrote {}", "-->{}", "---\n"])
def test_a_text_of_millions_of_characters_takes_no_time(text):
    begin = time.process_time()
    replace_sections(text * (4_000_000 // len(text)), {"model": "one"}, {})
    assert time.process_time() - begin < 5


def test_the_outline_of_any_number_of_sections_takes_no_time():
    text = "\n".join(f"<!-- audiocraft-export: s{n} -->\n<!-- /audiocraft-export: s{n} -->" for n in range(50_000))
    begin = time.process_time()
    assert len(outline(text)) == 150_000
    assert time.process_time() - begin < 5
