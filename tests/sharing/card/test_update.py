"""Write the card of a release, keep an existing one, and warn if it is stale."""

import errno
import json
import os
import re
from hashlib import sha256

import pytest
import torch
from helpers import SIG, command

from audiocraft_export import ExportOptions, export_xp, verify
from audiocraft_export.errors import ReleaseError
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.manifest import CURVE_FILE, Manifest
from audiocraft_export.sharing.card.limits import MAX_CARD_BYTES
from audiocraft_export.sharing.card.update import warn_of_stale_card

from ..releases import CARD, REPO, SHARED, pushed, released
from .releases import without_section


def add(path, text):
    path.write_text(path.read_text() + text)


def test_a_card_is_written_for_every_format_but_audiocraft_s(make_xp, dora_dir):
    folder = make_xp() / "export"
    export_xp(SIG, dora_dir)
    assert not (folder / CARD).exists()
    export_xp(SIG, dora_dir, ExportOptions(format="safetensors", card=False))
    assert not (folder / CARD).exists()
    export_xp(SIG, dora_dir, ExportOptions(format="safetensors"))
    text = (folder / CARD).read_text()
    manifest = json.loads((folder / "export.json").read_text())
    assert text.startswith("---\n") and all(file["sha256"] in text for file in manifest["files"])
    assert f"({CURVE_FILE})" in text and (folder / CURVE_FILE).exists()
    export_xp(SIG, dora_dir, ExportOptions(card=True))
    assert "state_dict.bin" in (folder / CARD).read_text() and "model.safetensors" not in (folder / CARD).read_text()


def test_manual_edits_of_the_card_survive_every_export(make_xp, dora_dir):
    options = ExportOptions(format="safetensors")
    card = export_xp(SIG, dora_dir, options).folder / CARD if make_xp() else None
    card.write_text(card.read_text().replace("---\n", "---\nlicense: mit\n", 1) + "\n## Thanks\n\nTo my cat.\n")
    assert not export_xp(SIG, dora_dir, options).written
    before = card.read_text()
    export_xp(SIG, dora_dir, options)
    assert card.read_text() == before
    make_xp(history=[{"valid": {"ce": 0.125}}])
    assert export_xp(SIG, dora_dir, options).written
    text = card.read_text()
    assert "license: mit" in text and text.endswith("## Thanks\n\nTo my cat.\n") and "0.125" in text


def test_a_card_that_is_gone_is_written_again_and_the_release_is_not(make_xp, dora_dir):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(format="safetensors")).folder
    before = released(folder)
    (folder / CARD).unlink()
    assert not export_xp(SIG, dora_dir, ExportOptions(format="safetensors")).written
    assert released(folder) == before


def test_an_up_to_date_release_with_its_card_is_not_written_again(make_xp, dora_dir):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(format="safetensors")).folder
    before = folder.stat().st_mtime_ns
    export_xp(SIG, dora_dir, ExportOptions(format="safetensors"))
    assert folder.stat().st_mtime_ns == before


def test_a_card_that_cannot_be_read_costs_no_release(make_xp, dora_dir, tmp_path):
    folder = make_xp() / "export"
    folder.mkdir()
    (folder / CARD).write_bytes(b"\xff\xfe")
    result = command("run", SIG, "--dora-dir", dora_dir, "--format", "safetensors", cwd=tmp_path)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert f"The release in {folder} is complete, but its model card is not written: " in result.stderr
    assert "is not valid UTF-8" in result.stderr
    assert (folder / "model.safetensors").exists() and (folder / CARD).read_bytes() == b"\xff\xfe"


@pytest.mark.parametrize("text", ["no JSON", "{}", '{"architectures": []}'])
def test_an_unrelated_config_json_is_ignored(make_xp, dora_dir, text):
    folder = make_xp() / "export"
    folder.mkdir()
    (folder / "config.json").write_text(text)
    export_xp(SIG, dora_dir, ExportOptions(format="safetensors"))
    assert (folder / CARD).exists() and (folder / "config.json").read_text() == text


