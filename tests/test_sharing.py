"""Releases with a card, on a Hub, without what is private: by the real command, against a Hub on loopback."""

import json
import os
import shlex
import sys

import pytest
from helpers import SIG, command, with_cfg
from hub_server import TOKEN, Fault, Hub

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.errors import OptionError
from audiocraft_export.pipeline.convert import convert

REPO = "org/model"
CARD = "README.md"
PRIVATE = {"datasource": {"train": "/home/joe/music"}, "mail": "joe@example.org", "wandb": {"key": "hf_" + "a" * 30},
           "slurm": {"partition": "big"}}
SHARED = ["--format", "safetensors", "--push-to-hub", REPO]


@pytest.fixture(scope="module")
def server():
    with Hub() as server:
        yield server


@pytest.fixture
def hub(server):
    server.forget()
    yield server
    assert not server.errors


@pytest.fixture
def export(hub, tmp_path, dora_dir):
    """Run the command as somebody whose token is known; nobody's home is touched."""
    def run(*args, target=SIG, **env):
        environ = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "",
                   "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": os.pathsep.join(sys.path), **env}
        result = command("run", target, "--dora-dir", dora_dir, *args, cwd=tmp_path, **environ)
        said = result.stdout + result.stderr
        assert "Traceback" not in said and TOKEN not in said
        return result
    return run


def pushed(hub, revision="main"):
    return {name: file.data for name, file in hub.repos[REPO].files(revision).items() if name != ".gitattributes"}


