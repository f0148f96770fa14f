"""The epoch in which a solver last changed its best state."""

import copy
import pickle

import pytest
import torch

from audiocraft_export import ExportMixin
from audiocraft_export.hooks.best_state import UNKNOWN, BestStateWatch
from audiocraft_export.hooks.xp_state import xp_state

from .solvers import Base, xp_of


def watched(*states, first=1):
    watch = BestStateWatch()
    found = []
    for epoch, state in enumerate(states, first):
        watch.update(state() if callable(state) else state, epoch)
        found.append(watch.changed)
    return found


def test_a_best_state_that_is_replaced_or_changed_in_place_is_noticed():
    one, other = ({"model": {"w": torch.zeros(2), "n": 1}} for _ in range(2))

    def change():
        one["model"]["w"].add_(1)
        return one

    assert watched(one, one, other, one, change, one) == [1, 1, 3, 4, 5, 5]
    assert watched({}, {}, one) == [None, None, 3] and watched(None, 3) == [None, None]


def test_a_new_tensor_with_the_same_values_or_the_same_address_is_another_one():
    assert watched(*[lambda: {"w": torch.zeros(2)}] * 3) == [1, 2, 3]


def test_a_solver_is_pickled_and_copied_after_a_commit_as_before(tmp_path):
    with xp_of(tmp_path).enter():
        solver = Lowest()
        solver.run()
        for other in (pickle.loads(pickle.dumps(solver)), copy.deepcopy(solver)):
            other.commit()
            assert other._export_watch.changed == UNKNOWN and other._export_watch.epoch == 5
    assert solver._export_watch.changed == 3


def test_a_state_of_inference_mode_is_accepted():
    with torch.inference_mode():
        state = {"w": torch.zeros(2)}
    assert watched(state, state, {"w": torch.zeros(2)}) == [1, 1, 3]


def test_without_a_look_at_the_epoch_before_it_is_unknown_when_a_state_had_changed():
    state = {"w": torch.zeros(2)}
    assert watched(state, state, first=5) == [UNKNOWN, UNKNOWN]
    assert watched(state, {"w": torch.ones(2)}, first=5) == [UNKNOWN, 6]


def test_the_first_epoch_after_a_restore_is_compared_with_the_restored_state():
    watch, state = BestStateWatch(), {"w": torch.zeros(2)}
    watch.restored(state, 4)
    watch.update(state, 5)
    assert watch.changed is None and watch.changed_if_best(4) is None and watch.changed_if_best(5) == UNKNOWN
    watch.update({"w": torch.ones(2)}, 6)
    assert watch.changed == watch.changed_if_best(5) == 6
    watch.restored(state, 6)
    assert watch.changed == 6
    watch.restored(state, 5)  # epoch 6 is rolled back
    assert watch.changed == UNKNOWN


class Keeps(ExportMixin, Base):
    """A solver that keeps the state with the highest or the lowest value, and only names the metric."""

    values = [.3, .9, .1, .5]
    best_metric_name = "acc"

    def run(self):
        best = self.values[:self.epoch - 1]
        for value in self.values[self.epoch - 1:]:
            with torch.no_grad():
                self.model.weight.fill_(self.epoch)
            self.run_stage("valid", lambda value=value: {"acc": value})
            best.append(value)
            if type(self).keep(best) == value:
                self.best_state = {"model": {name: each.clone() for name, each in self.model.state_dict().items()}}
            self.commit(save_checkpoint=self.save)


class Highest(Keeps):
    keep = max


class Lowest(Keeps):
    keep = min


@pytest.mark.parametrize("save", [True, False])
@pytest.mark.parametrize(("kind", "exporter", "epoch"), [
    (Highest, {}, None), (Highest, {"metric": "acc"}, None), (Highest, {"metric": "acc:max"}, 2), (Lowest, {}, 3)])
def test_the_epoch_of_another_rule_is_not_claimed(tmp_path, kind, exporter, epoch, save):
    here = xp_of(tmp_path, export=True, exporter=exporter)
    with here.enter():
        solver = kind(save=save)
        solver.run()
    manifest = xp_state(here).report.manifest
    assert manifest.weights_epoch == epoch
    assert int(solver.best_state["model"]["weight"][0, 0]) == (2 if kind is Highest else 3)
    assert (manifest.best or {}).get("epoch") == epoch


class Latest(Keeps):
    @staticmethod
    def keep(values):
        return values[-1]


@pytest.mark.parametrize(("kind", "values", "epoch"), [
    (Latest, [.3, .1, .2], None), (Highest, [.3, .9, .1], None), (Lowest, [.3, .1, .2], 2), (Lowest, [.3, .1, .05], 3)])
@pytest.mark.parametrize("restores", [True, False])
def test_the_epoch_of_another_rule_is_not_claimed_after_a_resume_either(tmp_path, kind, values, epoch, restores):
    here = xp_of(tmp_path, export=True)
    with here.enter():
        type("First", (kind,), {"values": values[:2]})().run()
        solver = type("Resumed", (kind,), {"values": values})()
        if restores:
            solver.restore()
        else:
            solver.load_state_dict(torch.load(solver.checkpoint_path, weights_only=False))
        solver.run()
    manifest = xp_state(here).report.manifest
    assert manifest.epoch == 3 and manifest.weights_epoch == (epoch if restores else None)
