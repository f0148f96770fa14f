"""`dora launch` and `dora grid` with real jobs: export only when the last part of a training ends."""

import json
import re
import subprocess
from textwrap import dedent

import pytest
import torch
from cluster import until, verify

# The job waits in the epoch `hold` until the file `go` exists; from the epoch `slow` on, writing is slow.
SOLVER = """
    import os
    import time
    from pathlib import Path
    import flashy
    import torch
    {imports}

    def wait(*said):
        print(*said, flush=True)
        while not Path(os.environ["HERE"], "go").exists():
            time.sleep(0.02)

    def slow_fsync(descriptor, fsync=os.fsync):
        wait("WRITING")
        fsync(descriptor)

    class Solver({bases}):
        def __init__(self, cfg):
            super().__init__()
            flashy.distrib.init("gloo")
            self.cfg = cfg
            torch.manual_seed(0)
            self.model = torch.nn.Linear(3, 2)
            self.best_state = {{}}
            self.register_stateful("model", "best_state")

        def run(self):
            if self.checkpoint_path.exists():
                self.load_state_dict(torch.load(self.checkpoint_path, weights_only=False))
            for _ in range(self.epoch, self.cfg.epochs + 1):
                self.run_stage("train", self.train)
                weights = self.model.state_dict()
                self.best_state = {{"model": {{name: value.clone() for name, value in weights.items()}}}}
                if self.epoch == self.cfg.slow:
                    os.fsync = slow_fsync
                self.commit()

        def train(self):
            print("TRAINING", self.epoch, flush=True)
            if self.cfg.fail_on == flashy.distrib.rank():
                raise RuntimeError("this task is meant to fail")
            if self.epoch == self.cfg.hold:
                wait("HOLDING", self.epoch)
            with torch.no_grad():
                self.model.weight.add_(self.cfg.lr)
            flashy.distrib.average_metrics({{"lr": self.cfg.lr}})
            return {{"ce": self.cfg.lr / self.epoch}}
"""
PLAIN = SOLVER.format(imports="", bases="flashy.BaseSolver")
MIXIN = SOLVER.format(imports="from audiocraft_export import ExportMixin", bases="ExportMixin, flashy.BaseSolver")
KEYS = "hold: 0\nslow: 0\nfail_on: null\n"
EXPORT = "export: true\nexporter: {{when: {when}}}\n"
EXPLORER = """
    import treetable
    from dora import Explorer

    class Metrics(Explorer):
        def get_grid_metrics(self):
            return [treetable.group("train", [treetable.leaf("epoch"), treetable.leaf("ce", ".3f")])]

        def process_history(self, history):
            return {{"train": {{"epoch": len(history), **(history[-1]["train"] if history else {{}})}}}}

    @Metrics
    def explorer(launcher):
        {bind}
        launcher(lr=0.1)
        with launcher.job_array():
            launcher(lr=0.2)
            launcher({{"lr": 0.3, "label": "a b"}})
"""


@pytest.fixture
def training(slurm, project, tmp_path, monkeypatch):
    """Write a project of one kind, whose jobs wait for the file `go` in `tmp_path`."""
    monkeypatch.setenv("HERE", str(tmp_path))

    def make(host="with_export", package="proj", when="end", **settings):
        keys = KEYS + (EXPORT.format(when=when) if host == "ExportMixin" else "") + slurm.config(**settings)
        return project(package, wrapped=host in ("with_export", "both"), config=keys,
                       solver=PLAIN if host in ("plain", "with_export") else MIXIN)
    yield make
    (tmp_path / "go").touch()


def asks(host):
    """Return how the user of a project of this kind turns on the export."""
    return [] if host in ("plain", "ExportMixin") else ["export=true"]


def xps(root):
    return sorted(path for path in root.glob("outputs/xps/*") if path.is_dir())


def only_xp(root):
    xp, = xps(root)
    return xp


def manifest(xp):
    return json.loads((xp / "export" / "export.json").read_text())


def check_release(xp, epoch=2, **options):
    """Check that there is exactly one release, with this checkpoint, epoch and options, and no partial output."""
    assert verify(xp / "export", "--against", xp).returncode == 0
    assert manifest(xp)["epoch"] == epoch and options.items() <= manifest(xp)["options"].items()
    assert not [path.name for path in xp.iterdir() if path.name.startswith(".export")]


def is_released(xp):
    return (xp / "export").exists()


def sig_of(slurm, root, package, *argv):
    """Return the signature that Dora gives to a command line."""
    return re.search(r"[0-9a-f]{8}", slurm.dora("info", *argv, cwd=root, package=package).stderr)[0]