def released(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
    assert all(f"training-curve-{scheme}.png" in text and (folder / f"training-curve-{scheme}.png").exists()
               for scheme in ("light", "dark"))
    export_xp(SIG, dora_dir, ExportOptions(card=True))
    assert "state_dict.bin" in (folder / CARD).read_text() and "model.safetensors" not in (folder / CARD).read_text()


def test_what_a_person_added_to_the_card_survives_every_export(make_xp, dora_dir):
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


def test_a_release_that_is_there_with_its_card_is_not_even_written_beside(make_xp, dora_dir):
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
    assert result.returncode == 1 and "is no text in UTF-8" in result.stderr and "Traceback" not in result.stderr
    assert (folder / "model.safetensors").exists() and (folder / CARD).read_bytes() == b"\xff\xfe"


@pytest.mark.parametrize("text", ["no JSON", "{}", '{"architectures": []}'])
def test_a_config_json_of_somebody_else_says_nothing_of_a_release_without_one(make_xp, dora_dir, text):
    folder = make_xp() / "export"
    folder.mkdir()
    (folder / "config.json").write_text(text)
    export_xp(SIG, dora_dir, ExportOptions(format="safetensors"))
    assert (folder / CARD).exists() and (folder / "config.json").read_text() == text


def test_a_release_is_pushed_in_one_commit_with_its_card_and_nothing_else(make_xp, hub, export):
    folder = make_xp() / "export"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    result = export(*SHARED, "--scrub", "public")
    assert result.returncode == 0, result.stderr
    assert f"pushed to {hub.url}/{REPO}" in result.stdout
    assert pushed(hub) == {name: data for name, data in released(folder).items() if name != "notes.txt"}
    assert {CARD, "export.json", "model.safetensors", "config.yaml", "training-curve-dark.png"} <= {*pushed(hub)}
    assert TOKEN.encode() not in b"".join(released(folder).values())
    commits = len(hub.repos[REPO].commits)
    again = export(*SHARED, "--scrub", "public", "--json")
    assert json.loads(again.stdout)["url"] == f"{hub.url}/{REPO}" and len(hub.repos[REPO].commits) == commits


def test_a_revision_and_a_private_repository_are_as_asked_for(make_xp, hub, export):
    make_xp()
    assert export(*SHARED, "--private", "--revision", "v2", "--scrub", "public").returncode == 0
    assert hub.repos[REPO].private and "model.safetensors" in pushed(hub, "v2") and CARD not in pushed(hub)


def test_pushing_without_scrub_says_what_would_be_published(make_xp, hub, export):
    make_xp(**{"xp.cfg": with_cfg(**PRIVATE)})
    for flags, is_pushed in (["--dry-run"], False), ([], True):
        result = export(*SHARED, *flags)
        assert result.returncode == 0
        for said in ("with 3 values that look private: scrub=public",
                     "`datasource.train` = /home/joe/music (an absolute path)",
                     "`mail` = joe@example.org (a user name, an e-mail address)", "`wandb.key` = hf_a... (a token)"):
            assert said in result.stderr, result.stderr
        assert "a" * 20 not in result.stderr and (REPO in hub.repos) == is_pushed
    result = export(*SHARED, "--scrub", "wandb", "--dry-run")
    assert "2 values that look private" in result.stderr and "wandb.key" not in result.stderr
    result = export(*SHARED, "--scrub", "wandb", "--scrub", "datasource", "--scrub", "mail", "--dry-run")
    assert result.stderr == ""


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_what_is_scrubbed_is_in_no_file_that_is_released(make_xp, hub, export, format):
    folder = make_xp(**{"xp.cfg": with_cfg(**PRIVATE, note="${datasource.train}/x")}) / "export"
    result = export("--format", format, "--push-to-hub", REPO, "--scrub", "public", "--scrub", "optim.l*", "--card")
    assert result.returncode == 0 and "published" not in result.stderr, result.stderr
    everything = b"".join([*released(folder).values(), *pushed(hub).values()])
    private = (b"joe", b"wandb:", b"hf_a", b"partition", b"lr:", b"datasource:")
    assert not [word for word in private if word in everything]
    assert b"solver: mine" in everything and not export_again(export, format)


def export_again(export, format):
    return json.loads(export("--format", format, "--scrub", "public", "--scrub", "optim.l*", "--card",
                             "--json").stdout)["written"]


def test_a_pattern_that_matches_nothing_or_can_match_nothing_is_said(make_xp, export):
    make_xp()
    assert "scrub=dataset.pth matches no key" in export("--scrub", "dataset.pth").stderr
    result = export("--scrub", "a..b")
    assert result.returncode == 2 and "'a..b' is no pattern" in result.stderr
    result = export("--scrub", "publik")
    assert result.returncode == 2 and "did you mean public?" in result.stderr


@pytest.mark.parametrize("scrub", [5, True, False, {"a": 1}, ["a", 1], "public,optim", ["a", "b,c"], "a b"], ids=str)
def test_what_is_no_list_of_patterns_is_no_option(scrub):
    with pytest.raises(OptionError, match="scrub=.* is no (option|pattern): it takes a"):
        ExportOptions(scrub=scrub)


def test_a_card_of_the_former_release_is_said_to_be_that(make_xp, dora_dir, caplog):
    make_xp()
    folder = export_xp(SIG, dora_dir, ExportOptions(format="safetensors")).folder
    half = ExportOptions(dtype="float16")
    for make in (lambda: convert(folder, "audiocraft"), lambda: export_xp(SIG, dora_dir, half)):
        caplog.clear()
        make()
        assert f"{folder / CARD} is that of another release" in caplog.text
    caplog.clear()
    (folder / CARD).write_text("# Mine\n")
    export_xp(SIG, dora_dir)
    assert caplog.text == ""


def test_a_file_that_a_person_put_on_the_hub_is_not_replaced(make_xp, hub, export):
    make_xp()
    hub.create(REPO)
    hub.edit(REPO, **{"config.yaml": b"mine"})
    result = export(*SHARED, "--scrub", "public")
    assert result.returncode == 1 and "config.yaml there is of no release of this tool" in result.stderr
    assert pushed(hub)["config.yaml"] == b"mine" and "model.safetensors" not in pushed(hub)


def test_a_push_that_fails_leaves_the_release_and_says_the_command_that_pushes_it(make_xp, hub, export, tmp_path):
    folder = make_xp() / "export"
    hub.faults.append(Fault("POST /api/models/org/model/commit/", 500, times=50))
    result = export(*SHARED, "--scrub", "public")
    assert result.returncode == 1 and f"The release in {folder} is complete" in result.stderr
    hub.faults.clear()
    later = shlex.split(result.stderr.partition("and run: ")[2])
    assert later[:2] == ["audiocraft-export", "run"]
    environ = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN,
               "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    again = command(*later[1:], cwd=tmp_path, **environ)
    assert again.returncode == 0 and "already exported" in again.stdout, again.stderr
    assert pushed(hub) == released(folder)


def test_what_somebody_wrote_on_the_hub_is_kept_or_the_push_refused(make_xp, hub, export):
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
    assert result.returncode == 1 and "README.md there has another text" in result.stderr
    assert pushed(hub)[CARD].decode().endswith("Written there again.\n")


@pytest.mark.parametrize("flags, says", [
    (["--push-to-hub", "model"], "no repository of the Hub"), (["--private"], "name it with hub"),
    (["--revision", "v1"], "name it with hub"), (["--max-shard-size", "much"], "max_shard_size=much"),
    (["--max-shard-size", "0.0GB"], "max_shard_size=0.0GB"),
    (["--max-shard-size", "-5"], "max_shard_size"),
    (["--push-to-hub", REPO, "other"], "one by one"), (["--push-to-hub", REPO, "--revision", "a b"], "no branch")])
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(make_xp, hub, export, flags, says):
    make_xp()
    result = export(*flags)
    assert result.returncode == 2 and says in result.stderr and not hub.requests, result.stderr
