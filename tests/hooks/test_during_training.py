"""Export during a training (`exporter.when`), with and without the mixin."""

import copy
import json
import os
import pickle
import re
import signal
import time
from contextlib import suppress
from textwrap import dedent

import pytest
import torch
from helpers import SOLVER, dora, load, only_xp, same

from audiocraft_export import ExportError, ExportMixin, ExportOptions, export_checkpoint, verify
from audiocraft_export.hooks import during_training
from audiocraft_export.hooks.during_training import EpochExporter, is_due
from audiocraft_export.release.metrics import BestRule

from .solvers import Training, xp_of

LOSSES = [3., 1., 2., 1., 4.]


class Watched(ExportMixin, Training):
    """A solver that validates, keeps its best state, and records the epoch of the release after each commit."""

    losses, best_metric_name = LOSSES, "ce"

    def run(self):
        self.released = []
        for loss in self.losses[self.epoch - 1:]:
            self.run_stage("train", self.train)
            self.run_stage("valid", lambda loss=loss: {"ce": loss})
            if loss <= min([loss, *(epoch["valid"]["ce"] for epoch in self.history)]):
                self.best_state = {"model": {name: value.clone() for name, value in self.model.state_dict().items()}}
            self.commit(save_checkpoint=self.save)
            manifest = self.folder / "export" / "export.json"
            self.released.append(json.loads(manifest.read_text())["epoch"] if manifest.exists() else None)


def trained(tmp_path, kind=Watched, save=True, **exporter):
    here = xp_of(tmp_path / "outputs", export=True, exporter=exporter)
    with here.enter():
        solver = kind(save=save)
        solver.run()
    return solver


@pytest.mark.parametrize("save", [True, False], ids=["stored", "living"])
@pytest.mark.parametrize(("when", "released"), [
    ("end", [None] * 5), ("best", [1, 2, 2, 4, 4]), (2, [None, 2, 2, 4, 4]), ("3", [None, None, 3, 3, 3]),
    (1, [1, 2, 3, 4, 5]), (9, [None] * 5)])
def test_a_solver_exports_after_the_epochs_that_are_due_and_at_the_end(tmp_path, when, released, save):
    solver = trained(tmp_path, when=when, save=save)
    assert solver.released == released
    folder = solver.folder / "export"
    assert json.loads((folder / "export.json").read_text())["epoch"] == 5 and verify(folder).ok
    assert same(load(folder / "state_dict.bin")["best_state"], solver.best_state["model"])


def test_the_release_of_an_epoch_has_the_weights_of_that_epoch(tmp_path):
    class Kept(Watched):
        def commit(self, **kwargs):
            super().commit(**kwargs)
            self.kept = [*getattr(self, "kept", ()), self.model.weight.detach().clone()]
    solver = trained(tmp_path, Kept, when=3, weights="last", folder=str(tmp_path / "release"))
    assert not (solver.folder / "export").exists()
    assert torch.equal(load(tmp_path / "release" / "state_dict.bin")["best_state"]["weight"], solver.kept[-1])


@pytest.mark.parametrize(("history", "metrics", "due"), [
    ([2., 1.], ["ce"], True), ([1., 2.], ["ce"], False), ([1., 1.], ["ce"], True), ([1., None], ["ce"], False),
    ([1., float("nan")], ["ce"], False), ([float("nan")], ["ce"], True), ([1., 2.], [], True), ([1., 2.], ["x"], True),
    ([1., None], [], False), ([None, None], ["ce"], True)])
def test_the_best_epoch_so_far_is_that_of_audiocraft(history, metrics, due):
    epochs = [{"train": {"ce": 0.}, **({} if loss is None else {"valid": {"ce": loss}})} for loss in history]
    assert is_due("best", epochs, BestRule(*metrics)) is due


def test_a_solver_may_have_a_rule_of_its_own(tmp_path):
    class Accurate(Watched):
        def is_best_so_far(self):
            scores = [epoch["valid"]["ce"] for epoch in self.history]
            return scores[-1] == max(scores)
    assert trained(tmp_path / "rule", Accurate, when="best").released == [1, 1, 1, 1, 5]
    named = type("Named", (Watched,), {"best_metric_name": "ce"})
    assert trained(tmp_path / "named", named, when="best").released == [1, 2, 2, 4, 4]
    always = type("Always", (Watched,), {"best_metric_name": None})
    assert trained(tmp_path / "always", always, when="best").released == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("save", [True, False], ids=["stored", "living"])
