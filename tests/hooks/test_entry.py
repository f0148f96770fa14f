"""Solvers that train in a method other than `run()`."""

import signal
from contextlib import suppress

import flashy
import pytest
from helpers import SOLVER, dora, only_xp

from audiocraft_export import ExportError, ExportMixin
from audiocraft_export.demo.solver import DemoSolver
from audiocraft_export.hooks.entry import named_entry, public_methods
from audiocraft_export.hooks.solver import _unexported
from audiocraft_export.release.manifest import Manifest

from .solvers import Base, Training, xp_of

# By kind: the method of the toy solver that replaces `run`, and the call in its main.
STEP = """
        def step(self, *_):
            self.best_state = {"model": self.model.state_dict()}
            self.commit(save_checkpoint=self.cfg.save_last)
"""
LOOP = """
            for _ in range(self.cfg.epochs):
                self.step()
"""
ENTRIES = {
    "train": f"def train(self):{LOOP}",
    "nested": f"def fit(self): self.epochs()\n\n        def epochs(self):{LOOP}",
    "called": f"def __call__(self):{LOOP}",
    "beside run": f"def run(self): 1 / 0\n\n        def fit(self):{LOOP}",
}
CALLS = {"train": ".train()", "called": "()"}


@pytest.fixture
def train_project(project):
    """Train a project whose solver has the mixin and another entry than `run`, with or without `with_export`."""
    def make(entry, call=".fit()", wrapped=False, attribute="pass"):
        head = SOLVER[:SOLVER.index("def run")].replace("flashy.BaseSolver", "ExportMixin, flashy.BaseSolver")
        text = head.replace("import flashy\n", "import flashy\n    from audiocraft_export import ExportMixin\n", 1)
        config = "" if wrapped else "export: false\nexporter: {folder: null}\n"
        root = project(solver=f"{text}{entry}\n{STEP}\n        {attribute}\n", wrapped=wrapped, config=config)
        main = root / "proj" / "train.py"
        main.write_text(main.read_text().replace("    Solver(cfg).run()", f"    solver = Solver(cfg)\n    {call}"
                                                 if "\n" in call else f"    Solver(cfg){call}"))
        return root
    return make


@pytest.mark.parametrize("save", ["true", "false"])
@pytest.mark.parametrize("kind", ENTRIES)
def test_the_method_that_commits_more_than_once_exports_when_it_returns(train_project, kind, save):
    root = train_project(ENTRIES[kind], CALLS.get(kind, ".fit()"))
    result = dora("run", "export=true", f"save_last={save}", cwd=root)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count(" exported:") == 1 and "nothing was exported" not in result.stderr
    assert (only_xp(root) / "export" / "export.json").exists()


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("save", ["true", "false"])
def test_the_named_method_exports_once_also_under_with_export(train_project, save, wrapped):
    entry = "def advance(self): self.step()"  # a single epoch: only the name of the method shows that it trains
    root = train_project(entry, ".advance()", wrapped, 'export_after = "advance"')
    result = dora("run", "export=true", f"save_last={save}", cwd=root)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("exported:") == 1 and "nothing was exported" not in result.stderr


CALLED_PER_EPOCH = "for _ in range(2):\n        solver.step()"


def test_a_method_called_once_per_epoch_does_not_export_but_warns(train_project):
    result = dora("run", "export=true", cwd=train_project("", CALLED_PER_EPOCH))
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("warning[epochs-not-exported]: Solver committed epochs of XP") == 1
    assert ('call its export() after the training, or set export_after = "step" in it to export after each call of '
            'step()') in result.stderr
    result = dora("run", "export=false", cwd=train_project("", CALLED_PER_EPOCH))
    assert "committed epochs" not in result.stderr


@pytest.mark.parametrize(("call", "wrapped"), [(CALLED_PER_EPOCH + "\n    solver.export()", False),
                                               (CALLED_PER_EPOCH, True)], ids=["in the main", "with_export"])
