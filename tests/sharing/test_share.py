"""Push releases to a local Hub with the real command."""

import json
import os
import shlex
import sys

import pytest
from helpers import SIG, command, with_cfg
from huggingface_hub import RepoUrl
from signing.signers import write_keys

from audiocraft_export import ExportOptions, export_xp, verify
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.release.manifest import CURVE_FILE
from audiocraft_export.release.prepare import prepare
from audiocraft_export.sharing.privacy_warning import warn_of_private_values
from audiocraft_export.sharing.share import share

from .hub.hub_server import TOKEN, USER_INFO, Fault
from .releases import CARD, REPO, SHARED, pushed, released


def test_a_release_is_pushed_in_one_commit_with_its_card_and_nothing_else(make_xp, hub, export):
    folder = make_xp() / "export"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    result = export(*SHARED, "--scrub", "public")
    assert result.returncode == 0, result.stderr
    assert f"pushed to {hub.url}/{REPO}" in result.stdout
    assert pushed(hub) == {name: data for name, data in released(folder).items() if name != "notes.txt"}
    assert {CARD, "export.json", "model.safetensors", "config.yaml", CURVE_FILE} <= {*pushed(hub)}
    assert TOKEN.encode() not in b"".join(released(folder).values())
    commits = len(hub.repos[REPO].commits)
    again = export(*SHARED, "--scrub", "public", "--json")
    assert json.loads(again.stdout)["url"] == f"{hub.url}/{REPO}" and len(hub.repos[REPO].commits) == commits


def test_a_push_without_a_card_says_that_the_card_on_the_hub_is_of_another_release(make_xp, hub, export):
    make_xp()
    to = ("--push-to-hub", REPO)
    assert export(*SHARED).returncode == 0
    same = export(*SHARED, "--no-card")
    assert same.returncode == 0 and "warning[old-card]" not in same.stderr
    other = export(*to, "--folder", "other", "--format", "audiocraft")
    assert other.returncode == 0 and "the card on the Hub describes another release" in other.stderr
    assert "state_dict.bin" in pushed(hub) and CARD in pushed(hub)


def test_a_signature_and_the_attestations_are_pushed_with_the_release(make_xp, hub, export, tmp_path):
    make_xp()
    private, public = write_keys(tmp_path / "keys")
    result = export(*SHARED, "--sign", private, "--attest")
    assert result.returncode == 0, result.stderr
    assert {"model.sig", "provenance.intoto.json"} <= {*pushed(hub)}
    for name, data in pushed(hub).items():
        (tmp_path / "there" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "there" / name).write_bytes(data)
    assert verify(tmp_path / "there", key=public).ok


@pytest.mark.parametrize("flags", [[], ["--json"], ["--scrub", "public"], ["--revision", "v2"]], ids=" ".join)
def test_the_credentials_of_the_hub_are_shown_and_written_nowhere(make_xp, hub, export, flags):
    folder = make_xp() / "export"
    scheme, _, host = hub.url.partition("://")
    endpoint = f"{scheme}://{USER_INFO}@{host}"
    result = export(*SHARED, *flags, HF_ENDPOINT=endpoint)
    if takes_credentials(endpoint, hub.url):
        assert result.returncode == 0 and f"{hub.url}/{REPO}" in result.stdout, result.stderr
        there, messages = pushed(hub, "v2" if "v2" in flags else "main"), hub.repos[REPO].messages
    else:
        assert result.returncode == 1 and "does not support credentials in HF_ENDPOINT" in result.stderr, result.stderr
        assert not hub.requests
        there, messages = {}, []
    files = b"".join([*there.values(), *released(folder).values()])
    said = result.stdout + result.stderr + "".join(messages)
    for secret in USER_INFO.split(":"):
        assert secret.encode() not in files and secret not in said
    assert host.encode() not in files  # images have relative addresses


def takes_credentials(endpoint, public):
    """Return whether huggingface_hub supports an address with credentials; the last one for Python 3.9 does not."""
    try:
        return bool(RepoUrl(f"{public}/{REPO}", endpoint=endpoint))
    except ValueError:
        return False


