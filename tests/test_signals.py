"""Turn SIGTERM and SIGHUP into SystemExit."""

import os
import signal
import time

import pytest
from helpers import run_python

from audiocraft_export.signals import available, exit_on_sigterm


def test_a_second_signal_does_not_interrupt_the_cleanup(tmp_path):
    code = ("import os, signal\nfrom audiocraft_export.signals import exit_on_sigterm\n"
            "with exit_on_sigterm():\n    try: os.kill(os.getpid(), signal.SIGTERM)\n"
            "    finally:\n        [os.kill(os.getpid(), n) for n in (15, 1, 15)]; print('cleaned up')")
    result = run_python("-c", code, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (143, "cleaned up\n")


def test_a_system_without_sighup_exits_on_sigterm(monkeypatch):
    monkeypatch.delattr(signal, "SIGHUP")
    assert available("SIGTERM", "SIGHUP") == [signal.SIGTERM]
    with pytest.raises(SystemExit) as error, exit_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    assert error.value.code == 143


class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_in_a_finalizer_exits_at_the_end():
    done = []
    with pytest.raises(SystemExit) as end, exit_on_sigterm():
        Finalized()
        done.append("the exception was ignored")
    assert done and end.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    with exit_on_sigterm():
        pass