def test_an_export_of_any_kind_needs_no_warning(train_project, call, wrapped):
    root = train_project("", call, wrapped)
    result = dora("run", "export=true", cwd=root)
    assert result.returncode == 0 and "committed epochs" not in result.stderr, result.stderr
    assert (only_xp(root) / "export" / "export.json").exists()


def test_with_export_knows_the_rule_of_a_solver_whose_main_calls_a_method_once_per_epoch(train_project):
    """The best state is always the latest one, which is not the best one by the metric."""
    call = """for loss in (3., 1., 2.):
        solver.run_stage("valid", lambda: {"loss": loss})
        with torch.no_grad():
            solver.model.weight.fill_(loss)
        solver.best_state = {"model": {name: value.clone() for name, value in solver.model.state_dict().items()}}
        solver.commit()"""
    root = train_project("", call, wrapped=True)
    main = root / "proj" / "train.py"
    main.write_text(f"import torch\n{main.read_text()}")
    result = dora("run", "export=true", "exporter.metric=loss", cwd=root)
    assert result.returncode == 0, result.stderr
    manifest = Manifest.load(only_xp(root) / "export")
    assert manifest.epoch == 3 and manifest.weights_epoch is None and manifest.best is None


@pytest.mark.parametrize(("entry", "call", "attribute", "remedy"), [
    (f"def fit(self):{LOOP}", ".fit()", 'export_after = "fti"', "correct its export_after (fti() was not called), "),
    ("", "for _ in range(3):\n        solver.step()", "pass", 'call its export() after the training, or set ')],
    ids=["wrong name", "per epoch"])
def test_a_training_whose_last_epoch_is_not_exported_ends_with_a_warning(train_project, entry, call, attribute, remedy):
    root = train_project(entry, call, attribute=attribute)
    result = dora("run", "epochs=3", "export=true", "+exporter.when=2", cwd=root)
    assert result.returncode == 0 and result.stderr.count("not exported, although export is on: " + remedy) == 1


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("name", ["run", "fit"])
@pytest.mark.parametrize("code", ["", "(0)", "(1)"])
def test_an_exit_with_code_0_is_the_end_of_a_training(train_project, name, code, wrapped):
    root = train_project(f"def {name}(self):{LOOP}            raise SystemExit{code}", f".{name}()", wrapped)
    result = dora("run", "export=true", "save_last=false", cwd=root)
    assert result.returncode == (code == "(1)"), result.stderr
    assert (only_xp(root) / "export" / "export.json").exists() == (code != "(1)")
    assert "epochs-not-exported" not in result.stderr


def test_a_method_called_once_per_epoch_that_exits_with_code_0_does_not_hide_the_warning(train_project):
    result = dora("run", "export=true", cwd=train_project("", f"{CALLED_PER_EPOCH}\n    raise SystemExit(0)"))
    assert result.returncode == 0 and result.stderr.count("warning[epochs-not-exported]") == 1, result.stderr
    ending = "def last(self): self.step(); raise SystemExit(0)"
    result = dora("run", "export=true", cwd=train_project(ending, f"{CALLED_PER_EPOCH}\n    solver.last()"))
    assert result.returncode == 0 and result.stderr.count("warning[epochs-not-exported]") == 1, result.stderr


@pytest.mark.parametrize(("end", "code"), [("1 / 0", 1), ("raise KeyboardInterrupt", -signal.SIGINT),
                                           ("raise SystemExit(143)", 143)])
def test_a_training_that_fails_or_is_stopped_shows_only_its_error(train_project, end, code):
    result = dora("run", "export=true", cwd=train_project(f"def fit(self):{LOOP}            {end}"))
    assert result.returncode == code and "not exported" not in result.stderr, result.stderr
    assert "ZeroDivisionError" in result.stderr or code != 1