@pytest.mark.parametrize("flags", [SHARED, ["--card"]], ids=["push", "card"])
@pytest.mark.parametrize("user_info", ["joe:pa55word/x", "joe:pa55word#x"])
def test_a_password_that_is_not_encoded_is_not_printed(make_xp, hub, export, flags, user_info):
    make_xp()
    result = export(*flags, HF_ENDPOINT=f"http://{user_info}@127.0.0.1:9")
    assert result.returncode == 1 and "HF_ENDPOINT is not a valid address" in result.stderr
    assert "pa55" not in result.stdout + result.stderr


def test_a_revision_and_a_private_repository_are_as_asked_for(make_xp, hub, export):
    make_xp()
    assert export(*SHARED, "--private", "--revision", "v2", "--scrub", "public").returncode == 0
    assert hub.repos[REPO].private and "model.safetensors" in pushed(hub, "v2") and CARD not in pushed(hub)


def test_a_file_that_a_person_put_on_the_hub_is_not_replaced(make_xp, hub, export):
    make_xp()
    hub.create(REPO)
    hub.edit(REPO, **{"config.yaml": b"mine"})
    result = export(*SHARED, "--scrub", "public")
    assert result.returncode == 1 and "config.yaml on the Hub does not belong to a release" in result.stderr
    assert pushed(hub)["config.yaml"] == b"mine" and "model.safetensors" not in pushed(hub)


@pytest.mark.parametrize("flags", [(), ("--verify", "none", "--sign")], ids=["", "signed"])
def test_a_failed_push_keeps_the_release_and_offers_the_command(make_xp, hub, export, tmp_path, flags):
    folder = make_xp() / "export"
    hub.faults.append(Fault("POST /api/models/org/model/commit/", 500, times=50))
    key = [write_keys(tmp_path / "keys")[0]] if flags else []
    result = export(*SHARED, "--scrub", "public", *flags, *key)
    assert result.returncode == 1 and f"The release in {folder} is complete" in result.stderr
    hub.faults.clear()
    later = shlex.split(result.stderr.partition(", then run: ")[2])
    assert later[:2] == ["audiocraft-export", "run"]
    environ = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN,
               "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    again = command(*later[1:], cwd=tmp_path, **environ)
    assert again.returncode == 0 and "already exported" in again.stdout, again.stderr
    assert pushed(hub) == released(folder) and ("model.sig" in pushed(hub)) == bool(key)


@pytest.mark.parametrize("flags, says", [
    (["--push-to-hub", "model"], "Invalid Hub repository 'model'"), (["--private"], "--private requires --push-to-hub"),
    (["--revision", "v1"], "--revision requires --push-to-hub"),
    (["--max-shard-size", "5GB"], "--max-shard-size has no effect on --format audiocraft"),
    (["--format", "safetensors", "--max-shard-size", "much"], "'much' for max_shard_size"),
    (["--format", "safetensors", "--max-shard-size", "0.0GB"], "'0.0GB' for max_shard_size"),
    (["--format", "safetensors", "--max-shard-size", "-5"], "max_shard_size"),
    (["--push-to-hub", REPO, "other"], "one by one"),
    (["--push-to-hub", REPO, "--revision", "a b"], "'a b' for revision: expected a")])
def test_invalid_options_are_refused_before_any_request(make_xp, hub, export, flags, says):
    make_xp()
    result = export(*flags)
    assert result.returncode == 2 and says in result.stderr and not hub.requests, result.stderr


def test_nothing_is_shared_without_the_option(make_xp, dora_dir, caplog):
    make_xp(**{"xp.cfg": with_cfg(**{"mail": "joe@example.org"})})
    options = ExportOptions(card=False)
    report = export_xp(SIG, dora_dir, options)
    folder = dora_dir / "xps" / SIG
    prepared = prepare(open_checkpoint(folder / "checkpoint.th"), folder, options)
    assert share(report, prepared, options) is report and caplog.text == ""
    warn_of_private_values(prepared, options)
    assert caplog.text == "" and not (report.folder / CARD).exists()
    warn_of_private_values(prepared, options.replace(hub=REPO))
    assert "`mail` = joe@example.org (a user name, an e-mail address)" in caplog.text
