"""A release on the Hub: pushed by the real client to a server on loopback, and downloaded from there again."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import SIGNATURE, TOKEN, Fault, Hub
from hub_xet import ACCESS
from huggingface_hub.utils import validate_repo_id

from audiocraft_export.errors import OptionError, ReleaseError
from audiocraft_export.options import check_repo
from audiocraft_export.sharing.hub.push import push

REPO = "org/model"
LATER = "audiocraft-export run 0123abcd --push-to-hub org/model"
CARD = "---\nlicense: mit\n---\n# A model\n"
SECRETS = (TOKEN, SIGNATURE, ACCESS, "pa55word")
CLIENT = """
import contextlib, io, json, logging, os, sys, time, traceback
from pathlib import Path
from huggingface_hub import snapshot_download
from audiocraft_export.errors import ExportError
from audiocraft_export.sharing.hub import push as hub

logging.basicConfig(level=os.environ.get("LEVEL", "WARNING"))
time.sleep = lambda seconds: None  # it would wait for up to 8 s before it tries again
for line in sys.stdin:
    name, args = json.loads(line)
    try:
        folder = Path(args.pop("folder"))
        if name == "download":
            with contextlib.redirect_stderr(io.StringIO()):
                value = snapshot_download(**args, local_dir=folder)
        else:
            value = {"push": hub.push, "card": hub.remote_card}[name](folder, **args)
        answer = {"value": value}
    except ExportError as exc:
        answer = {"kind": type(exc).__name__, "error": str(exc), "trace": traceback.format_exc()}
    print(json.dumps(answer), flush=True)
