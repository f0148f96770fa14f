"""Check the sections that a solver stores before its first stage."""

from contextlib import nullcontext

import flashy
import pytest
import torch

from audiocraft_export import ExportError, ExportMixin, ExportOptions
from audiocraft_export.hooks.first_stage import check_first_stage
from audiocraft_export.release.weights import refuse_unstored_weights

from .solvers import Base, Inherited, Training, xp_of

RUN_STAGE = flashy.BaseSolver.run_stage


class Late(Inherited):
    def run(self):
        self.head = torch.nn.Linear(1, 1)
        self.register_stateful("head")
        return super().run()


class Own(Inherited):
    def state_dict(self):
        return {**super().state_dict(), "head": self.model.state_dict()}


class Choosing(Inherited):
    def export(self, **options):
        return super().export(**{**options, "weights": "last"})


@pytest.mark.parametrize(("solver", "weights"), [
    (Inherited, "best_state.model"), (Inherited, "model"), (Late, "head"), (Own, "head"), (Choosing, "x")])
def test_weights_that_a_solver_stores_are_accepted(tmp_path, solver, weights):
    xp = xp_of(tmp_path, export=True, exporter={"weights": weights})
    with xp.enter():
        solver().run()
    assert (xp.folder / "export" / "state_dict.bin").exists() and flashy.BaseSolver.run_stage is RUN_STAGE


def test_only_the_first_stage_inside_is_checked(tmp_path):
    with xp_of(tmp_path).enter():
        with check_first_stage(ExportOptions(weights="head")), pytest.raises(ExportError, match="requires a section"):
            Training().run()
        Training().run()
        with check_first_stage(ExportOptions(weights="last")):
            assert Training(epochs=3).run() == "done"
    assert flashy.BaseSolver.run_stage is RUN_STAGE


class Teacher(flashy.BaseSolver):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(1, 1)
        self.register_stateful("net")

    def check(self):
        self.run_stage("check", lambda: {"ok": 1})


class Taught(Inherited):
    def run(self):
        Teacher().check()
        return super().run()


@pytest.mark.parametrize(("weights", "is_refused"), [("best", False), ("head", True)])
def test_a_solver_that_only_helps_is_not_checked_instead_of_the_exported_one(tmp_path, weights, is_refused):
    refuses = pytest.raises(ExportError, match="requires a section") if is_refused else nullcontext()
    with xp_of(tmp_path / "main").enter(), check_first_stage(ExportOptions(weights=weights)):
        Teacher().check()
        with xp_of(tmp_path / "other").enter(stack=True):
            other = type("Other", (Base,), {"run": Teacher.check, "check": Teacher.check})()
            other.xp.sig = "76543210"
            del other.stateful.sources["best_state"]
            other.run()
        with refuses:
            Training().run()
    with xp_of(tmp_path / "mixin", export=True, exporter={"weights": weights}).enter(), refuses as error:
        Taught().run()
    assert not is_refused or "stores model, best_state" in str(error.value)
    assert flashy.BaseSolver.run_stage is RUN_STAGE


def test_a_solver_with_the_mixin_is_checked_whatever_its_training_is_called(tmp_path):
    solver = type("Fits", (ExportMixin, Base), {"fit": Training.run})
    with xp_of(tmp_path).enter(), check_first_stage(ExportOptions(weights="head")), \
            pytest.raises(ExportError, match="requires a section"):
        solver().fit()


def test_without_the_default_section_existing_sections_are_offered(tmp_path):
    with xp_of(tmp_path).enter(), check_first_stage(ExportOptions()):
        solver = Training()
        del solver.stateful.sources["best_state"]
        with pytest.raises(ExportError, match=r"weights=best requires .* stores model\. Use weights=last\."):
            solver.run()


def test_an_ema_of_another_model_is_not_offered():
    with pytest.raises(ExportError) as error:
        refuse_unstored_weights(["unet", "ema", "xp.cfg"], "last")
    assert error.value.hint == "use weights=SECTION or weights=SECTION.PART"
    with pytest.raises(ExportError) as error:
        refuse_unstored_weights(["model", "ema"], "best")
    assert error.value.hint == "use weights=last or weights=ema"
