"""Which worker of a distributed training exports."""

import pytest
from helpers import SOLVER, dora, only_xp

from audiocraft_export.errors import ExportError
from audiocraft_export.hooks import distributed


def test_ddp_workers_write_one_release_from_rank_zero(project):
    solver = SOLVER.replace("super().__init__()", 'super().__init__()\n            flashy.distrib.init("gloo")', 1)
    root = project(solver=solver)
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("exported") == 1
    assert sorted(path.name for path in (only_xp(root) / "export").iterdir()) == ["export.json", "state_dict.bin"]
    assert "exported" not in (only_xp(root) / "worker_1.log").read_text()


def test_a_worker_that_fails_keeps_rank_zero_from_exporting(project):
    solver = SOLVER.replace("super().__init__()", 'super().__init__()\n            flashy.distrib.init("gloo")', 1)
    root = project(solver=solver)
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace("Solver(cfg).run()", "Solver(cfg).run(); 1 / (1 - cfg.get('boom', 0) * "
                                                                    "int(__import__('os').environ['RANK']))"))
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", "+boom=1", cwd=root)
    assert result.returncode != 0
    assert not (only_xp(root) / "export").exists()


def test_the_error_of_a_slow_rank_zero_is_shown_once(project):
    root = project()
    train = root / "proj" / "train.py"
    train.write_text("import os, time\ntime.sleep(os.environ.get('RANK') == '0')\n" + train.read_text())
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", "exporter.folder=outputs", cwd=root)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert result.stderr.count("error[training-folder]") == result.stderr.count("hint: ") == 1


def test_a_failed_worker_at_the_barrier_is_an_export_error(monkeypatch):
    assert distributed.is_rank_zero() and distributed.barrier_is_rank_zero()  # without a process group

    def fail():
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.barrier", fail)
    with pytest.raises(ExportError, match="Another rank of this training failed") as failed:
        distributed.barrier_is_rank_zero()
    assert failed.value.code == "rank-failed"