def test_a_release_has_the_epoch_of_the_rule_of_its_solver(tmp_path, save):
    class Accurate(Watched):
        def is_best_so_far(self):
            return self.history[-1]["valid"]["ce"] == max(epoch["valid"]["ce"] for epoch in self.history)
    solver = trained(tmp_path, type("First", (Accurate,), {"losses": [3., 5., 2., 4.]}), save=save)
    manifest = json.loads((solver.folder / "export" / "export.json").read_text())
    assert (manifest["epoch"], manifest["weights_epoch"]) == (4, 2)
    assert (manifest["best"]["epoch"], manifest["best"]["valid"]["ce"]) == (2, 5.)
    if save:  # another export of the same weights keeps the known epoch, and the option `metric` takes precedence
        assert export_checkpoint(solver.checkpoint_path, solver.folder / "export").manifest.weights_epoch == 2
        named = export_checkpoint(solver.checkpoint_path, solver.folder / "export", ExportOptions(metric="ce"))
        assert named.written and (named.manifest.weights_epoch, named.manifest.best["metric"]) == (3, "ce")


def test_a_rule_that_fails_or_was_not_asked_leaves_the_epoch_unknown(tmp_path):
    class Broken(Watched):
        def is_best_so_far(self):
            if len(self.history) == 3:
                raise ValueError("no rule")
            return len(self.history) == 2
    folder = trained(tmp_path, Broken).folder
    manifest = json.loads((folder / "export" / "export.json").read_text())
    assert (manifest["weights_epoch"], manifest["best"]) == (None, None)


def test_the_best_epoch_of_epochs_that_were_taken_back_is_unknown(tmp_path):
    class Once(Watched):
        def is_best_so_far(self):
            return len(self.history) == 3 and self.is_first

        def run(self):
            for self.is_first in (True, False):
                super().run()
                del self.history[1 if self.is_first else 5:]  # as if it was restored from an older checkpoint
    manifest = json.loads((trained(tmp_path, Once, save=False).folder / "export" / "export.json").read_text())
    assert (manifest["epoch"], manifest["weights_epoch"]) == (5, None)


@pytest.mark.parametrize(("name", "losses", "epoch"), [
    ("ce", [3., 1., 2.], 2), ("ce", [3., 1., 1.], None), ("ce", [2., float("nan"), 1.], 3), (None, [3., 1., 2.], None)])
def test_a_solver_outside_audiocraft_may_keep_the_first_of_equal_epochs(tmp_path, name, losses, epoch):
    solver = trained(tmp_path, type("Named", (Watched,), {"best_metric_name": name, "losses": losses}))
    assert json.loads((solver.folder / "export" / "export.json").read_text())["weights_epoch"] == epoch


@pytest.mark.parametrize(("metric", "released"), [("ce:max", [1, 1, 1, 1, 5]), (None, [1, 2, 3, 4, 5])])
def test_the_option_metric_decides_when_an_epoch_is_the_best(tmp_path, metric, released):
    class Unknown(Watched):
        best_metric_name = property()  # as if the method did not exist
    assert trained(tmp_path, Unknown, when="best", metric=metric).released == released


def test_an_export_that_fails_meanwhile_is_reported_and_the_training_goes_on(tmp_path, capsys):
    with pytest.raises(ExportError, match="is finished and its checkpoints are safe"):
        trained(tmp_path, when=2, weights="model.head")
    said = [line for line in capsys.readouterr().err.splitlines() if "Export:" in line]
    failures = [at for at, line in enumerate(said) if "export after this epoch failed; the training continues" in line]
    assert len(failures) == 2 and all("error[" in said[at + 1] and "model.head" in said[at + 1] for at in failures)
    assert all("  hint: " in line for at, line in enumerate(said) if not {at, at - 1} & {*failures})

    class Broken(Watched):
        def is_best_so_far(self):
            return self.nothing
    assert trained(tmp_path / "broken", Broken, when="best").released == [None] * 5
    said = capsys.readouterr().err
    assert "error[unexpected-error]: Unexpected AttributeError: " in said and "  hint: please report it" in said


def test_exceptions_of_signal_handlers_are_not_failed_exports(capsys):
    def end(number, frame):
        raise RuntimeError("the time is up")

    def make():
        with suppress(Exception):  # as in code that tolerates any error
            os.kill(os.getpid(), signal.SIGUSR2)
            time.sleep(9)

    previous = signal.signal(signal.SIGUSR2, end)
    try:
        with pytest.raises(RuntimeError, match="the time is up"):
            during_training.export_safely(make, print)
        assert signal.getsignal(signal.SIGUSR2) is end and capsys.readouterr().out == ""
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_a_signal_while_handlers_are_restored_raises_the_exception_of_its_handler(monkeypatch):
    def end(number, frame):
        raise RuntimeError("the time is up")

    def restore(number, handler):
        if handler is end:
            os.kill(os.getpid(), signal.SIGUSR2)
        return change(number, handler)

    change = signal.signal
    previous = change(signal.SIGUSR2, end)
    try:
        monkeypatch.setattr(signal, "signal", restore)
        with pytest.raises(RuntimeError, match="the time is up"):
            during_training.export_safely(lambda: None, print)
        with pytest.raises(RuntimeError, match="the time is up"):  # the handler is not restored
            os.kill(os.getpid(), signal.SIGUSR2)
    finally:
        change(signal.SIGUSR2, previous)


