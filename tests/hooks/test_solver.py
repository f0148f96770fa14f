"""`ExportMixin` with real Flashy solvers, with and without Hydra and `with_export`."""

import errno
import json
import os
from contextlib import nullcontext
from textwrap import dedent

import dora
import numpy as np
import pytest
import torch
from dora import argparse_main
from helpers import SOLVER, load, only_xp, run, same
from helpers import dora as dora_command

from audiocraft_export import ExportError, ExportMixin, export_xp
from audiocraft_export.checkpoint.allowlist import UnknownGlobal
from audiocraft_export.hooks.solver import _same_metrics

from .solvers import OF_MIXIN, Base, Inherited, Training, xp_of


class InTheVeryClass(ExportMixin, Base):
    run = Training.run


class MixinLast(Training, ExportMixin):
    pass


class CallsSuper(Inherited):
    def run(self):
        return super().run() + " twice"


class CallsSuperAgain(CallsSuper):
    def run(self):
        return super().run() + " over"


class Diamond(Inherited, type("Other", (Training,), {"run": lambda self: "other " + Training.run(self)})):
    pass


KINDS = [InTheVeryClass, Inherited, MixinLast, CallsSuper, CallsSuperAgain, Diamond]


@pytest.fixture
def xp(tmp_path):
    return lambda **cfg: xp_of(tmp_path / "outputs", **cfg)


@pytest.mark.parametrize("kind", KINDS)
def test_a_solver_exports_once_when_its_outermost_run_returns(xp, kind, monkeypatch):
    made = []
    export = kind.export
    monkeypatch.setattr(kind, "export", lambda self, **options: made.append(export(self, **options)) or made[-1])
    here = xp(export=True)
    with here.enter():
        solver = kind()
        done = solver.run()
    assert "done" in done and len(made) == 1
    assert same(load(here.folder / "export" / "state_dict.bin")["best_state"], solver.best_state["model"])


def test_inherited_run_follows_the_method_resolution_order(xp):
    with xp(export=False).enter():
        assert Diamond().run() == "other done"


class Evaluates(ExportMixin, Base):
    def run(self):
        self.run_stage("evaluate", lambda: {"accuracy": 1.})


@pytest.mark.parametrize("save", [True, False])
def test_a_solver_that_only_evaluates_is_not_exported_before_or_after_the_training(xp, save):
    here = xp(export=True, exporter={"weights": "last"})
    with here.enter():
        Evaluates().run()
        assert not (here.folder / "checkpoint.th").exists() and not (here.folder / "export").exists()
        trained = Inherited(save=save)
        trained.run()
        Evaluates().run()
    state = load(here.folder / "export" / "state_dict.bin")["best_state"]
    assert same(state, trained.model.state_dict())


@pytest.mark.parametrize(("cfg", "auto", "exports"), [
    ({"export": True}, False, True), ({"export": False}, True, False), ({}, True, True), ({}, False, False),
    ({"export": {"format": "onnx"}}, False, False)])
def test_configuration_decides_and_without_one_the_class(xp, cfg, auto, exports):
    here = xp(**cfg)
    with here.enter():
        type("Chosen", (Inherited,), {"auto_export": auto})().run()
    assert (here.folder / "export").exists() is exports


def test_a_run_that_raises_exports_nothing_and_the_next_one_does(xp):
    here = xp(export=True)
    with here.enter():
        solver = Inherited()
        solver.train, train = lambda: 1 / 0, solver.train
        with pytest.raises(ZeroDivisionError):
            solver.run()
        assert not (here.folder / "export").exists()
        solver.train, solver._current_stage = train, None
        solver.run()
    assert (here.folder / "export" / "export.json").exists()


def test_options_come_from_the_configuration_and_the_call_wins(xp, tmp_path):
    with xp(exporter={"dtype": "float16", "weights": "last"}).enter():
        solver = Inherited()
        solver.run()
        report = solver.export()
        assert report.manifest.weights == "model" and report.manifest.dtypes == {"float16": 2}
        report = solver.export(weights="best", folder=tmp_path / "there")
        assert report.manifest.weights == "best_state" and report.folder == tmp_path / "there"
        with pytest.raises(ExportError, match="Unknown option bogus"):
            solver.export(bogus=1)


