"""Render the model card deterministically, and keep manual edits."""

from dataclasses import replace

from huggingface_hub import ModelCard

from audiocraft_export.sharing.card.plot import plot_history

from .releases import card


def test_the_same_release_has_the_same_card_and_pictures(release):
    manifest, config, history = release()
    assert card(manifest, config, history) == card(replace(manifest, time="2000-01-01T00:00:00+00:00"), config, history)
    assert plot_history(history, manifest.best) == plot_history(history, manifest.best)


def test_an_up_to_date_card_does_not_change(release):
    manifest, config, history = release()
    first = card(manifest, config, history, curve="5891b5")
    assert card(manifest, config, history, curve="5891b5", previous=first) == first
    other = card(manifest, config, history, format="safetensors", previous=first)
    assert card(manifest, config, history, curve="5891b5", previous=other).splitlines()[9:] == first.splitlines()[9:]


def test_the_card_keeps_manual_edits(release):
    manifest, config, history = release()
    text = card(manifest, config, history)
    mark = "<!-- audiocraft-export: training -->"
    text = text.replace("# MusicGen\n", "# My model\n\nIt is *good*.\n").replace(mark, f"Made at night.\n\n{mark}")
    text += "\n## Thanks\n"
    text = text.replace("pipeline_tag: text-to-audio\n", "# mine\nlicense: cc-by-4.0  # ask me\npipeline_tag: other\n"
                        "language: [en, 'no']\n").replace("- audiocraft\n", "- first\n- audiocraft\n")
    for _ in range(2):
        text = card(replace(manifest, parameters=77), config, history[:1], previous=text)
    data = ModelCard(text).data
    assert (data.license, data.pipeline_tag, data.language) == ("cc-by-4.0", "other", ["en", "no"])
    assert data.tags == ["first", "audiocraft", "musicgen", "music-generation"]
    assert "license: cc-by-4.0  # ask me\n" in text and "# mine\n" in text and "language: [en, 'no']\n" in text
    assert "# My model\n\nIt is *good*.\n" in text and text.endswith("\n## Thanks\n")
    assert text.count("Made at night.") == 1 and "| Size | 77 parameters" in text


def test_a_file_with_the_ends_of_lines_of_windows_keeps_them(release):
    manifest, config, history = release()
    previous = "---\r\nlicense: mit\r\n---\r\n\r\n# Theirs\r\n"
    for _ in range(2):
        previous = card(manifest, config, history, previous=previous)
    assert previous.count("\n") == previous.count("\r\n") > 40 and ModelCard(previous).data.license == "mit"
    plain = card(manifest, config, history, previous="---\nlicense: mit\n---\n\n# Theirs\n")
    assert previous.replace("\r\n", "\n") == plain
    assert card(manifest, config, history, previous="\ufeff" + previous) == previous
