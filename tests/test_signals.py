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
