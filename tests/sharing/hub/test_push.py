"""Push a release with the real client to a local server, and download it again."""

import hashlib

import pytest
from huggingface_hub.utils import validate_repo_id

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.errors import OptionError
from audiocraft_export.options import check_repo

from .client import CARD, REPO, released, there, write
from .hub_server import PART, Fault


def test_downloaded_files_equal_the_release_after_one_commit(hub, client, release, tmp_path):
    assert client.push(release) == {"value": f"{hub.url}/{REPO}"}
    client("download", folder=tmp_path / "there", repo_id=REPO)
    (tmp_path / "there" / ".gitattributes").unlink()
    assert released(tmp_path / "there") == released(release)
    assert hub.repos[REPO].messages == ["initial commit", "A release"] and not hub.repos[REPO].private


def test_nothing_is_committed_or_uploaded_when_nothing_has_changed(hub, client, release):
    client.push(release)
    hub.requests.clear()
    assert client.push(release) == {"value": f"{hub.url}/{REPO}"}
    assert len(hub.repos[REPO].commits) == 2
    assert [request.split("?")[0] for request in hub.requests if "agent" not in request] == [
        "POST /api/repos/create", f"GET /api/models/{REPO}/revision/main",
        f"GET /{REPO}/resolve/{hub.repos[REPO].branches['main']}/export.json"]


def test_only_changed_files_are_uploaded(hub, client, release):
    client.push(release)
    (release / "config.json").write_text("{}")
    hub.requests.clear()
    client.push(release)
    assert there(hub) == released(release) and not hub.count("PUT") and not hub.count("POST /xet/")


def test_a_retry_does_not_upload_files_again(hub, client, release):
    hub.faults.append(Fault(f"POST /api/models/{REPO}/commit", 500))
    assert "500" in client.push(release)["error"]
    assert hub.repos[REPO].messages == ["initial commit"]
    hub.requests.clear()
    assert "value" in client.push(release)
    assert there(hub) == released(release) and not hub.count("PUT") and not hub.count("POST /xet/v1/xorbs")


def test_a_connection_that_breaks_in_a_large_file_does_not_cost_the_finished_one(hub, by_lfs, release):
    broken, finished = (hashlib.sha256((release / name).read_bytes()).hexdigest()
                        for name in ("state_dict.bin", "model.safetensors"))
    hub.faults.append(Fault(f"PUT /lfs/{broken}", 0, times=6, after=20_000))
    error = by_lfs.push(release)["error"]
    assert "the Hub client reports: Error while uploading 'state_dict.bin'" in error
    assert finished in hub.large and broken not in hub.large
    hub.faults.clear()  # some clients try six times, others once
    assert "value" in by_lfs.push(release)
    assert hub.count(f"PUT /lfs/{finished}") == 3
    assert there(hub) == released(release)


def test_a_connection_that_breaks_once_is_not_even_noticed(hub, by_lfs, release):
    hub.faults.append(Fault("PUT /lfs/", 0, after=PART))  # huggingface_hub 1.8 does not retry a failed upload
    assert "value" in by_lfs.push(release)
    assert there(hub) == released(release)


def test_a_commit_of_which_no_answer_comes_is_not_made_twice(hub, client, release):
    hub.faults.append(Fault(f"POST /api/models/{REPO}/commit", -1))
    error = client.push(release)["error"]
    assert "the Hub client reports: " in error and "without" in error and "response" in error
    assert "value" in client.push(release)
    assert hub.repos[REPO].messages == ["initial commit", "A release"]


def test_a_revision_is_a_branch_that_is_made(hub, client, release):
    hub.create(REPO)
    for _ in range(2):
        assert client.push(release, revision="v1/0") == {"value": f"{hub.url}/{REPO}/tree/v1%2F0"}
    assert there(hub, "v1/0") == released(release) and there(hub) == {}
    assert hub.repos[REPO].messages == ["initial commit", "A release"]


def test_a_repository_is_private_only_if_asked_for(hub, client, release):
    client.push(release, private=True)
    assert hub.repos[REPO].private
    client.push(write(release, seed=1, **{"README.md": CARD}))
    assert hub.repos[REPO].private


