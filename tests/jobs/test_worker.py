"""What a worker sends of a job."""

import os
import pickle
import subprocess
import sys
from functools import partial
from multiprocessing import Pipe

import pytest

from audiocraft_export.jobs.worker import JobResult, run_job
from audiocraft_export.progress import Progress


def test_a_job_says_that_it_begins_and_gives_its_value():
    sent = []
    assert run_job(pickle.dumps(partial(int, "7")), sent.append).get() == 7 and sent == [Progress("", 1)]


def test_an_error_is_raised_again_where_the_result_is_read():
    result = pickle.loads(pickle.dumps(run_job(pickle.dumps(partial(int, "x")), print)))
    with pytest.raises(ValueError, match="invalid literal"):
        result.get()
    assert "Traceback" in str(result.error.__cause__)


def test_a_worker_runs_what_it_is_sent_until_there_is_no_more():
    ours, theirs = Pipe()
    read, write = os.pipe()
    code = f"from audiocraft_export.jobs.worker import main; main({theirs.fileno()}, {read})"
    process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno(), read])
    theirs.close()
    assert ours.recv() is None
    job = partial(exec, "import logging; logging.getLogger('x').warning('careful')")
    for _ in range(2):
        ours.send(job)
        assert ours.recv() == Progress("", 1) and ours.recv().getMessage() == "careful" and ours.recv() == JobResult()
    ours.close()
    assert process.wait(60) == 0
    os.close(read)
    os.close(write)
