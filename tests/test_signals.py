"""SIGTERM and SIGHUP as SystemExit."""

from helpers import run_python


def test_a_second_signal_does_not_cut_short_what_the_first_has_begun(tmp_path):
    code = ("import os, signal\nfrom audiocraft_export.signals import exit_on_sigterm\n"
            "with exit_on_sigterm():\n    try: os.kill(os.getpid(), signal.SIGTERM)\n"
            "    finally:\n        [os.kill(os.getpid(), n) for n in (15, 1, 15)]; print('put away')")
    result = run_python("-c", code, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (143, "put away\n")