def test_a_card_of_a_previous_release_is_reported(make_xp, dora_dir, caplog):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(format="safetensors")).folder
    half = ExportOptions(dtype="float16")
    for make in (lambda: convert(folder, "audiocraft"), lambda: export_xp(SIG, dora_dir, half)):
        caplog.clear()
        make()
        assert f"warning[old-card]: {folder / CARD}: the card describes a previous release; an " in caplog.text
    caplog.clear()
    (folder / CARD).write_text("# Mine\n")
    export_xp(SIG, dora_dir)
    assert caplog.text == ""


def test_edits_on_the_hub_are_kept_or_the_push_is_refused(make_xp, hub, export):
    folder = make_xp() / "export"
    assert export(*SHARED, "--scrub", "public").returncode == 0
    text = pushed(hub)[CARD].decode()
    hub.edit(REPO, **{CARD: (text + "\nWritten on the Hub.\n").encode()})
    make_xp(history=[{"valid": {"ce": 0.5}}])
    assert export(*SHARED, "--scrub", "public").returncode == 0
    assert pushed(hub)[CARD].decode().endswith("Written on the Hub.\n") and pushed(hub)[CARD] == released(folder)[CARD]
    add(folder / CARD, "\nWritten here.\n")
    assert export(*SHARED, "--scrub", "public").returncode == 0
    assert pushed(hub)[CARD].decode().endswith("Written here.\n")
    hub.edit(REPO, **{CARD: pushed(hub)[CARD] + b"\nWritten there again.\n"})
    add(folder / CARD, "\nAnd here.\n")
    result = export(*SHARED, "--scrub", "public")
    assert result.returncode == 1 and "README.md was edited on the Hub" in result.stderr
    assert pushed(hub)[CARD].decode().endswith("Written there again.\n")


@pytest.mark.parametrize("part", ["model", "usage", "provenance"])
def test_a_section_that_is_deleted_on_the_hub_stays_deleted(make_xp, hub, export, part):
    folder = make_xp() / "export"
    assert export(*SHARED).returncode == 0
    hub.edit(REPO, **{CARD: without_section(pushed(hub)[CARD].decode(), part).encode()})
    for text in ("", "\nWritten on the Hub.\n"):
        hub.edit(REPO, **{CARD: pushed(hub)[CARD] + text.encode()})
        make_xp(history=[{"valid": {"ce": len(text) + 0.5}}])
        assert export(*SHARED).returncode == 0
        card = pushed(hub)[CARD].decode()
        assert f"audiocraft-export: {part} -->" not in card and f"{len(text) + 0.5}" in card and card.endswith(text)
        assert pushed(hub)[CARD] == released(folder)[CARD]
    add(folder / CARD, "\nWritten here.\n")
    assert export(*SHARED).returncode == 0
    assert f"audiocraft-export: {part} -->" not in pushed(hub)[CARD].decode()


def test_metadata_and_a_title_that_are_deleted_on_the_hub_stay_deleted(make_xp, hub, export):
    folder = make_xp() / "export"
    assert export(*SHARED).returncode == 0
    for lines in (b"- dora\n", b"# model\n", b"tags:\n- flashy\n- safetensors\n"):
        assert lines in pushed(hub)[CARD]
        hub.edit(REPO, **{CARD: pushed(hub)[CARD].replace(lines, b"")})
        assert export(*SHARED).returncode == 0
        assert lines not in pushed(hub)[CARD] and pushed(hub)[CARD] == released(folder)[CARD]


def test_edits_on_the_hub_are_merged_into_a_card_that_was_written_before_the_first_push(make_xp, hub, export):
    folder = make_xp() / "export"
    assert export("--format", "safetensors").returncode == 0
    assert export(*SHARED).returncode == 0
    hub.edit(REPO, **{CARD: without_section(pushed(hub)[CARD].decode(), "usage").encode() + b"\nWritten there.\n"})
    result = export(*SHARED)
    assert result.returncode == 0, result.stderr
    card = pushed(hub)[CARD].decode()
    assert "audiocraft-export: usage" not in card and card.endswith("\nWritten there.\n")
    (folder / CARD).unlink()
    assert export(*SHARED).returncode == 0  # the new card has another title, the name of the repository
    assert pushed(hub)[CARD] == released(folder)[CARD] == card.encode()


