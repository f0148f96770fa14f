"""Errors with code and hint, and helpers to show values in messages."""

import pickle
import time

import pytest

from audiocraft_export import ExportError
from audiocraft_export.errors import (
    CheckpointError,
    ExperimentError,
    OptionError,
    ReleaseError,
    coded_warning,
    describe_exception,
    listing,
    printable,
    public_address,
    readable_size,
    reason,
    show_warning,
    unexpected_error,
    without_credentials,
)
from audiocraft_export.jobs.local import WorkerDiedError
from audiocraft_export.jobs.worker import run_job


def test_an_exception_is_its_type_and_its_message_in_one_line():
    assert describe_exception(ValueError("no\n  such x ")) == "ValueError: no such x"
    assert describe_exception(AssertionError("\n"), "assert x") == "AssertionError: assert x"
    assert describe_exception(AssertionError()) == "AssertionError: "


def every_subclass(kind):
    return [kind, *(each for sub in kind.__subclasses__() for each in every_subclass(sub))]


@pytest.mark.parametrize(("hint", "text"), [("", "x is missing."), ("use y", "x is missing. Use y."),
                                            ("did you mean y?", "x is missing. Did you mean y?")])
def test_an_error_is_a_code_a_message_and_a_hint(hint, text):
    error = ExportError("read-failed", "x is missing", hint)
    assert error.to_dict() == {"code": "read-failed", "message": "x is missing", "hint": hint} and str(error) == text
    assert error.lines == ["error[read-failed]: x is missing", *([f"  hint: {hint}"] if hint else [])]


def test_every_error_survives_pickling():
    kinds = every_subclass(ExportError)
    assert {ExportError, OptionError, ExperimentError, CheckpointError, ReleaseError, WorkerDiedError} <= {*kinds}
    for kind in kinds:
        error = kind("worker-died", "The worker died", "retry")
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind and copy.args == error.args and copy.to_dict() == error.to_dict()
        assert copy.code == "worker-died" and copy.message == "The worker died" and copy.hint == "retry"


def fail():
    raise ReleaseError("disk-full", "No space left", "free some")


def test_the_error_of_a_job_arrives_unchanged():
    sent = pickle.loads(pickle.dumps(run_job(pickle.dumps(fail), lambda message: None)))
    with pytest.raises(ReleaseError) as arrived:
        sent.get()
    assert arrived.value.lines == ["error[disk-full]: No space left", "  hint: free some"]


def test_a_warning_is_shown_with_its_code_and_one_of_format_1_without():
    warning = coded_warning("unknown-epoch", "a\nb")
    assert show_warning(warning) == "warning[unknown-epoch]: a\\nb"
    assert show_warning(warning, "x") == "warning[unknown-epoch]: x: a\\nb"
    assert show_warning("w: 3 values are NaN", "x") == "warning: x: w: 3 values are NaN"


def test_a_message_is_one_printable_line_of_limited_length():
    assert ExportError("read-failed", "a\nb\x1b[2J\udcff é").message == "a\\nb\\x1b[2J\\udcff é"
    assert ExportError("read-failed", "x", "a\nb").hint == "a\\nb"
    assert printable("x" * 4000) == "x" * 4000 and printable("x" * 4001) == "x" * 4000 + "..."
    assert printable("\0" * 2000) == "\\x00" * 1000 + "..."


@pytest.mark.parametrize(("nbytes", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (285_400_000, "285 MB"),
                                              (2.57e9, "2.57 GB"), (3e15, "3e+03 TB")])
def test_sizes_have_three_digits_and_a_unit(nbytes, text):
    assert readable_size(nbytes) == text


def test_a_long_list_of_names_is_cut():
    assert listing(["a", "b"]) == "a, b" and listing(list("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"


def test_a_reason_is_one_line_without_the_path():
    assert reason(FileNotFoundError(2, "No such file", "x")) == "No such file"
    assert reason(ValueError("first\nsecond")) == "first" and reason(KeyboardInterrupt()) == "KeyboardInterrupt"


@pytest.mark.parametrize(("text", "shown"), [
    ("http://joe:pw@host:8080/x", "http://host:8080/x"), ("https://T0ken@host/x", "https://host/x"),
    ("a/https:/joe:pw@host/x", "a/https:/host/x"), ("s3:/AK:pw@b/c", "s3:/b/c"),
    ("C:/Users/joe@host", "C:/Users/joe@host"),
    ("see ssh://git@host/x, https://a:b@c", "see ssh://host/x, https://c"), ("http://joe:p/w@host", "http://host"),
    ("http://joe:p@ss@host/x@1", "http://1"), ("http://joe:p#w?@host:80/", "http://host:80/"),
    ("http://:pw@[::1]:80/", "http://[::1]:80/"), ("http://host:8080/x@1", "http://host:8080/x@1"),
    ("http://joe:it's@host", "http://host"),
    ("https://host/@joe", "https://host/@joe"), ("joe@example.org", "joe@example.org"), ("a://b", "a://b")])
def test_addresses_are_shown_without_credentials(text, shown):
    error = ExportError("read-failed", text, text)
    assert without_credentials(text) == printable(text) == error.message == error.hint == shown
    assert error.lines == [f"error[read-failed]: {shown}", f"  hint: {shown}"]


@pytest.mark.parametrize(("address", "shown"), [
    ("https://a:b@host:80/hub?token=x#y", "https://host:80/hub"), ("https://host#sig=x", "https://host"),
    ("https://huggingface.co", "https://huggingface.co"), ("https://a:b?c@host/x", "https://host/x"),
    ("http://joe:a \"b<@host/x", "http://host/x"), (f"https://{'T0ken' * 900}@host", "https://host")])
def test_a_public_address_has_neither_query_nor_fragment(address, shown):
    assert public_address(address) == shown


@pytest.mark.parametrize("piece", ["://a:", "://", "a@", "://a", "://a:b@", "://:", ":"])
def test_hostile_addresses_take_no_time(piece):
    start = time.process_time()
    without_credentials("http://" + piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 5
    assert "joe" not in printable("x" * 3990 + "http://joe:pa55word@host")


def test_an_unexpected_error_has_the_path_of_its_cause_and_a_hint():
    cause = FileNotFoundError(2, "No such file or directory", "/some/path")
    assert "/some/path" in unexpected_error(cause).message and unexpected_error(cause).__cause__ is cause
    assert unexpected_error(cause).hint != unexpected_error(cause, "please report it").hint == "please report it"
