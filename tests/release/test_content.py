"""The content of release files before they are encoded."""

from audiocraft_export.release.content import AttrDict, model_content, reference_content


def test_mappings_at_any_depth_become_attribute_dicts():
    converted = AttrDict.of({"a": {"b": [{"c": 1}, 2]}, "d": None})
    assert converted == {"a": {"b": [{"c": 1}, 2]}, "d": None}
    assert [type(value) for value in (converted, converted["a"], converted["a"]["b"][0])] == [AttrDict] * 3


def test_reserved_names_are_not_attributes():
    assert AttrDict({"a": 1, "items": 2, "__reduce__": 3, "move_to_end": 4, 5: 6, "not a name": 7}).names == [
        "a", "not a name"]


def test_contents_have_the_keys_of_audiocraft_in_its_order():
    assert list(model_content({}, "a: 1\n", "1")) == ["best_state", "xp.cfg", "version", "exported"]
    assert reference_content("facebook/encodec_32khz", "1") == {
        "pretrained": "facebook/encodec_32khz", "exported": True, "version": "1"}