@pytest.mark.parametrize("between", [False, True])
def test_a_failed_export_of_the_state_in_memory_costs_no_epoch(xp, tmp_path, between):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "state_dict.bin").touch()
    here = xp()
    with here.enter():
        solver = Inherited(save=False)
        solver.run()
        if between:
            solver._pending_metrics = {"train": {}}
        with pytest.raises(ExportError):
            solver.export(folder=tmp_path / "taken")
    assert (here.folder / "checkpoint.th").exists() is not between


def test_a_failed_export_during_a_training_stores_nothing(xp, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "state_dict.bin").touch()
    here = xp(export=True, exporter={"when": 1, "folder": str(tmp_path / "taken")})
    with here.enter():
        solver = Inherited(save=False)
        solver.run_stage("train", solver.train)
        solver.commit(save_checkpoint=False)
    assert not (here.folder / "checkpoint.th").exists()


def test_export_during_training_uses_the_stored_checkpoint(xp):
    here = xp()
    with here.enter():
        solver = Inherited(epochs=1)
        solver.run()
        solver.model.weight.data.add_(5)
        stored = torch.load(here.folder / "checkpoint.th", weights_only=False)
        assert same(load(solver.export().files[0])["best_state"], stored["best_state"]["model"])


def test_a_restored_solver_exports_its_checkpoint(xp):
    here = xp()
    with here.enter():
        Inherited().run()
        best = torch.load(here.folder / "checkpoint.th", weights_only=False)["best_state"]["model"]
    with here.enter():
        solver = Inherited()  # not restored: its weights are random, and must not be released
        assert same(load(solver.export().files[0])["best_state"], best)
        solver.load_state_dict(torch.load(here.folder / "checkpoint.th", weights_only=False))
        assert not solver.export().written


def test_options_may_refer_to_other_parts_of_the_configuration(xp, tmp_path):
    cfg = {"export": True, "name": "first", "exporter": {"folder": f"{tmp_path}/${{name}}", "weights": "${which}"}}
    with xp(**cfg, which="last").enter():
        Inherited().run()
    assert (tmp_path / "first" / "state_dict.bin").exists()
    with xp_of(tmp_path / "other", **cfg).enter(), pytest.raises(ExportError, match="Cannot resolve .* exporter") as e:
        Inherited().run()
    assert e.value.code == "unresolved-option"


@pytest.mark.parametrize("weights", ["best", "last"])
def test_without_a_checkpoint_on_disk_the_state_in_memory_is_exported(xp, weights):
    here = xp(export=True, exporter={"weights": weights}, nested={"a": "${oc.env:USER}"})
    with here.enter():
        solver = Inherited(save=False)
        solver.run()
    assert not (here.folder / "checkpoint.th").exists()
    package = load(here.folder / "export" / "state_dict.bin")
    state = solver.best_state["model"] if weights == "best" else solver.model.state_dict()
    assert same(package["best_state"], state)
    assert package["xp.cfg"] == "nested:\n  a: ${oc.env:USER}\n"
    manifest = json.loads((here.folder / "export" / "export.json").read_text())
    assert manifest["checkpoint"] is None and manifest["epoch"] == 2


@pytest.mark.parametrize("exporter", [{"checkpoint": "9"}, {"weights": "model.bias"}, {"family": "musicgen"}])
def test_a_state_in_memory_is_stored_if_its_export_fails(xp, exporter, capfd):
    here = xp(export=True, exporter=exporter)
    (here.folder / ".argv.json").write_text("[]")
    with here.enter(), pytest.raises(ExportError, match="its checkpoints are safe in .* its export failed") as error:
        solver = Inherited(save=False)
        solver.run()
    what = "weights=best instead" if "weights" in exporter else "it"
    assert f"export {what} with: audiocraft-export run 0123abcd" in error.value.hint
    assert f"Stored the state of the solver in {here.folder}/checkpoint.th" in capfd.readouterr().err
    report = export_xp("0123abcd", here.folder.parent.parent, weights="last")
    assert same(load(report.folder / "state_dict.bin")["best_state"], solver.model.state_dict())