def test_a_section_that_is_deleted_on_the_hub_is_not_pushed_again_with_text_written_here(make_xp, hub, export):
    folder = make_xp() / "export"
    assert export(*SHARED).returncode == 0
    edited = without_section(pushed(hub)[CARD].decode(), "usage")
    hub.edit(REPO, **{CARD: edited.encode()})
    add(folder / CARD, "\n```python\nwritten_here()\n```\n")
    result = export(*SHARED)
    assert result.returncode == 1 and "error[hub-conflict]" in result.stderr, result.stderr
    assert "README.md was edited on the Hub" in result.stderr and pushed(hub)[CARD].decode() == edited
    (folder / CARD).write_text(without_section((folder / CARD).read_text(), "usage"))
    assert export(*SHARED).returncode == 0
    card = pushed(hub)[CARD].decode()
    assert "audiocraft-export: usage" not in card and "written_here()" in card


def test_different_sections_that_are_deleted_here_and_on_the_hub_are_a_conflict(make_xp, hub, export):
    folder = make_xp() / "export"
    assert export(*SHARED).returncode == 0
    text = pushed(hub)[CARD].decode()
    hub.edit(REPO, **{CARD: without_section(text, "usage").encode()})
    (folder / CARD).write_text(without_section(text, "model"))
    result = export(*SHARED)
    assert result.returncode == 1 and "README.md was edited on the Hub" in result.stderr
    assert "audiocraft-export: usage" not in pushed(hub)[CARD].decode()
    assert "audiocraft-export: model" not in (folder / CARD).read_text()


def test_a_license_that_is_added_after_a_push_is_pushed(make_xp, hub, export):
    folder = make_xp() / "export"
    assert export(*SHARED).returncode == 0 and "No license specified" in pushed(hub)[CARD].decode()
    (folder / CARD).write_text((folder / CARD).read_text().replace("---\n", "---\nlicense: mit\n", 1))
    result = export(*SHARED)
    assert result.returncode == 0, result.stderr
    card = pushed(hub)[CARD].decode()
    assert "license: mit" in card and "No license specified" not in card


def test_a_training_curve_that_others_put_on_the_hub_is_not_replaced(make_xp, hub, export):
    folder = make_xp() / "export"
    for value in (0.5, 0.25):  # the second push replaces the curve of the first one
        make_xp(history=[{"valid": {"ce": value}}])
        assert export(*SHARED).returncode == 0
        assert pushed(hub)[CURVE_FILE] == released(folder)[CURVE_FILE]
    hub.edit(REPO, **{CURVE_FILE: b"my own plot"})
    result = export(*SHARED)
    assert result.returncode == 1, result.stdout
    assert f"{CURVE_FILE} on the Hub does not belong to a release" in result.stderr
    assert pushed(hub)[CURVE_FILE] == b"my own plot"
    hub.edit(REPO, **{CURVE_FILE: None, "my-plot.png": b"my own plot"})
    assert export(*SHARED).returncode == 0
    assert pushed(hub)[CURVE_FILE] == released(folder)[CURVE_FILE] and pushed(hub)["my-plot.png"] == b"my own plot"


