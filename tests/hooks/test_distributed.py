"""Which worker of a distributed training exports."""

import pytest
import torch

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


def test_the_process_group_decides_before_the_environment_of_dora(monkeypatch):
    fake = pytest.importorskip("torch.testing._internal.distributed.fake_pg")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    for rank in (0, 1):
        torch.distributed.init_process_group("fake", store=fake.FakeStore(), rank=rank, world_size=2)
        try:
            assert distributed.is_rank_zero() is (rank == 0)
        finally:
            torch.distributed.destroy_process_group()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not distributed.is_rank_zero()  # the process group was destroyed