def test_a_state_that_cannot_be_stored_leaves_no_partial_file(xp, monkeypatch, capfd):
    here = xp(export=True, exporter={"weights": "model.bias"})

    def fill_disk(state, stream):
        stream.write(b"PK")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", fill_disk)
    with here.enter(), pytest.raises(ExportError, match="no section model.bias"):
        Inherited(save=False).run()
    assert "Cannot store the state of the solver" in capfd.readouterr().err
    assert not [path for path in here.folder.iterdir() if path.name.startswith("checkpoint")]


@pytest.mark.parametrize("others", [{}, {"checkpoint_3.th": b"mine"}])
def test_a_state_in_memory_does_not_replace_a_checkpoint(xp, others):
    here = xp(export=True, exporter={"weights": "model.bias"})
    with here.enter(), pytest.raises(ExportError):
        Inherited(epochs=1).run()
    before = {"checkpoint.th": (here.folder / "checkpoint.th").read_bytes(), **others}
    for name, data in before.items():
        (here.folder / name).write_bytes(data)
    with here.enter(), pytest.raises(ExportError, match="its checkpoints are safe"):
        solver = Inherited(save=False)
        solver.restore()
        solver.run()
    assert {name: (here.folder / name).read_bytes() for name in before} == before
    assert (here.folder / ("checkpoint_3_unexported.th" if others else "checkpoint_3.th")).exists()


def cut_off(solver):
    solver.checkpoint_path.write_bytes(b"PK\x03\x04 cut off")


def store_in_a_format_of_its_own(solver):
    torch.save({"weights": solver.model.state_dict()}, solver.checkpoint_path)


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.parametrize("store", [cut_off, store_in_a_format_of_its_own])
def test_a_training_is_not_lost_if_checkpoint_th_cannot_be_opened(xp, store, fails):
    class Stores(Inherited):
        def train(self):
            metrics = super().train()
            store(self)
            self.stored = self.checkpoint_path.read_bytes()
            return metrics

    here = xp(export=True, exporter={"weights": "model.bias" if fails else "last"})
    with here.enter(), pytest.raises(ExportError, match="its checkpoints are safe") if fails else nullcontext():
        solver = Stores(save=False)
        solver.run()
    assert (here.folder / "checkpoint.th").read_bytes() == solver.stored
    if fails:
        state = torch.load(here.folder / "checkpoint_2.th", weights_only=False)["model"]
    else:
        state = load(here.folder / "export" / "state_dict.bin")["best_state"]
    assert same(state, solver.model.state_dict())


def test_random_weights_are_not_released_if_checkpoint_th_cannot_be_opened(xp):
    here = xp(export=True, exporter={"weights": "last"})
    with here.enter():
        solver = Inherited(epochs=0)
        cut_off(solver)
        for export in (solver.export, solver.run):
            with pytest.raises(ExportError, match="checkpoint.th") as error:
                export()
            assert error.value.code == "corrupted-file"
    assert not (here.folder / "export").exists() and [*here.folder.glob("*.th")] == [here.folder / "checkpoint.th"]


def test_a_state_in_memory_is_stored_if_its_export_fails_in_an_unexpected_way(xp):
    class Broken(Inherited):
        def export(self, **options):
            raise ZeroDivisionError

    here = xp(export=True)
    with here.enter(), pytest.raises(ZeroDivisionError):
        solver = Broken(save=False)
        solver.run()
    state = torch.load(here.folder / "checkpoint.th", weights_only=False)
    assert same(state["model"], solver.model.state_dict()) and len(state["history"]) == 2


@pytest.mark.parametrize("kind", [Inherited, type("Auto", (Inherited,), {"auto_export": True})])
@pytest.mark.parametrize("value", ["yes", "only", 1, 0])
def test_a_value_of_export_that_is_neither_true_nor_false_is_refused_before_the_training(xp, kind, value):
    here = xp(export=value)
    with here.enter(), pytest.raises(ExportError, match="for export: expected true or false") as error:
        kind().run()
    assert error.value.code == "invalid-option" and not (here.folder / "checkpoint.th").exists()
    assert (f"audiocraft-export run {here.sig} " in error.value.hint) is (value == "only")


