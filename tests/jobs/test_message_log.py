"""Messages between processes by a file."""

import subprocess
import sys

from audiocraft_export.jobs.message_log import MessageLog


def test_a_message_is_read_once_and_when_it_is_all_there(tmp_path):
    journal, reader = MessageLog(tmp_path / "j"), MessageLog(tmp_path / "j")
    assert list(reader.read()) == []
    journal.write({"a": 1})
    journal.write([2])
    data = journal.path.read_bytes()
    for end in range(len(data)):
        journal.path.write_bytes(data[:end])
        early = MessageLog(journal.path)
        first = list(early.read())
        journal.path.write_bytes(data)
        assert first + list(early.read()) == [{"a": 1}, [2]]
    assert list(reader.read()) == [{"a": 1}, [2]] and list(reader.read()) == []


def test_bytes_that_are_not_there_yet_are_waited_for(tmp_path):
    journal = MessageLog(tmp_path / "j")
    journal.write("one")
    data = journal.path.read_bytes()
    journal.path.write_bytes(data + bytes(len(data)))  # as NFS may show the end of a file that grows
    assert list(journal.read()) == ["one"]
    journal.path.write_bytes(data + data)
    assert list(journal.read()) == ["one"]


def test_a_message_that_was_cut_off_costs_no_other(tmp_path):
    journal = MessageLog(tmp_path / "j")
    journal.write("one")
    with journal.path.open("ab") as file:
        file.write(b"\ngASVBwAAAAA")
    journal.write("two")
    with journal.path.open("ab") as file:
        file.write(b"!!!\n")
    journal.write("three")
    assert list(journal.read()) == ["one", "two", "three"]


def test_a_hole_in_a_journal_is_waited_for_until_nothing_more_comes(tmp_path):
    journal = MessageLog(tmp_path / "j")
    journal.write("one")
    with journal.path.open("ab") as file:
        file.write(bytes(50))
    journal.write("two")
    assert list(journal.read()) == ["one"] and list(journal.read(last=True)) == ["two"]


def test_a_message_that_is_cut_off_by_a_full_disk_is_an_error(tmp_path):
    code = "import signal, resource; from pathlib import Path\n" \
           "from audiocraft_export.jobs.message_log import MessageLog\n" \
           "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n" \
           "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n" \
           "MessageLog(Path('j')).write('x' * 5000)"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True)
    assert "OSError" in result.stderr and list(MessageLog(tmp_path / "j").read(last=True)) == []