def test_a_training_curve_of_the_user_is_kept_with_a_warning(make_xp, export):
    folder = make_xp(history=[{"valid": {"ce": 0.5}}]) / "export"
    folder.mkdir()
    for card in ("no card", "a generated card"):
        (folder / CURVE_FILE).write_text("my own plot")
        result = export("--format", "safetensors")
        assert result.returncode == 0 and f"warning[plot-kept]: {folder / CURVE_FILE}: " in result.stderr, card
        assert (folder / CURVE_FILE).read_text() == "my own plot" and (folder / CARD).exists()
    (folder / CURVE_FILE).unlink()
    for value in (0.5, 0.25):  # a generated one is replaced
        make_xp(history=[{"valid": {"ce": value}}])
        result = export("--format", "safetensors")
        assert (folder / CURVE_FILE).read_bytes().startswith(b"\x89PNG") and "plot-kept" not in result.stderr
        assert sha256((folder / CURVE_FILE).read_bytes()).hexdigest() in (folder / CARD).read_text()


def test_only_a_card_that_an_export_has_written_can_be_stale(tmp_path, caplog):
    warn_of_stale_card(tmp_path)
    (tmp_path / CARD).write_text("# Mine\n")
    warn_of_stale_card(tmp_path)
    assert caplog.text == ""
    add(tmp_path / CARD, "<!-- audiocraft-export: model -->\nx\n<!-- /audiocraft-export: model -->\n")
    warn_of_stale_card(tmp_path)
    assert f"warning[old-card]: {tmp_path / CARD}: the card describes a previous release" in caplog.text


@pytest.fixture
def unreadable(monkeypatch):
    """Let reading this file fail as on a broken disk."""
    def make(broken):
        real = os.open

        def failing(path, *args, **kwargs):
            if str(path) == str(broken):
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
            return real(path, *args, **kwargs)
        monkeypatch.setattr(os, "open", failing)
    return make


@pytest.mark.parametrize("name", [CARD, CURVE_FILE])
def test_a_disk_that_cannot_read_a_card_costs_no_release_and_no_traceback(make_xp, dora_dir, unreadable, name):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(format="safetensors")).folder
    unreadable(folder / name)
    make_xp(best_state={"model": {"w": torch.ones(3)}})
    with pytest.raises(ReleaseError, match=f"Cannot read .*{name} \\(Input/output error\\)"):
        export_xp(SIG, dora_dir, ExportOptions(format="safetensors"))
    assert verify(folder).ok and Manifest.load(folder).tensors == 1


def test_an_unused_card_may_be_unreadable_or_huge(make_xp, dora_dir, unreadable, caplog):
    make_xp()
    folder = export_xp(SIG, dora_dir).folder
    (folder / CARD).write_bytes(b"x" * (MAX_CARD_BYTES + 1))
    assert export_xp(SIG, dora_dir, ExportOptions(dtype="float16")).written and \
        "larger than the limit of 4.19 MB" in caplog.text
    unreadable(folder / CARD)
    assert convert(folder, "safetensors").written and f"Cannot read {folder / CARD} (Input/output error)" in caplog.text


@pytest.mark.parametrize(("card", "says"), [
    (b"---\na: [\n---\n", r"card on the Hub \(\w+/\w+\) cannot be kept: README.md: the front matter"),
    (b"\xff\xfe", "its README.md on the Hub is not valid UTF-8")])
def test_edits_on_the_hub_that_cannot_be_kept_are_reported(make_xp, hub, export, card, says):
    make_xp()
    assert export(*SHARED).returncode == 0
    hub.edit(REPO, **{CARD: card})
    result = export(*SHARED)
    assert result.returncode == 1 and re.search(says, result.stderr) and "is complete" in result.stderr


def test_a_huge_card_is_refused_in_one_sentence_here_and_on_the_hub(make_xp, dora_dir, hub, export):
    folder = make_xp() / "export"
    assert export(*SHARED).returncode == 0
    hub.edit(REPO, **{CARD: b"x" * (MAX_CARD_BYTES + 1)})
    result = export(*SHARED)
    assert result.returncode == 1 and "README.md on the Hub is larger than the limit of 4.19 MB" in result.stderr
    (folder / CARD).write_bytes(b"x" * (MAX_CARD_BYTES + 1))
    result = export(*SHARED)
    assert result.returncode == 1 and "README.md is larger than the limit of 4.19 MB" in result.stderr
