"""Trainings of two DDP workers: one of them exports."""

import json
from textwrap import dedent

from helpers import SOLVER, dora, only_xp, started
from hooks.solvers import OF_MIXIN, interrupted

INIT_GROUP = "super().__init__()", 'super().__init__()\n            flashy.distrib.init("gloo")'
OF_GROUP = SOLVER.replace(*INIT_GROUP, 1)


def test_ddp_workers_write_one_release_from_rank_zero(project):
    root = project(solver=OF_GROUP)
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", cwd=root)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("exported") == 1
    assert sorted(path.name for path in (only_xp(root) / "export").iterdir()) == ["export.json", "state_dict.bin"]
    assert "exported" not in (only_xp(root) / "worker_1.log").read_text()


def test_a_worker_that_fails_keeps_rank_zero_from_exporting(project):
    root = project(solver=OF_GROUP)
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


def test_a_wrapped_main_of_another_module_is_started_by_the_module_that_wraps_it(project):
    root = project(wrapped=False, solver=OF_GROUP)
    (root / "wrapper").mkdir()
    (root / "wrapper" / "__init__.py").touch()
    (root / "wrapper" / "train.py").write_text(dedent("""
        from audiocraft_export import with_export
        from proj.train import main as stock
        main = with_export(stock, module=__name__)
        if __name__ == "__main__":
            main()
    """))
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", cwd=root, package="wrapper")
    assert result.returncode == 0, result.stderr
    assert (only_xp(root) / "export" / "export.json").exists()
    assert "already exported" in started("wrapper.train", "export=true", cwd=root).stderr


def test_where_only_rank_zero_commits_no_rank_waits_for_another(project):
    solver = OF_MIXIN[:OF_MIXIN.index("def run")] + """def fit(self):
            for _ in range(self.cfg.epochs):
                if flashy.distrib.is_rank_zero():
                    self.best_state = {"model": self.model.state_dict()}
                    self.commit()
    """
    root = project(solver=solver.replace(*INIT_GROUP, 1), wrapped=False, config="export: false\nexporter: {}\n")
    main = root / "proj" / "train.py"
    main.write_text(main.read_text().replace(".run()", ".fit()"))
    result = dora("run", "-d", "--ddp_workers", "2", "export=true", cwd=root)
    assert result.returncode == 0 and result.stderr.count(" exported:") == 1, result.stderr


def test_a_training_of_ddp_workers_resumes(project):
    root = project(solver=OF_GROUP)  # without a process group, both workers would write the checkpoint
    first = interrupted(root)
    result = dora("run", "-d", "--ddp_workers", "2", cwd=root)
    assert result.returncode == 0, result.stderr
    history = json.loads((only_xp(root) / "history.json").read_text())
    assert history[0] == first and len(history) == 2
