"""Run jobs in a worker, and receive its messages."""

import io
import pickle
import signal
import subprocess
import sys
from functools import partial

import pytest

from audiocraft_export.jobs.local import WORKER
from audiocraft_export.jobs.worker import READY, JobResult, read_message, run_job, write_message
from audiocraft_export.progress import Progress


def test_a_job_reports_its_start_and_its_value():
    sent = []
    assert run_job(pickle.dumps(partial(int, "7")), sent.append).get() == 7 and sent == [Progress("", 1)]


def test_an_error_is_raised_again_where_the_result_is_read():
    result = pickle.loads(pickle.dumps(run_job(pickle.dumps(partial(int, "x")), print)))
    with pytest.raises(ValueError, match="invalid literal"):
        result.get()
    assert "Traceback" in str(result.error.__cause__)


def test_a_worker_runs_jobs_until_its_connection_is_closed():
    process = subprocess.Popen([sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert [process.stdout.readline(), process.stdout.readline()] == [b"\n", READY]
    job = partial(exec, "import logging; logging.getLogger('x').warning('careful')")
    for _ in range(2):
        write_message(process.stdin, job)
        began, record, result = (pickle.loads(read_message(process.stdout)) for _ in range(3))
        assert began == Progress("", 1) and record.getMessage() == "careful" and result == JobResult()
    process.stdin.close()
    assert process.wait(60) == -signal.SIGTERM and process.stdout.read() == b""
    process.stdout.close()


@pytest.mark.parametrize("size", [0, 3, 8, 9])
def test_a_message_that_is_cut_off_is_the_end_of_the_stream(size):
    stream = io.BytesIO()
    write_message(stream, "message")
    with pytest.raises(EOFError):
        read_message(io.BytesIO(stream.getvalue()[:size]))