def test_a_state_in_memory_has_an_epoch_only_right_after_its_commit(xp):
    def epoch(weights="last"):
        return solver.export(weights=weights).manifest.weights_epoch

    here = xp(solver="compression", compression_model="encodec", codec=None)
    with here.enter():
        solver = Inherited(save=False)
        solver.run_stage("valid", lambda: {"ce": 1})
        solver.best_state = {"model": solver.model.state_dict()}
        assert (epoch(), epoch("best")) == (None, None)  # the first epoch is not committed yet
        solver.commit(save_checkpoint=False)
        assert (epoch(), epoch("best")) == (1, 1)
        solver.run_stage("train", lambda: {"is_unknown": epoch() is None})
        assert solver._pending_metrics["train"]["is_unknown"] and epoch("best") is None
        here.link.load()  # as in a new process, whose solver did not train the epochs in history.json
        solver = Inherited(save=False)
        assert len(solver.history) == 1 and epoch() is None


def test_the_epochs_of_a_checkpoint_are_compared_and_not_only_counted(xp):
    here = xp()
    with here.enter():
        Inherited().run()
    with here.enter():
        solver = Inherited(save=False)  # trains again in the folder of an earlier run, without storing a checkpoint
        solver.train = lambda: {"ce": float("nan")}
        solver.run()
        report = solver.export()
        assert report.manifest.checkpoint is None
        assert same(load(report.files[0])["best_state"], solver.best_state["model"])
        solver.save = True
        solver.commit()
        assert solver.export().manifest.checkpoint is not None


def test_metrics_that_are_read_as_unknown_globals_do_not_hide_the_checkpoint(xp):
    with xp().enter():
        solver = Inherited()
        solver.train = lambda: {"ce": np.float64(0.5)}
        solver.run()
        assert solver.export().manifest.checkpoint is not None
        assert not solver.export().written


def test_a_solver_whose_last_metrics_of_numpy_differ_from_the_stored_ones_is_not_stored(xp):
    with xp().enter():
        solver = Inherited()
        solver.train = lambda: {"ce": np.float64(0.5)}
        solver.run()
        solver.history[-1]["train"] = {"ce": np.float64(0.25)}
        assert solver.export().manifest.checkpoint is None


def test_a_checkpoint_with_fewer_epochs_than_the_solver_is_not_mistaken_for_its_state(xp):
    here = xp()
    with here.enter():
        solver = Inherited(epochs=1)
        solver.run()
        solver.save = False
        solver.run()
        assert solver.export().manifest.epoch == 2
        assert same(load(here.folder / "export" / "state_dict.bin")["best_state"], solver.best_state["model"])


def test_the_state_in_memory_and_its_checkpoint_give_the_same_bytes(xp, tmp_path):
    here = xp()
    with here.enter():
        solver = Inherited(save=False)
        solver.run()
        living = solver.export().manifest.files
        solver.epochs, solver.history[:] = 0, []
        torch.save({**solver.state_dict(), "history": [{}, {}]}, here.folder / "checkpoint.th")
        assert solver.export().manifest.files == living


@pytest.mark.parametrize("weights", ["best", "last", "added"])
def test_a_solver_with_its_own_state_dict_gives_the_same_bytes_from_memory_and_from_its_checkpoint(xp, weights):
    class Own(Inherited):
        def state_dict(self):
            state = super().state_dict()
            doubled = {name: value * 2 for name, value in self.model.state_dict().items()}
            return {**state, "model": doubled, "best_state": {"model": doubled}, "added": doubled}

    here = xp()
    with here.enter():
        solver = Own(save=False)
        solver.run()
        manifest = solver.export(weights=weights).manifest
        assert manifest.checkpoint is None
        assert load(here.folder / "export" / "state_dict.bin")["best_state"]["weight"].equal(solver.model.weight * 2)
        torch.save(solver.state_dict(), solver.checkpoint_path)
        assert solver.export(weights=weights, checkpoint=None).manifest.files == manifest.files


def test_weights_in_memory_of_every_kind_are_released(xp):
    base = torch.arange(12.0).view(3, 4)
    kinds = {"t": base.t(), "part": base[0], "tied": base, "tied2": base, "half": base.half(), "none": base[:0],
             "bool": base > 3, "conj": torch.tensor([1 + 2j]).conj(), "parameter": torch.nn.Parameter(base.clone())}
    with xp().enter():
        solver = Inherited(save=False)
        solver.best_state = {"model": kinds}
        state = load(solver.export().files[0])["best_state"]
        assert same(state, {name: value.resolve_conj() for name, value in kinds.items()})
        assert state["tied"].data_ptr() == state["tied2"].data_ptr() != state["t"].data_ptr()
        solver.best_state = {"model": {"w": base.to_sparse()}}
        with pytest.raises(ExportError, match="sparse"):
            solver.export()


