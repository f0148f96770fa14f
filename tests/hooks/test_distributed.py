"""Which worker of a distributed training exports."""

import pytest

from audiocraft_export.errors import ExportError
from audiocraft_export.hooks import distributed


def test_a_failed_worker_at_the_barrier_is_an_export_error(monkeypatch):
    assert distributed.is_rank_zero() and distributed.barrier_is_rank_zero()  # without a process group

    def fail():
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.barrier", fail)
    with pytest.raises(ExportError, match="Another rank of this training failed") as failed:
        distributed.barrier_is_rank_zero()
    assert failed.value.code == "rank-failed"