def test_a_launched_training_ends_in_a_release_under_the_signature_that_it_has_without_us(slurm, training):
    training("plain", "plain")
    root = training("with_export", "ours")
    sig = sig_of(slurm, root, "plain", "lr=0.9")
    slurm.launch("lr=0.9", "export=true", "exporter.dtype=float16", cwd=root, package="ours")
    slurm.finish(root)
    xp = only_xp(root)
    assert xp.name == sig and json.loads((xp / ".argv.json").read_text()) == ["lr=0.9"]
    check_release(xp, dtype="float16")
    assert torch.load(xp / "export" / "state_dict.bin")["best_state"]["weight"].dtype == torch.float16


@pytest.mark.parametrize("host", ["with_export", "ExportMixin", "both"])
def test_two_tasks_make_one_release(slurm, training, host):
    root = training(host, gpus=2)
    slurm.launch(*asks(host), cwd=root)
    slurm.finish(root)
    said = slurm.log(root)
    assert said.count("TRAINING 2") == 2 and said.count(" exported: ") == 1
    assert " exported: " in (only_xp(root) / "submitit" / f"{slurm.jobs(root)[0]}_0_log.out").read_text()
    check_release(only_xp(root))


@pytest.mark.parametrize("host", ["with_export", "ExportMixin"])
def test_a_training_of_which_one_task_fails_is_not_exported(slurm, training, host):
    root = training(host, gpus=2)
    slurm.launch(*asks(host), "fail_on=1", cwd=root)
    slurm.finish(root)
    assert "this task is meant to fail" in slurm.log(root) and not is_released(only_xp(root))


def test_a_launched_experiment_is_not_launched_again(slurm, training):
    training("plain", "plain")
    root = training("with_export", "ours")
    launches = [("plain", 1, []), ("ours", 2, ["export=true"])]
    for package, lr, own in launches:
        slurm.launch(f"lr={lr}", "hold=1", *own, cwd=root, package=package)
    for package, lr, own in [*launches, ("plain", 2, []), ("ours", 1, ["export=true"]), ("ours", 2, ["export=true"])]:
        slurm.launch(f"lr={lr}", "hold=1", *own, cwd=root, package=package)
        assert len(slurm.jobs(root)) == 2
    until(lambda: slurm.log(root).count("HOLDING") == 2, "both train")
    slurm.launch("lr=2", "hold=1", "export=true", cwd=root, package="ours")
    assert len(slurm.jobs(root)) == 2
    (root / "go").touch()
    slurm.finish(root)
    assert sorted(map(is_released, xps(root))) == [False, True]  # as each was launched first


def write_grid(root, package, *bound):
    grids = root / package / "grids"
    grids.mkdir()
    (grids / "__init__.py").touch()
    (grids / "sweep.py").write_text(dedent(EXPLORER).format(bind=f"launcher.bind_({', '.join(bound)})"))


def stored_argvs(root):
    return [(xp / ".argv.json").read_text() for xp in xps(root)]


def test_a_grid_ends_in_releases_and_its_table_is_the_one_that_it_has_without_us(slurm, training):
    training("plain", "plain")
    root = training("with_export", "ours")
    write_grid(root, "plain")
    write_grid(root, "ours", '{"export": True, "exporter.dtype": "float16"}', '{"exporter": {"codec": "none"}}')

    def table(package, *flags):
        result = slurm.dora("grid", "sweep", "--no_monitoring", *flags, cwd=root, package=package)
        assert result.returncode == 0, result.stderr
        return [line for line in result.stdout.splitlines() if "submitit" not in line]  # accounting is disabled
    before = table("plain", "--dry_run")
    assert len(set(re.findall(r"\b[0-9a-f]{8}\b", "".join(before)))) == 3 and table("ours", "--dry_run") == before
    table("ours")
    jobs = slurm.jobs(root)
    assert len(jobs) == 3 and [job for job in jobs if job.endswith(("_0", "_1"))] == jobs[1:]
    slurm.finish(root)
    for xp in xps(root):
        check_release(xp, dtype="float16", codec="none")
    after = table("plain", "--dry_run")
    assert after != before and table("ours", "--dry_run") == after
    assert table("ours") == after and slurm.jobs(root) == jobs
    argvs = stored_argvs(root)
    table("plain", "--dry_run", "--init")
    assert stored_argvs(root) == argvs


@pytest.mark.parametrize(("host", "own"), [("with_export", []), ("ExportMixin", []), ("both", ["exporter.when=1"]),
                                           ("with_export", ["exporter.when=1"])])
