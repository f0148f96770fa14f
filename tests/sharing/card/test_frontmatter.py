"""Edit the front matter of a card, and keep its manual parts."""

import pytest

from audiocraft_export.errors import ReleaseError
from audiocraft_export.sharing.card.frontmatter import parse, split_card, update

from .releases import card


@pytest.mark.parametrize(("previous", "says"), [
    ("---\na: [\n---\n", "is not valid YAML"), ("---\n- a\n---\n", "is not a mapping"),
    ("---\njust text\n---\n", "is not a mapping"),
    ("---\na: &x [1]\nb: *x\n---\n", "has YAML aliases"), ("---\n" + "[" * 1200 + "\n---\n", "too deeply nested"),
    ("---\na: " + "[" * 10_000 + "\n---\n", "is too large or too deeply nested"),
    ("---\na: " + "[" * 10_000 + "]" * 10_000 + "\n---\n", "is too large or too deeply nested"),
    ("---\n" + "".join(f"k{number}: 1\n" for number in range(100_000)) + "---\n", "is too large or too deeply nested"),
    ("---\na: " + "x" * (1 << 20) + "\n---\n", "is too large or too deeply nested"),
    ("---\nok: 1\n? [x, y]\n: z\n---\n", r"is not valid YAML \(line 3: found unhashable key\)"),
    ("---\na: !!int ''\n---\n", "is not valid YAML"), ("---\na: !!bool maybe\n---\n", "is not valid YAML"),
    ("---\na: !!timestamp x\n---\n", "is not valid YAML"),
    ("---\na: !!python/name:os.system x\n---\n", "is not valid YAML"),
    ("---\na: 1" + ":59" * 999 + ".5\n---\n", "is not valid YAML"),
    ("---\n{a: 0x" + "f" * 4000 + "}\n---\n", "cannot be written as YAML"),
    ("<!-- audiocraft-export: model -->\ntext\n", "unmatched marker <!-- audiocraft-export: model -->"),
    ("<!-- /audiocraft-export: model -->\n<!-- audiocraft-export: model -->",
     "unmatched marker <!-- /audiocraft-export: model -->"),
    ("<!-- audiocraft-export: a -->\n<!-- audiocraft-export: b -->\n<!-- /audiocraft-export: b -->",
     "unmatched marker")])
def test_a_card_that_cannot_be_kept_is_refused_in_one_sentence(release, previous, says):
    with pytest.raises(ReleaseError, match=says) as error:
        card(*release(), previous=previous)
    assert error.value.code == "invalid-card" and error.value.hint
    assert "README.md" in str(error.value) and "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("top", ["{license: mit, a: 1}\n", "# only a comment\n", "", "a: |\n  x\n\n  y\nb: 2\n",
                                 "1: a\n2024-01-01: b\nnull: c\nempty:\n", "tags: music\n", "tags:\n", "a: 1\na: 2\n",
                                 "model-index: x\n", "tags: {a: 1}\n", "a: .nan\n",
                                 "model-index:\n- name: x\n", "model-index:\n- 3\n", "é: ü\n", "a: 1"])
def test_manual_front_matter_is_equal_after_an_update(release, top):
    yaml = pytest.importorskip("yaml")
    manifest, config, history = release()
    before = f"---\n{top}\n---\n" if top == "a: 1" else f"---\n{top}---\n"
    text = card(manifest, config, history, previous=before)
    assert card(manifest, config, history, previous=text) == text
    theirs, ours = (yaml.safe_load(each.split("---\n")[1]) or {} for each in (before, text))
    assert {key: repr(ours[key]) for key in theirs if key not in ("tags", "model-index")} == {
        key: repr(value) for key, value in theirs.items() if key not in ("tags", "model-index")}
    assert ours["library_name"] == "audiocraft" and ("music" in str(ours["tags"])) == (top != "tags: {a: 1}\n")


def test_a_key_is_replaced_and_the_others_stay_as_they_were_written():
    text = "# first\na: 1  # one\nb: [x,  y]\n# of c\nc: 3\n"
    assert update(text, {"a": 1, "b": 2, "c": 3, "d": 4}) == "# first\na: 1  # one\nb: 2\n# of c\nc: 3\nd: 4\n"
    assert update(text, {"c": 3}) == "# first\nc: 3\n" and parse(text) == {"a": 1, "b": ["x", "y"], "c": 3}
    assert split_card(f"---\n{text}---\nbody") == (text, "body") and split_card("body") == ("", "body")