"""


class Client:
    """A process of its own, since huggingface_hub reads its environment when it is imported; with a home of its own."""

    def __init__(self, home, url, **env):
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        path = os.pathsep.join([str(Path(push.__code__.co_filename).parents[3]), *sys.path])
        environ.update({"HF_HOME": str(home), "HF_ENDPOINT": url, "HF_TOKEN": TOKEN, "PYTHONPATH": path, **env})
        self.said = home / "stderr"
        home.mkdir(exist_ok=True)
        with self.said.open("wb") as said:
            self.process = subprocess.Popen([sys.executable, "-c", CLIENT], text=True, stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=said, env=environ)

    def __call__(self, name, **args):
        print(json.dumps([name, args], default=str), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        said = answer + self.said.read_text()
        assert not [secret for secret in SECRETS if secret in said], said
        assert answer, said
        return json.loads(answer)

    def push(self, folder, repo=REPO, private=False, revision=None, message="A release", **args):
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "notes.txt")
        answer = self("push", folder=folder, names=names, repo=repo, private=private, revision=revision,
                      message=message, later=LATER, **args)
        if "error" in answer:
            assert answer["kind"] == "ReleaseError" and "\n" not in answer["error"]
            assert f"The release in {folder} is complete" in answer["error"] and answer["error"].endswith(LATER)
        return answer

    def card(self, folder, revision=None):
        return self("card", folder=folder, repo=REPO, revision=revision, later=LATER)["value"]

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(timeout=10) == 0
        assert self.said.read_text() == ""  # no bars and no warnings where there is no terminal
        logs = "".join(path.read_text() for path in self.said.parent.rglob("*.log"))  # hf_xet writes some
        assert not [secret for secret in SECRETS if secret in logs]


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    """Clients by what is special about their environment; each is started once, and all have the same Hub."""
    home, started = tmp_path_factory.mktemp("homes"), {}
    with Hub() as server:
        def client(**env):
            key = json.dumps(env)
            if key not in started:
                started[key] = Client(home / str(len(started)), **{"url": server.url, **env})
            return started[key]
        client.server = server
        yield client
        for each in started.values():
            each.end()


@pytest.fixture
def hub(clients):
    clients.server.forget()
    yield clients.server
    assert not clients.server.errors


@pytest.fixture(params=["xet", "lfs"])
def client(request, clients):
    """Both ways that large files go: by chunks, or as a whole or in parts."""
    return clients() if request.param == "xet" else clients(HF_HUB_DISABLE_XET="1")


@pytest.fixture
def by_lfs(clients):
    return clients(HF_HUB_DISABLE_XET="1")


def write(folder, seed=0, **files):
    """A release folder with its manifest, and a person's notes that are none of it."""
    folder.mkdir(exist_ok=True)
    noise = random.Random(f"{folder}{seed}")  # chunks that no other test has uploaded
    contents = {"state_dict.bin": noise.randbytes(50_000), "model.safetensors": noise.randbytes(250_000),
                "config.json": b'{"seed": %d}' % seed, **{name: text and text.encode() for name, text in files.items()}}
    for name, data in contents.items():
        (folder / name).write_bytes(data) if data else (folder / name).unlink(missing_ok=True)
    listed = [{"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
              for name, data in contents.items() if data]
    (folder / "export.json").write_text(json.dumps({"files": listed}))
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def release(tmp_path):
    return write(tmp_path / "export", **{"README.md": CARD})


def released(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name != "notes.txt" and ".cache" not in path.parts}


def there(hub, revision="main"):
    return {name: file.data for name, file in hub.repos[REPO].files(revision).items() if name != ".gitattributes"}


def test_what_is_downloaded_is_what_was_released_after_one_commit(hub, client, release, tmp_path):
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


def test_only_what_has_changed_is_uploaded(hub, client, release):
    client.push(release)
    (release / "config.json").write_text("{}")
    hub.requests.clear()
    client.push(release)
    assert there(hub) == released(release) and not hub.count("PUT") and not hub.count("POST /xet/")


def test_a_second_try_does_not_upload_again_what_the_first_one_had(hub, client, release):
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
    assert "the connection broke" in by_lfs.push(release)["error"]
    assert finished in hub.large and broken not in hub.large
    assert "value" in by_lfs.push(release)
    assert hub.count(f"PUT /lfs/{finished}") == 3 and hub.count(f"PUT /lfs/{broken}") == 7
    assert there(hub) == released(release)


def test_a_connection_that_breaks_once_is_not_even_noticed(hub, by_lfs, release):
    hub.faults.append(Fault("PUT /lfs/", 0, after=20_000))
    assert "value" in by_lfs.push(release)
    assert there(hub) == released(release)


def test_a_commit_of_which_no_answer_comes_is_not_made_twice(hub, client, release):
    hub.faults.append(Fault(f"POST /api/models/{REPO}/commit", -1))
    assert "the connection broke" in client.push(release)["error"]
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
    assert "it is there already, and public" in client.push(release, private=True)["error"]
    assert there(hub) == {} and not hub.count("PUT") and not hub.count("POST /xet/")


def test_files_of_the_former_release_go_in_the_same_commit(hub, client, release):
    client.push(release)
    write(release, seed=1, **{"README.md": CARD, "config.json": None, "state_dict.bin": None})
    client.push(release)
    assert there(hub) == released(release) and len(hub.repos[REPO].commits) == 3


def test_a_persons_files_stay(hub, client, release):
    client.push(release)
    hub.edit(REPO, **{"sample.wav": b"RIFF", "config.json": b'{"seed": 9}', "state_dict.bin": b"mine"})
    write(release, seed=1, **{"README.md": CARD, "config.json": None, "state_dict.bin": None})
    client.push(release)
    assert there(hub) == {**released(release), "sample.wav": b"RIFF", "config.json": b'{"seed": 9}',
                          "state_dict.bin": b"mine"}


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
    assert "README.md there has another text" in error
    assert len(hub.repos[REPO].commits) == 3 and not hub.count("PUT") and not hub.count("POST /xet/")

    seen = client.card(release)
    assert seen == CARD + "Mine.\r\n"
    write(release, seed=1, **{"README.md": seen + "Ours.\n"})
    assert "value" in client.push(release, card=seen)
    assert there(hub)["README.md"].decode() == CARD + "Mine.\r\nOurs.\n"


def test_a_card_that_nobody_edited_is_replaced(hub, client, release):
    client.push(release)
    client.push(write(release, **{"README.md": CARD + "Better.\n"}))
    assert there(hub) == released(release)


def test_what_somebody_does_there_during_the_upload_is_not_undone(hub, client, release):
    client.push(release)
    hub.meanwhile[f"POST /api/models/{REPO}/commit"] = lambda: hub.edit(REPO, **{"README.md": b"# Mine\n"})
    error = client.push(write(release, seed=1, **{"README.md": CARD + "Better.\n"}))["error"]
    assert "somebody has changed it meanwhile: 412" in error and there(hub)["README.md"] == b"# Mine\n"


def test_a_file_that_changes_during_the_upload_is_named(hub, by_lfs, release):
    hub.meanwhile[f"POST /api/models/{REPO}/preupload"] = lambda: (release / "config.json").write_text("{}")
    assert "not with the bytes of config.json" in by_lfs.push(release)["error"]


def test_a_card_that_changes_after_it_was_seen_is_not_overwritten(hub, client, release):
    client.push(release)
    seen = client.card(release)
    hub.edit(REPO, **{"README.md": b"# Mine\n"})
    assert "another text" in client.push(write(release, **{"README.md": "# Ours\n"}), card=seen)["error"]


def test_a_card_is_looked_for_in_the_branch_or_where_it_will_begin(hub, client, release):
    assert client.card(release) is None
    hub.create(REPO)
    assert client.card(release) is None
    client.push(release)
    assert client.card(release, revision="v2") == CARD
    client.push(write(release, **{"README.md": CARD + "v2\n"}), revision="v2", card=CARD)
    assert client.card(release, revision="v2") == CARD + "v2\n" and client.card(release) == CARD


def test_what_a_gitignore_on_the_hub_keeps_away_is_named(hub, client, release):
    hub.create(REPO)
    hub.edit(REPO, **{".gitignore": b"config.json\n"})
    error = client.push(release)["error"]
    assert "not with the bytes of config.json" in error and ".gitignore" in error


@pytest.mark.parametrize("fault, message", [
    (Fault("POST /api/repos/create", 503), "the Hub fails: 503 told to fail): wait some minutes"),
    (Fault("POST /api/repos/create", 402), "asks for a payment"),
    (Fault(f"POST /api/models/{REPO}/preupload", 403), "the token may not do that: 403 told to fail"),
    (Fault(f"POST /api/models/{REPO}/preupload", 404), "there is no such repository"),
    (Fault(f"POST /api/models/{REPO}/preupload", 429, times=9), "too many requests: 429"),
    (Fault(f"POST /api/models/{REPO}/preupload", 500, times=9), "the Hub fails: 500"),
    (Fault(f"POST /{REPO}.git/info/lfs", 413), "too large for the Hub"),
    (Fault(f"POST /api/models/{REPO}/commit", 409), "somebody else is at work there"),
    (Fault(f"POST /api/models/{REPO}/commit", 412), "somebody has changed it meanwhile"),
    (Fault(f"POST /api/models/{REPO}/commit", 418), "the Hub refuses it: 418"),
    (Fault(f"POST /api/models/{REPO}/commit", 0), "cannot be reached, or the connection broke"),
    (Fault(f"GET /api/models/{REPO}", 500, said=f"{TOKEN} https://me:pa55word@s3.example/x?{SIGNATURE} {TOKEN}"),
     "500 *** https://***s3.example/x*** ***"),
    (Fault(f"GET /api/models/{REPO}", 500, said="x" * 1000), "x..."),
], ids=lambda value: f"{value.status} {value.where}" if isinstance(value, Fault) else "")
def test_a_failure_is_one_sentence_without_credentials(hub, by_lfs, release, fault, message):
    before = released(release)
    hub.faults.append(Fault(**vars(fault)))
    error = by_lfs.push(release)["error"]
    assert message in error and len(error) < 800
    assert released(release) == before
    hub.faults.clear()
    assert "value" in by_lfs.push(release)
    assert there(hub) == before


def test_a_card_that_the_hub_cannot_read_is_refused_before_anything_is_uploaded(hub, client, release):
    error = client.push(write(release, **{"README.md": "---\nlicense: [mit\n---\n"}))["error"]
    assert "the front matter of README.md: while parsing" in error and not hub.count("PUT") + hub.count("POST /xet/")


def test_no_repository_is_made_where_the_token_may_not(hub, client, release):
    assert "rights to create a model" in client.push(release, repo="other/model")["error"]
    assert not hub.repos


def test_the_other_way_of_large_files_has_the_same_messages(hub, clients, release):
    hub.faults.append(Fault(f"GET /api/models/{REPO}/xet-write-token", 403))
    assert "the token may not do that: 403" in clients().push(release)["error"]
    hub.faults.append(Fault("POST /xet/v1/xorbs", 0, times=9, after=20_000))
    impatient = clients(HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1", HF_XET_CLIENT_RETRY_BASE_DELAY="10ms")
    assert "the Hub cannot be reached, or the connection broke" in impatient.push(release)["error"]


@pytest.mark.parametrize("env, message", [
    ({"HF_TOKEN": ""}, "no token of the Hub is known here): log in (`hf auth login`, or HF_TOKEN)"),
    ({"HF_TOKEN": "hf_AnotherToken"}, "the Hub does not take the token: 401"),
    ({"HF_TOKEN": f"{TOKEN}\u20ac"}, "has characters that none has"),
    ({"HF_TOKEN": f"{TOKEN}\x01pa55word"}, "has characters that none has"),
    ({"HF_HUB_OFFLINE": "1"}, "its client is offline, by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE): unset that"),
    ({"url": "http://127.0.0.1:9"}, "the Hub cannot be reached"),
], ids=str)
def test_an_environment_that_reaches_no_hub_is_told_what_it_lacks(hub, clients, release, env, message):
    error = clients(**env).push(release)["error"]
    assert message in error and "hf_AnotherToken" not in error
    assert not hub.repos


@pytest.mark.parametrize("way", [{}, {"HF_HUB_DISABLE_XET": "1"}], ids=["xet", "lfs"])
def test_no_signed_address_is_in_the_log_of_a_training(hub, clients, release, way):
    client = clients(LEVEL="INFO", **way)
    client.card(release)
    assert "value" in client.push(release)
    assert "HTTP" not in client.said.read_text()


def test_a_token_of_another_form_is_not_said_either(hub, clients, release):
    hub.faults.append(Fault("POST /api/repos/create", 400, said="who is pa55word?"))
    assert "400 who is ***?" in clients(HF_TOKEN="pa55word").push(release)["error"]


def test_the_token_may_be_in_the_file_of_the_client(hub, clients, release, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert "value" in clients(HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "token")).push(release)
    assert clients(HF_HUB_DISABLE_IMPLICIT_TOKEN="1").push(release) == {"value": f"{hub.url}/{REPO}"}


def test_a_release_without_a_file_is_not_pushed(hub, client, release):
    answer = client("push", folder=release, names=["export.json", "gone.bin"], repo=REPO, private=False,
                    revision=None, message="A release", later=LATER)
    assert "gone.bin cannot be read: No such file" in answer["error"] and there(hub) == {}


def test_the_names_of_repositories_are_those_of_the_client():
    good = ["org/model", "a/b", "Org-1/my.model_2", "o" * 96 + "/m"]
    bad = ["org/mo--del", "org/mo..del", "org/model.git", "org/-model", "org/model.", "org/mo del", "org/modèle",
           "o" * 97 + "/m", "a/b/c", "", "/", "org/", "/model", "org\n/model", "org/model\n", "-org/model"]
    for name in good:
        check_repo(name)
        validate_repo_id(name)
    for name in [*bad, "model"]:  # the client takes a name alone, and looks up who its user is
        with pytest.raises(OptionError, match="ORG/NAME"):
            check_repo(name)
    lax = ["org/modèle", "org\n/model", "org/model\n", "o" * 97 + "/m"]  # huggingface_hub 0.36 takes them
    for name in [name for name in bad if name not in lax]:
        with pytest.raises(ValueError, match="epo"):
            validate_repo_id(name)


def test_without_the_extra_the_message_says_which(release, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ReleaseError, match=r"huggingface_hub cannot be imported\): install audiocraft-export\[hf\]"):
        push(release, [], REPO, False, None, "A release", LATER)


def test_a_wrong_name_needs_no_network(release):
    for repo, revision in (("model", None), (REPO, "refs/pr/1"), (REPO, "a b"), (REPO, "")):
        with pytest.raises(OptionError):
            push(release, [], repo, False, revision, "A release", LATER)
    for revision in ("main", "v1.0", "feature/x-1", "1"):
        check_revision(revision)