def test_a_training_that_is_requeued_is_exported_when_its_last_piece_ends(slurm, training, host, own):
    root = training(host)
    slurm.launch("epochs=4", "hold=3", *asks(host), *own, cwd=root)
    until(lambda: "HOLDING" in slurm.log(root), "the first piece trains")
    job, = slurm.jobs(root)
    assert is_released(only_xp(root)) == bool(own)
    slurm.preempt(job)
    until(lambda: "Requeued job" in slurm.log(root), "the job is requeued")
    assert is_released(only_xp(root)) == bool(own)
    (root / "go").touch()
    slurm.finish(root)
    said = slurm.log(root)
    assert said.count("TRAINING 1") == 1 and said.count("TRAINING 3") == 2 and said.count("TRAINING 4") == 1
    assert slurm.jobs(root) == [job] and " exported: " not in said.partition("TRAINING 4")[0] or own
    check_release(only_xp(root), 4)


def test_two_tasks_that_are_requeued_make_one_release_when_their_last_piece_ends(slurm, training):
    root = training(gpus=2)
    slurm.launch("epochs=3", "hold=2", "export=true", cwd=root)
    until(lambda: slurm.log(root).count("HOLDING") == 2, "the first piece trains")
    slurm.preempt(*slurm.jobs(root))
    until(lambda: "Requeued job" in slurm.log(root), "the job is requeued")
    assert not is_released(only_xp(root))
    (root / "go").touch()
    slurm.finish(root)
    assert slurm.log(root).count(" exported: ") == 1
    check_release(only_xp(root), 3)


def test_a_chain_of_dependent_jobs_exports_in_the_one_that_ends_the_training(slurm, training):
    root = training(dependents=1)
    slurm.launch("epochs=3", "hold=2", "export=true", cwd=root)
    until(lambda: "HOLDING" in slurm.log(root), "the first job trains")
    first, second = slurm.jobs(root)
    slurm.preempt(first)
    until(lambda: first not in slurm.states(root), "the first job ends")
    assert not is_released(only_xp(root))
    (root / "go").touch()
    slurm.finish(root)
    assert " exported: " in (only_xp(root) / "submitit" / f"{second}_0_log.out").read_text()
    check_release(only_xp(root), 3)


@pytest.mark.parametrize("host", ["with_export", "ExportMixin"])
def test_a_training_that_is_out_of_time_and_not_requeued_is_not_exported(slurm, training, host):
    root = training(host, max_num_timeout=0)
    slurm.launch("hold=2", *asks(host), cwd=root)
    until(lambda: "HOLDING" in slurm.log(root), "the training goes on")
    slurm.preempt(*slurm.jobs(root))
    slurm.finish(root)
    assert "timed-out too many times" in slurm.log(root)
    assert (only_xp(root) / "checkpoint.th").exists() and not is_released(only_xp(root))


@pytest.mark.parametrize(("host", "lost"), [("with_export", False), ("ExportMixin", False), ("with_export", True)])
def test_a_job_that_is_requeued_while_it_exports_does_so_in_its_next_piece(slurm, training, host, lost):
    root = training(host)
    slurm.launch("slow=2", *asks(host), cwd=root)
    until(lambda: "WRITING" in slurm.log(root), "the export writes")
    if lost:
        slurm.requeue(*slurm.jobs(root))
        assert [*only_xp(root).glob(".export-*")]
    else:
        slurm.preempt(*slurm.jobs(root))
        until(lambda: "Requeued job" in slurm.log(root), "the job is requeued")
    (root / "go").touch()
    slurm.finish(root)
    said = slurm.log(root)
    assert said.count("TRAINING") == 2 and said.count(" exported: ") == 1
    check_release(only_xp(root))


@pytest.mark.parametrize("host", ["with_export", "ExportMixin"])
def test_a_training_that_is_ended_while_it_exports_does_not_go_on(slurm, training, host):
    root = training(host, when=1, max_num_timeout=0)
    own = [] if host == "ExportMixin" else ["export=true", "exporter.when=1"]
    slurm.launch("epochs=4", "slow=2", *own, cwd=root)
    until(lambda: "WRITING" in slurm.log(root), "the export writes")
    slurm.preempt(*slurm.jobs(root))
    until(lambda: "Job not requeued" in slurm.log(root), "the job is told to end")
    (root / "go").touch()
    slurm.finish(root)
    assert "TRAINING 3" not in slurm.log(root) and "Job completed" not in slurm.log(root)


def test_a_job_that_runs_from_a_clone_of_the_repository_exports_to_where_it_was_launched(slurm, training):
    root = training()
    config = root / "proj" / "conf" / "config.yaml"
    config.write_text(config.read_text().replace("dora:\n", "dora:\n  git_save: true\n"))
    (root / ".gitignore").write_text("outputs\n__pycache__\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for step in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "a training"]):
        subprocess.run([*git, *step], cwd=root, check=True)
    slurm.launch("export=true", "exporter.folder=released", cwd=root)
    slurm.finish(root)
    assert "/codes/" in re.search("CWD is (.*)", slurm.log(root))[1]
    assert verify(root / "released", "--against", only_xp(root)).returncode == 0