def test_a_failed_export_after_a_run_reports_that_the_training_is_safe(xp):
    here = xp(export=True, exporter={"weights": "model.x"})
    with here.enter(), pytest.raises(ExportError, match=f"safe in {here.folder}.*audiocraft-export run 0123abcd"):
        Inherited().run()


def test_a_solver_works_with_an_argparse_main(tmp_path):
    import argparse
    from pathlib import Path
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.5)
    parser.add_argument("--data", type=Path, default=Path("/data/music"))

    class Auto(Inherited):
        auto_export = True

    @argparse_main(parser, dir=str(tmp_path / "outputs"))
    def main():
        Auto().run()

    here = main.get_xp(["--lr=0.25"])
    main.init_xp(here)
    with here.enter():
        main.main()
    released = load(here.folder / "export" / "state_dict.bin")
    assert released["xp.cfg"] == "lr: 0.25\ndata: /data/music\n"
    assert not export_xp(here.sig, tmp_path / "outputs").written
    (here.folder / "checkpoint.th").unlink()
    with here.enter():
        Auto(save=False).run()
    assert load(here.folder / "export" / "state_dict.bin")["xp.cfg"] == released["xp.cfg"]


def test_a_registered_attribute_that_was_deleted_costs_no_export(xp):
    here = xp()
    with here.enter():
        solver = Inherited(save=False)
        solver.extra = {}
        solver.register_stateful("extra")
        solver.run()
        del solver.extra
        assert solver.export(weights="best").written