def test_a_public_repository_gets_nothing_that_has_to_be_private(hub, client, release):
    hub.create(REPO)
    assert "the repository already exists and is public" in client.push(release, private=True)["error"]
    assert there(hub) == {} and not hub.count("PUT") and not hub.count("POST /xet/")


def test_files_of_the_previous_release_go_in_the_same_commit(hub, client, release):
    client.push(release)
    write(release, seed=1, **{"README.md": CARD, "config.json": None, "state_dict.bin": None})
    client.push(release)
    assert there(hub) == released(release) and len(hub.repos[REPO].commits) == 3


def test_a_signature_is_replaced_with_its_release_and_removed_with_it(hub, client, release):
    for seed, signature in enumerate(["one", "two"]):
        write(release, seed=seed)
        (release / "model.sig").write_text(signature)
        assert "value" in client.push(release)
        assert there(hub)["model.sig"] == signature.encode()
    (release / "model.sig").unlink()
    assert "value" in client.push(release)  # the same release: somebody has signed it on the Hub
    assert "model.sig" in there(hub)
    assert "value" in client.push(write(release, seed=2))
    assert "model.sig" not in there(hub)


def test_a_persons_files_stay(hub, client, release):
    client.push(release)
    hub.edit(REPO, **{"sample.wav": b"RIFF", "config.json": b'{"seed": 9}', "state_dict.bin": b"mine"})
    write(release, seed=1, **{"README.md": CARD, "config.json": None, "state_dict.bin": None})
    client.push(release)
    assert there(hub) == {**released(release), "sample.wav": b"RIFF", "config.json": b'{"seed": 9}',
                          "state_dict.bin": b"mine"}


def test_nothing_is_pushed_beside_a_file_that_a_loader_would_read(hub, client, make_xp, dora_dir):
    xp = make_xp()
    folder = export_xp(xp.name, dora_dir, format="safetensors", card=False, codec="none").folder
    hub.create(REPO)
    hub.edit(REPO, **{"state_dict.bin": b"mine"})
    assert "state_dict.bin on the Hub does not belong to the release" in client.push(folder)["error"]


def test_nothing_is_pushed_beside_a_file_that_the_signature_does_not_cover(hub, client, release):
    client.push(write(release, **{"model.sig": "signed"}))
    hub.edit(REPO, LICENSE=b"MIT")
    assert "LICENSE on the Hub does not belong to the release, and the signature" in client.push(release)["error"]


@pytest.mark.parametrize("card", [CARD, None], ids=["card", "no card"])
def test_a_picture_that_no_card_of_a_release_lists_is_not_replaced(hub, client, release, card):
    client.push(write(release, **{"README.md": card}))
    hub.edit(REPO, **{"training-curve.png": b"mine"})
    (release / "training-curve.png").write_bytes(b"ours")
    error = client.push(release)["error"]
    assert "training-curve.png on the Hub does not belong to a release" in error
    assert there(hub)["training-curve.png"] == b"mine" and len(hub.repos[REPO].commits) == 3


def test_a_card_stays_when_a_release_has_none(hub, client, release):
    client.push(release)
    client.push(write(release, **{"README.md": None}))
    assert there(hub)["README.md"] == CARD.encode()


def test_a_card_that_a_person_edited_on_the_hub_is_not_overwritten_unseen(hub, client, release):
    client.push(release)
    hub.edit(REPO, **{"README.md": (CARD + "Mine.\r\n").encode()})
    hub.requests.clear()
    write(release, seed=1, **{"README.md": CARD + "Ours.\n"})
    error = client.push(release)["error"]
    assert "README.md was edited on the Hub" in error and "Merge the edits into " in error
    assert len(hub.repos[REPO].commits) == 3 and not hub.count("PUT") and not hub.count("POST /xet/")

    seen = client.card(release)
    assert seen == CARD + "Mine.\r\n"
    write(release, seed=1, **{"README.md": seen + "Ours.\n"})
    assert "value" in client.push(release, merged=seen)
    assert there(hub)["README.md"].decode() == CARD + "Mine.\r\nOurs.\n"