def test_an_error_of_another_method_that_the_main_catches_does_not_hide_the_warning(train_project):
    call = CALLED_PER_EPOCH + "\n    try: solver.sample()\n    except ZeroDivisionError: pass"
    result = dora("run", "export=true", cwd=train_project("def sample(self): 1 / 0", call))
    assert result.returncode == 0 and result.stderr.count("warning[epochs-not-exported]") == 1, result.stderr


def test_a_failed_training_does_not_hide_the_warning_of_another_xp(tmp_path):
    for sig, method in (("01234567", "commit"), ("76543210", "fit")):
        here = xp_of(tmp_path / sig, export=True)
        here.sig = sig
        with here.enter(), suppress(ZeroDivisionError):
            getattr(Fits(save=False), method)()
    assert "76543210" not in _unexported and _unexported.pop("01234567")


@pytest.mark.parametrize("wrapped", [True, False])
def test_epochs_that_the_main_commits_itself_are_exported_when_they_are_due(train_project, wrapped):
    call = "solver.best_state = {'model': solver.model.state_dict()}\n    for _ in range(4): solver.commit()"
    when = "exporter.when=2" if wrapped else "+exporter.when=2"
    result = dora("run", "export=true", when, cwd=train_project("", call, wrapped))
    assert result.returncode == 0 and " exported: best_state after 2 epochs" in result.stderr, result.stderr
    assert " exported: best_state after 4 epochs" in result.stderr


def test_epochs_that_are_due_are_exported_in_the_loop(train_project):
    result = dora("run", "export=true", "+exporter.when=1", "save_last=false", cwd=train_project(ENTRIES["nested"]))
    assert result.returncode == 0 and result.stderr.count(" exported:") == 3, result.stderr


class Fits(ExportMixin, Base):
    def fit(self):
        for _ in range(self.epochs):
            self.commit(save_checkpoint=self.save)
        if not self.save:
            raise ZeroDivisionError

    def other(self):
        pass

    @staticmethod
    def tool():
        pass


class Fails(Fits):
    def __init__(self):
        self.build()  # before the XP exists

    def build(self):
        raise KeyError("data")


class Renamed(Fits):
    export_after = "outer"

    def outer(self):
        self.fit()
        return "done"


class Runs(Fits):
    def run(self):
        self.fit()


class RunsAndFits(Runs):
    export_after = "all"

    def all(self):
        self.run()
        self.run()


class FitsByRunning(Runs):
    def fit_all(self):
        self.run()


@pytest.mark.parametrize(("kind", "method"), [(Fits, "fit"), (Renamed, "outer"), (Runs, "run"), (RunsAndFits, "all"),
                                              (FitsByRunning, "fit_all")])
def test_each_outermost_call_exports_and_no_other_method_does(tmp_path, kind, method, monkeypatch):
    made = []
    monkeypatch.setattr(kind, "export", lambda self, **options: made.append(options))
    with xp_of(tmp_path, export=True).enter():
        solver = kind()
        getattr(solver, method)()
        solver.other()
        assert len(made) == 1
        solver.save = False
        with pytest.raises(ZeroDivisionError):
            getattr(solver, method)()
        assert len(made) == 1


def test_an_exception_of_a_solver_without_an_xp_is_raised_unchanged():
    with pytest.raises(KeyError, match="data"):
        Fails()


def test_a_failed_export_after_another_entry_reports_that_the_training_is_safe(tmp_path):
    with xp_of(tmp_path, export=True, exporter={"checkpoint": "9"}).enter(), \
            pytest.raises(ExportError, match="is finished and its checkpoints are safe"):
        Fits().fit()


def test_entries_are_looked_for_in_the_classes_of_the_project_only():
    class Plain(ExportMixin, flashy.BaseSolver):
        pass

    class Trains(ExportMixin, Training):
        pass

    assert (named_entry(Plain), named_entry(Trains), named_entry(Renamed)) == (None, "run", "outer")
    assert named_entry(DemoSolver) == "run"
    assert public_methods(Plain) == [] and public_methods(Fits) == ["fit", "other", "train"]
