"""Check the address of the Hub, and find the secret parts of it."""

import pytest

from audiocraft_export.errors import ReleaseError
from audiocraft_export.sharing.endpoint import check_endpoint, credentials_of

WRONG = ["http://joe:pa55word/x@host", "http://joe:pa55word#x@host", "http://joe:pa55word?x@host", "http://[::1",
         "http://joe:pa55word@host:none", "joe:pa55word@host", "http://", "http://host:99999", "ftp://host"]


@pytest.mark.parametrize("address", WRONG)
def test_an_address_that_cannot_be_parsed_is_refused_without_showing_it(monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(ReleaseError, match="HF_ENDPOINT is not a valid address") as error:
        check_endpoint()
    assert error.value.code == "invalid-endpoint"
    assert "pa55word" not in str(error.value) and error.value.__cause__ is None


@pytest.mark.parametrize("address", ["", "https://huggingface.co", "http://joe:a%2Fb@host:80", "http://[::1]:80/hub",
                                     "https://hub.lab.org/models/"])
def test_a_valid_address_is_taken(monkeypatch, address):
    monkeypatch.setenv("HF_ENDPOINT", address)
    check_endpoint()


def test_the_credentials_of_an_address_are_its_user_its_password_and_its_query():
    assert credentials_of("http://joe:a%2Fb@host:80/x?sig=1&t=2#y=3") == [
        "joe:a%2Fb", "joe:a/b", "a%2Fb", "a/b", "joe", "joe", "sig=1", "sig=1", "t=2", "t=2", "y=3", "y=3"]
    assert credentials_of("https://huggingface.co") == credentials_of("http://host:80/x") == []
