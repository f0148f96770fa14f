"""Errors of a push: one message with a hint, without credentials."""

import sys

import pytest

from audiocraft_export.errors import ReleaseError
from audiocraft_export.sharing.hub.errors import session
from audiocraft_export.sharing.hub.push import Destination, push

from .client import LATER, REPO, released, there
from .hub_server import SIGNATURE, TOKEN, Fault


@pytest.mark.parametrize("fault, message", [
    (Fault("POST /api/repos/create", 503),
     "the Hub answered 503 Service Unavailable: told to fail. Wait some minutes, then run: "),
    (Fault("POST /api/repos/create", 402), "402 Payment Required: told to fail. Push again with: "),
    (Fault(f"POST /api/models/{REPO}/preupload", 403),
     "the Hub answered 403 Forbidden: told to fail. Use a token with write access"),
    (Fault(f"POST /api/models/{REPO}/preupload", 404), "404 Not Found: told to fail"),
    (Fault(f"POST /api/models/{REPO}/preupload", 429, times=9), "Too Many Requests: told to fail. Wait some minutes"),
    (Fault(f"POST /api/models/{REPO}/preupload", 500, times=9),
     "the Hub answered 500 Internal Server Error: told to fail. Wait some minutes"),
    (Fault(f"POST /{REPO}.git/info/lfs", 413), "Too Large: told to fail"),
    (Fault(f"POST /api/models/{REPO}/commit", 409), "409 Conflict: told to fail"),
    (Fault(f"POST /api/models/{REPO}/commit", 412), "412 Precondition Failed: told to fail"),
    (Fault(f"POST /api/models/{REPO}/commit", 418), "the Hub answered 418 I'm a Teapot: told to fail"),
    (Fault(f"POST /api/models/{REPO}/commit", 0), "the Hub client reports: "),
    (Fault(f"GET /api/models/{REPO}", 500, said=f"{TOKEN} https://me:pa55word@s3.example/x?{SIGNATURE} {TOKEN}"),
     "500 Internal Server Error: *** https://s3.example/x*** ***"),
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


def test_the_other_way_of_large_files_has_the_same_messages(hub, clients, release):
    hub.faults.append(Fault(f"GET /api/models/{REPO}/xet-write-token", 403))
    error = clients().push(release)["error"]
    assert "403 Forbidden" in error
    hub.faults.append(Fault("POST /xet/v1/xorbs", 0, times=9, after=20_000))
    impatient = clients(HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1", HF_XET_CLIENT_RETRY_BASE_DELAY="10ms")
    error = impatient.push(release)["error"]
    assert "the Hub client reports: " in error


@pytest.mark.parametrize("env, message", [
    ({"HF_TOKEN": ""}, "no token for the Hub was found. Log in with `hf auth login` or set HF_TOKEN, then run: "),
    ({"HF_TOKEN": "hf_AnotherToken"}, "the Hub answered 401 Unauthorized: "),
    ({"HF_TOKEN": f"{TOKEN}\u20ac"}, "contains invalid characters"),
    ({"HF_TOKEN": f"{TOKEN}\x01pa55word"}, "contains invalid characters"),
    ({"HF_HUB_OFFLINE": "1"},
     "in offline mode (HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE). Unset the variable, then run: "),
    ({"url": "http://127.0.0.1:9"}, "the Hub client reports: [Errno 111] Connection refused"),
], ids=str)
def test_an_environment_that_cannot_reach_the_hub_gets_a_hint(hub, clients, release, env, message):
    error = clients(**env).push(release)["error"]
    assert all(part in error for part in message.split("... ")) and "hf_AnotherToken" not in error
    assert not hub.repos


@pytest.mark.parametrize("user_info", ["joe:pa55word", "pa55word", "joe:%70a55word", "joe:pa55word%2F%40"])
def test_no_error_has_the_credentials_of_the_address_of_the_hub(clients, release, user_info):
    for address in ("127.0.0.1:9", "nobody.invalid:80/hub?sig=pa55word"):
        error = clients(url=f"http://{user_info}@{address}", HF_HUB_DISABLE_XET="1").push(release)["error"]
        assert "joe" not in error and "%70" not in error, error  # the client removes the password itself


@pytest.mark.parametrize("way", [{}, {"HF_HUB_DISABLE_XET": "1"}], ids=["xet", "lfs"])
def test_no_signed_address_is_in_the_log_of_a_training(hub, clients, release, way):
    client = clients(LEVEL="INFO", **way)
    client.card(release)
    assert "value" in client.push(release)
    assert "HTTP" not in client.said.read_text()


def test_a_token_of_another_form_is_not_shown_either(hub, clients, release):
    hub.faults.append(Fault("POST /api/repos/create", 400, said="who is pa55word?"))
    assert "400 Bad Request: who is ***?" in clients(HF_TOKEN="pa55word").push(release)["error"]


def test_the_token_may_be_in_the_file_of_the_client(hub, clients, release, tmp_path):
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert "value" in clients(HF_TOKEN="", HF_TOKEN_PATH=str(tmp_path / "token")).push(release)
    assert clients(HF_HUB_DISABLE_IMPLICIT_TOKEN="1").push(release) == {"value": f"{hub.url}/{REPO}"}


def test_a_release_without_a_file_is_not_pushed(hub, client, release):
    answer = client("push", folder=release, to=[REPO, LATER], names=["export.json", "gone.bin"], message="A release")
    assert "cannot read " in answer["error"] and "gone.bin: No such file" in answer["error"] and there(hub) == {}


def test_without_the_extra_the_message_says_which(release, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ReleaseError, match=r"cannot import huggingface_hub\. Install it .`pip install hug") as error:
        push(Destination(release, REPO, LATER), [], "A release")
    assert error.value.code == "push-failed" and error.value.hint.endswith(f", then run: {LATER}")


def test_a_token_that_is_cut_off_at_the_limit_is_not_shown_in_part(release, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    for length in range(360, 420):
        with pytest.raises(ReleaseError) as error, session(release, REPO, LATER):
            raise ValueError(f"{'x' * length} {TOKEN}")
        assert TOKEN[:6] not in str(error.value)