def test_an_unedited_card_is_replaced(hub, client, release):
    client.push(release)
    client.push(write(release, **{"README.md": CARD + "Better.\n"}))
    assert there(hub) == released(release)


def test_changes_on_the_hub_during_the_upload_are_not_undone(hub, client, release):
    client.push(release)
    hub.meanwhile[f"POST /api/models/{REPO}/commit"] = lambda: hub.edit(REPO, **{"README.md": b"# Mine\n"})
    error = client.push(write(release, seed=1, **{"README.md": CARD + "Better.\n"}))["error"]
    assert "the Hub answered 412 Precondition Failed" in error and there(hub)["README.md"] == b"# Mine\n"


def test_a_file_that_changes_during_the_upload_is_named(hub, by_lfs, release):
    hub.meanwhile[f"POST /api/models/{REPO}/preupload"] = lambda: (release / "config.json").write_text("{}")
    assert "config.json is missing or different on the Hub" in by_lfs.push(release)["error"]


def test_a_card_that_changes_after_it_was_seen_is_not_overwritten(hub, client, release):
    client.push(release)
    seen = client.card(release)
    hub.edit(REPO, **{"README.md": b"# Mine\n"})
    error = client.push(write(release, **{"README.md": "# Ours\n"}), merged=seen)["error"]
    assert "README.md was edited on the Hub" in error


def test_a_card_is_looked_for_in_the_branch_or_where_it_will_begin(hub, client, release):
    assert client.card(release) is None
    hub.create(REPO)
    assert client.card(release) is None
    client.push(release)
    assert client.card(release, revision="v2") == CARD
    client.push(write(release, **{"README.md": CARD + "v2\n"}), revision="v2", merged=CARD)
    assert client.card(release, revision="v2") == CARD + "v2\n" and client.card(release) == CARD


def test_files_that_a_gitignore_on_the_hub_drops_are_named(hub, client, release):
    hub.create(REPO)
    hub.edit(REPO, **{".gitignore": b"config.json\n"})
    error = client.push(release)["error"]
    assert "config.json is missing or different on the Hub" in error and ".gitignore" in error


def test_a_card_that_the_hub_cannot_read_is_refused_before_anything_is_uploaded(hub, client, release):
    error = client.push(write(release, **{"README.md": "---\nlicense: [mit\n---\n"}))["error"]
    assert "the front matter of README.md: while parsing" in error and not hub.count("PUT") + hub.count("POST /xet/")


def test_no_repository_is_made_where_the_token_may_not(hub, client, release):
    assert "rights to create a model" in client.push(release, repo="other/model")["error"]
    assert not hub.repos


def test_the_names_of_repositories_are_those_of_the_client():
    good = ["org/model", "a/b", "Org-1/my.model_2", "o" * 96 + "/m"]
    bad = ["org/mo--del", "org/mo..del", "org/model.git", "org/-model", "org/model.", "org/mo del", "org/modèle",
           "o" * 97 + "/m", "a/b/c", "", "/", "org/", "/model", "org\n/model", "org/model\n", "-org/model"]
    for name in good:
        check_repo(name)
        validate_repo_id(name)
    for name in [*bad, "model"]:  # the client accepts a name without a user, and looks up the user
        with pytest.raises(OptionError, match="ORG/NAME"):
            check_repo(name)
    lax = ["org/modèle", "org\n/model", "org/model\n", "o" * 97 + "/m"]  # huggingface_hub 0.36 accepts them
    for name in [name for name in bad if name not in lax]:
        with pytest.raises(ValueError, match="epo"):
            validate_repo_id(name)


def test_a_wrong_name_needs_no_network():
    for repo, revision in (("model", None), (REPO, "refs/pr/1"), (REPO, "a b"), (REPO, "")):
        with pytest.raises(OptionError):
            ExportOptions(hub=repo, revision=revision)
    for revision in ("main", "v1.0", "feature/x-1", "1"):
        ExportOptions(hub=REPO, revision=revision)