def test_only_rank_zero_exports(xp, monkeypatch):
    here = xp(export=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with here.enter():
        solver = Inherited()
        solver.run()
        assert solver.export() is None
    assert dora.distrib.get_distrib_spec().rank == 1 and not (here.folder / "export").exists()


@pytest.mark.parametrize("save", ["true", "false"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_mixin_and_hook_together_make_one_export(project, save, wrapped):
    solver = dedent(SOLVER).replace("import flashy\n", "import flashy\nfrom audiocraft_export import ExportMixin\n")
    solver = solver.replace("class Solver(", "class Solver(ExportMixin, ")
    root = project(solver=solver, wrapped=wrapped, version_base="1.1",
                   config="" if wrapped else "export: false\nexporter: {folder: null}\n")
    args = ["run", "export=true", f"save_last={save}", "exporter.folder=there"]
    result = dora_command(*args, cwd=root)
    assert result.returncode == 0, result.stderr
    assert (root / "there" / "export.json").exists()
    assert result.stderr.count(" exported:") == 1 and "already exported" not in result.stderr
    assert (only_xp(root) / "checkpoint.th").exists() is (save == "true")


def test_a_solver_of_ones_own_is_exported_by_the_module_started_as_a_script(project):
    root = project()
    assert run("proj.train", "export=true", cwd=root).returncode == 0
    assert (only_xp(root) / "export" / "export.json").exists()


def test_packages_that_the_export_needs_are_missed_before_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr("audiocraft_export.requirements.find_spec", lambda name: None)
    xp = xp_of(tmp_path, export=True, exporter={"format": "safetensors"})
    with xp.enter(), pytest.raises(ExportError, match="not installed: safetensors, huggingface_hub"):
        Inherited().run()
    assert not (xp.folder / "checkpoint.th").exists()


@pytest.mark.parametrize(("one", "other", "are_same"), [
    ([{"train": {"ce": float("nan")}}], [{"train": {"ce": float("nan")}}], True), ([1], (1,), True),
    ([1], [1, 2], False), ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False), ({"a": 1}, {"a": 1.5}, False),
    ([UnknownGlobal("numpy.core.multiarray.scalar")], [3], True), ([0.5, 2, True], [*map(np.float32, [0.5])], False),
    ([0.5, 2, True], [np.float32(0.5), np.int64(2), np.bool_(True)], True), ([0.5], [np.float64(0.25)], False)])
def test_metrics_are_compared_as_far_as_they_can_be_read(one, other, are_same):
    assert _same_metrics(one, other) == are_same


ARGPARSE = """
    import argparse
    from dora import argparse_main
    from .solver import Solver
    parser = argparse.ArgumentParser()
    for name, value in (("lr", 0.5), ("epochs", 2), ("fail", "")):
        parser.add_argument(f"--{name}", type=type(value), default=value)
    parser.add_argument("--export")
    parser.add_argument("--exporter.dtype")

    @argparse_main(parser, dir="outputs", exclude=["export", "exporter.*"])
    def main():
        from dora import get_xp
        Solver(get_xp().cfg).run()
"""


@pytest.fixture
def argparse_project(project):
    solver = OF_MIXIN.replace('.get("fail")', ".fail").replace('self.cfg.get("save_last", True)', "True")
    root = project(solver=solver.replace("ExportMixin, flashy.BaseSolver):", "ExportMixin, flashy.BaseSolver):\n"
                                         "        auto_export = True\n"))
    (root / "proj" / "train.py").write_text(dedent(ARGPARSE))
    return root


def test_a_training_over_argparse_resumes_and_is_exported_once(argparse_project):
    assert " exported: " in dora_command("run", "--", "--lr=0.25", cwd=argparse_project).stderr
    again = dora_command("run", "--", "--lr=0.25", cwd=argparse_project)
    assert again.returncode == 0 and " already exported: " in again.stderr, again.stderr


@pytest.mark.parametrize(("argv", "dtype"), [
    (["--export=false"], None), (["--export=true"], "float32"), (["--exporter.dtype=float16"], "float16")])
def test_arguments_of_argparse_are_options(argparse_project, argv, dtype):
    assert dora_command("run", "--", *argv, cwd=argparse_project).returncode == 0
    release = only_xp(argparse_project) / "export" / "state_dict.bin"
    assert release.exists() is (dtype is not None)
    if dtype:
        released = load(release)
        assert str(released["best_state"]["weight"].dtype) == f"torch.{dtype}" and "export" not in released["xp.cfg"]


def test_an_invalid_argument_of_argparse_is_refused_before_the_training(argparse_project):
    result = dora_command("run", "--", "--exporter.dtype=half", cwd=argparse_project)
    assert result.returncode == 1 and "error[invalid-option]: " in result.stderr, result.stderr
    assert not (only_xp(argparse_project) / "checkpoint.th").exists()


def test_a_failed_export_of_a_training_over_argparse_is_an_error_with_a_hint(argparse_project):
    solver = argparse_project / "proj" / "solver.py"
    solver.write_text(solver.read_text().replace("self.best_state = {\"model\": ", "_ = {\"model\": "))
    result = dora_command("run", "--", "--lr=0.25", cwd=argparse_project)
    assert result.returncode == 1 and "Traceback" not in result.stderr, result.stderr
    assert "error[missing-weights]: " in result.stderr and "is empty: the solver has kept no best" in result.stderr
    assert "hint: export weights=last instead with: audiocraft-export run " in result.stderr


class Onnx(Inherited):
    def export(self, path="model.onnx"):
        raise AssertionError


class Logged(Inherited):
    def export(self, **options):
        report = super().export(**options)
        self.made = report.folder
        return report


def test_a_method_export_of_the_project_is_refused_before_the_training(xp):
    with xp(export=True).enter(), pytest.raises(ExportError, match=r"Onnx\.export\(\) hides ExportMixin") as error:
        solver = Onnx()
        solver.run()
    assert error.value.code == "name-conflict" and not solver.history


def test_an_attribute_export_is_refused_before_the_training(xp):
    with xp(export=True).enter(), pytest.raises(ExportError, match="attribute export of Inherited hides") as error:
        solver = Inherited()
        solver.export = solver.xp.cfg.export
        solver.run()
    assert error.value.code == "name-conflict" and not solver.history


def test_an_override_of_export_is_called(xp):
    here = xp(export=True)
    with here.enter():
        solver = Logged()
        solver.run()
    assert solver.made == here.folder / "export"


def test_a_method_of_the_project_that_needs_arguments_is_no_rule_for_the_best_epoch(xp, capfd):
    class Own(Inherited):
        def is_best_so_far(self, loss):
            raise AssertionError

    here = xp(export=True, exporter={"when": "best"})
    with here.enter():
        Own().run()
    assert "error" not in capfd.readouterr().err and (here.folder / "export" / "export.json").exists()
