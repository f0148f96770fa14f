"""Which worker of a distributed training exports."""

from helpers import SOLVER, dora, only_xp


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