def test_a_commit_outside_of_a_run_exports_nothing(tmp_path):
    here = xp_of(tmp_path / "outputs", export=True, exporter={"when": 1})
    with here.enter():
        solver = Watched()
        solver.run_stage("train", solver.train)
        solver.commit()
    assert not (here.folder / "export").exists()


def test_the_best_epoch_of_a_manifest_is_that_whose_weights_are_kept(tmp_path):
    solver = trained(tmp_path, type("Unequal", (Watched,), {"losses": [3., 2., 4., 1., 5.]}))
    best = json.loads((solver.folder / "export" / "export.json").read_text())["best"]
    assert best["metric"] == "ce" and best["epoch"] == 4 and best["valid"]["ce"] == 1.


VALIDATING = dedent(SOLVER).replace("            self.best_state =", """\
            self.run_stage("valid", lambda: {"ce": [3., 1., 2., 1.5][self.epoch - 1]})
            self.best_state =""")

SAVES_FIRST = VALIDATING.replace("self.commit(save_checkpoint=self.cfg.get(\"save_last\", True))", """\
self.history.append(self._pending_metrics)
            torch.save(self.state_dict(), self.checkpoint_path)
            self._start_epoch()
            self.xp.link.update_history(self.history)""")


@pytest.mark.parametrize(("solver", "when", "epochs"), [
    (SAVES_FIRST, "best", [1, 2, 4]), (SAVES_FIRST, "2", [2, 4, 4]), (VALIDATING, "best", [1, 2, 4]),
    (VALIDATING, "end", [4])], ids=["as AudioCraft", "every second", "as Flashy", "end"])
def test_a_main_that_knows_nothing_of_it_exports_meanwhile(project, solver, when, epochs):
    root = project(solver=solver)
    result = dora("run", "epochs=4", "export=true", f"exporter.when={when}", "exporter.metric=ce", cwd=root)
    assert result.returncode == 0, result.stderr
    said = re.findall(r"exported: best_state (?:of epoch \d, )?after (\d) epochs?", result.stderr)
    assert [*map(int, said)] == epochs and verify(only_xp(root) / "export").ok
    plain = dora("run", "epochs=4", cwd=root)
    assert only_xp(root) and "exported" not in plain.stderr  # the same signature


def test_mixin_and_hook_together_export_an_epoch_once(project):
    solver = VALIDATING.replace("import flashy\n", "import flashy\nfrom audiocraft_export import ExportMixin\n")
    root = project(solver=solver.replace("class Solver(", "class Solver(ExportMixin, "))
    result = dora("run", "epochs=4", "export=true", "exporter.when=best", "exporter.metric=ce", cwd=root)
    said = re.findall(r"exported: best_state (?:of epoch \d, )?after (\d) epochs?", result.stderr)
    assert said == ["1", "2", "4"] and "already exported" not in result.stderr


@pytest.mark.parametrize("mixin", [True, False])
@pytest.mark.parametrize(("argv", "why"), [
    (["exporter.metric=cee"], "no epoch has the metric cee yet"), ([], "the metric of the best state is unknown"),
    (["exporter.metric=ce"], None)])
def test_a_best_epoch_without_a_known_metric_is_warned_of_once(project, mixin, argv, why):
    solver = VALIDATING.replace("import flashy\n", "import flashy\nfrom audiocraft_export import ExportMixin\n")
    root = project(solver=solver.replace("class Solver(", "class Solver(ExportMixin, ") if mixin else VALIDATING)
    argv = ["epochs=3", "export=true", "exporter.when=best", "exporter.weights=last", *argv]
    said = dora("run", *argv, cwd=root).stderr
    warning = (f"exporter.when=best exports each epoch: {why}. exporter.metric can be one of: ce, duration, "
               "train.duration")
    assert said.count("warning[unknown-best]: ") == said.count(warning) == (why is not None), said


def test_a_wrong_when_ends_the_run_before_it_trains(project):
    result = dora("run", "export=true", "exporter.when=sometimes", cwd=project())
    assert result.returncode == 1 and "for when: expected end, best or a number of epochs" in result.stderr
    assert "TRAINING" not in result.stdout


