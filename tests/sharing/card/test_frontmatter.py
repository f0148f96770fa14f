"""The YAML at the top of a card: what a person wrote says the same afterwards."""

import pytest

from audiocraft_export.errors import ReleaseError
from audiocraft_export.sharing.card.frontmatter import parse, split_card, update

from .releases import card


@pytest.mark.parametrize(("previous", "says"), [
    ("---\na: [\n---\n", "is no YAML"), ("---\n- a\n---\n", "is no mapping"),
    ("---\njust text\n---\n", "is no mapping"),
    ("---\na: &x [1]\nb: *x\n---\n", "has aliases"), ("---\n" + "[" * 1200 + "\n---\n", "is no YAML"),
    ("---\na: " + "[" * 10_000 + "\n---\n", "is no YAML of a card"),
    ("---\na: " + "[" * 10_000 + "]" * 10_000 + "\n---\n", "is no YAML of a card"),
    ("---\n" + "".join(f"k{number}: 1\n" for number in range(100_000)) + "---\n", "is no YAML of a card"),
    ("---\na: " + "x" * (1 << 20) + "\n---\n", "is no YAML of a card"),
    ("---\nok: 1\n? [x, y]\n: z\n---\n", r"is no YAML \(line 3: found unhashable key\)"),
    ("---\na: !!int ''\n---\n", "is no YAML"), ("---\na: !!bool maybe\n---\n", "is no YAML"),
    ("---\na: !!timestamp x\n---\n", "is no YAML"),
    ("---\na: !!python/name:os.system x\n---\n", "is no YAML"),
    ("---\na: 1" + ":59" * 999 + ".5\n---\n", "is no YAML"),
    ("---\n{a: 0x" + "f" * 4000 + "}\n---\n", "cannot be written anew"),
    ("<!-- audiocraft-export: model -->\ntext\n", "without the mark that belongs to it"),
    ("<!-- /audiocraft-export: model -->\n<!-- audiocraft-export: model -->", "without the mark"),
    ("<!-- audiocraft-export: a -->\n<!-- audiocraft-export: b -->\n<!-- /audiocraft-export: b -->", "the mark")])
def test_a_card_that_cannot_be_kept_is_refused_in_one_sentence(release, previous, says):
    with pytest.raises(ReleaseError, match=says) as error:
        card(*release(), previous=previous)
    assert "README.md" in str(error.value) and "\n" not in str(error.value) and str(error.value).endswith(".")


@pytest.mark.parametrize("top", ["{license: mit, a: 1}\n", "# only a comment\n", "", "a: |\n  x\n\n  y\nb: 2\n",
                                 "1: a\n2024-01-01: b\nnull: c\nempty:\n", "tags: music\n", "tags:\n", "a: 1\na: 2\n",
                                 "model-index: x\n", "tags: {a: 1}\n", "a: .nan\n",
                                 "model-index:\n- name: x\n", "model-index:\n- 3\n", "é: ü\n", "a: 1"])
def test_any_yaml_of_a_person_says_the_same_afterwards(release, top):
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
