"""The help of the command."""

import time

import pytest

from audiocraft_export.cli import main as cli


def test_help_takes_no_time():
    began = time.process_time()
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert time.process_time() - began < 0.25
