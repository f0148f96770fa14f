"""The memory of an export."""

import pytest
import torch
from helpers import run_python


@pytest.mark.parametrize("options", ["", "dtype='float16'"], ids=["as stored", "cast"])
def test_memory_does_not_grow_with_the_weights(make_xp, tmp_path, options):
    code = ("import sys, torch, audiocraft_export.pipeline.export, numpy; from audiocraft_export import *\n"
            "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
            "before = peak()\n"  # ru_maxrss starts with the peak of the parent process
            f"export_xp(sys.argv[1], 'outputs', ExportOptions({options}))\n"
            "print((peak() - before) // 1024)")
    make_xp("11111111", best_state={"model": {"w": torch.zeros(100 << 18)}})  # 100 MiB
    assert int(run_python("-c", code, "11111111", cwd=tmp_path).stdout) < 48
