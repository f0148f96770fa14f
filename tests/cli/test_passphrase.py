"""The passphrase of a key: asked for once, by the command on a terminal."""

import sys

import pytest
from signing.signers import write_keys

from audiocraft_export.cli import passphrase
from audiocraft_export.cli.passphrase import check_key
from audiocraft_export.errors import ReleaseError
from audiocraft_export.signing.keys import PASSPHRASE


@pytest.fixture
def asked(monkeypatch):
    """Return the prompts that were shown; the answer is `open sesame`."""
    prompts = []
    monkeypatch.setenv(PASSPHRASE, "")  # restored after the test
    monkeypatch.setattr(passphrase, "getpass", lambda prompt: prompts.append(prompt) or "open sesame")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    return prompts


def test_it_is_asked_for_once_on_a_terminal(tmp_path, asked):
    private, _ = write_keys(tmp_path, passphrase="open sesame")
    check_key(private)
    check_key(private)
    assert asked == [f"Passphrase of {private}: "]


def test_it_is_not_asked_for_without_need(tmp_path, asked):
    check_key(None)
    check_key(write_keys(tmp_path)[0])
    assert asked == []


def test_a_wrong_answer_is_an_error(tmp_path, asked):
    with pytest.raises(ReleaseError, match="the passphrase is wrong"):
        check_key(write_keys(tmp_path, passphrase="other")[0])


def test_without_a_terminal_it_is_an_error(tmp_path, asked, monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(ReleaseError, match=f"Set the environment variable {PASSPHRASE}") as refusal:
        check_key(write_keys(tmp_path, passphrase="open sesame")[0])
    assert asked == [] and refusal.value.code == "missing-passphrase"


def test_no_answer_is_an_error(tmp_path, asked, monkeypatch):
    def press_ctrl_d(prompt):
        raise EOFError
    monkeypatch.setattr(passphrase, "getpass", press_ctrl_d)
    with pytest.raises(ReleaseError, match="its passphrase is unknown"):
        check_key(write_keys(tmp_path, passphrase="open sesame")[0])


def test_an_answer_that_is_not_text_is_an_error(tmp_path, asked, monkeypatch):
    def invalid(prompt):
        return b"s\xff".decode()
    monkeypatch.setattr(passphrase, "getpass", invalid)
    with pytest.raises(ReleaseError, match="is not text") as error:
        check_key(write_keys(tmp_path, passphrase="other")[0])
    assert error.value.code == "invalid-key"