class Plain(Training):
    """A solver that stores the checkpoint before the history, as AudioCraft does."""

    losses = [3., 1., 2., 4., 5., 6.]

    def __init__(self, store=lambda epoch: True):
        super().__init__()
        self.store = store

    def run(self):
        for epoch, loss in enumerate(self.losses[self.epoch - 1:], self.epoch):
            self.run_stage("train", self.train)
            self.run_stage("valid", lambda loss=loss: {"ce": loss})
            self.best_state = {"model": dict(self.model.state_dict())}
            self.history.append(self._pending_metrics)
            self._start_epoch()
            if self.store(epoch):
                torch.save(self.state_dict(), self.checkpoint_path)
            self.xp.link.update_history(self.history)


def followed(tmp_path, when, **store):
    """Train a solver without the mixin; return the exported epochs and the log."""
    here, said = xp_of(tmp_path / "outputs", solver="mine"), []
    EpochExporter(here, ExportOptions(when=when, metric="ce"), said.append)
    with here.enter():
        Plain(**store).run()
    return [int(epoch) for epoch in re.findall(r"after (\d) epochs?", " ".join(said))], said, here


@pytest.mark.parametrize(("when", "store", "epochs"), [
    ("best", lambda epoch: True, [1, 2]), ("best", lambda epoch: epoch % 4 == 0, [4]), (3, lambda epoch: True, [3, 6]),
    (3, lambda epoch: epoch % 2 == 0, [4, 6]), (5, lambda epoch: epoch % 2 == 0, [6])])
def test_an_epoch_that_is_due_is_exported_as_soon_as_it_is_stored(tmp_path, when, store, epochs):
    assert followed(tmp_path, when, store=store)[0] == epochs


def test_a_training_without_checkpoints_is_warned_once(tmp_path):
    exported, said, _ = followed(tmp_path, 1, store=lambda epoch: False)
    assert not exported and len(said) == 1 and said[0].startswith("warning[epochs-not-exported]: nothing is exported")
    assert "inherit from ExportMixin" in said[0]


def test_exports_meanwhile_have_no_warning_of_epochs_that_are_about_to_be_stored(project):
    root = project(solver=VALIDATING)
    result = dora("run", "epochs=3", "export=true", "exporter.when=1", cwd=root)
    assert "after 1 epoch" in result.stderr and "the later epochs were not stored" not in result.stderr


def test_an_xp_that_is_followed_is_pickled_and_copied_as_any_other(tmp_path):
    _, said, here = followed(tmp_path, 1)
    for other in (pickle.loads(pickle.dumps(here)), copy.deepcopy(here)):
        assert other.sig == here.sig and other.link.history == here.link.history
        count = len(said)
        other.link.update_history([*other.link.history, {}])
        assert len(said) == count and len(other.link.history) == 7


def test_a_checkpoint_is_opened_once_however_often_metrics_are_pushed(tmp_path, monkeypatch):
    _, _, here = followed(tmp_path, 9)
    monkeypatch.setattr(during_training, "open_checkpoint", pytest.fail)
    for step in range(3):
        here.link.push_metrics({"step": step})


def test_a_resumed_training_exports_only_new_epochs(tmp_path):
    _, _, here = followed(tmp_path, "end")
    said = []
    EpochExporter(here, ExportOptions(when=1), said.append)
    here.link.update_history(here.link.history)
    assert not said


def test_a_solver_whose_loop_has_another_name_is_exported_all_the_same(project):
    solver = VALIDATING.replace("import flashy\n", "import flashy\nfrom audiocraft_export import ExportMixin\n")
    solver = solver.replace("class Solver(", "class Solver(ExportMixin, ").replace("def run(self)", "def fit(self)")
    root = project(solver=solver)
    train = root / "proj" / "train.py"
    train.write_text(train.read_text().replace(".run()", ".fit()"))
    said = dora("run", "epochs=4", "export=true", "exporter.when=best", "exporter.metric=ce", cwd=root).stderr
    assert re.findall(r"exported: best_state (?:of epoch \d, )?after (\d) epochs?", said) == ["1", "2", "4"]


@pytest.mark.parametrize(("exporter", "says"), [
    ({"when": "often"}, "Invalid value 'often' for when"), ({"weigths": "last"}, "Did you mean weights"),
    ("last", "Invalid value 'last' for exporter: expected a mapping")])
def test_a_wrong_option_is_reported_before_the_training(tmp_path, exporter, says):
    here = xp_of(tmp_path / "outputs", export=True, exporter=exporter)
    with here.enter():
        solver = Watched()
        with pytest.raises(ExportError, match=says):
            solver.run()
    assert solver.epoch == 1
