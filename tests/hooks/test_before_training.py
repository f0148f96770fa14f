"""A mistake in the options is found before the training, by `with_export` and by `ExportMixin`."""

import pytest
from helpers import SOLVER, dora, last_sentence

from audiocraft_export import ExportError, ExportMixin, export_checkpoint

from .solvers import OF_MIXIN, Base, Inherited, Training, xp_of

MISTAKES = [
    ({"weights": "ema"}, "optim.ema.use=false"), ({"weights": "last", "more": {"fsdp": {"use": True}}}, "with FSDP"),
    ({"family": "mine"}, "family=mine is no option"), ({"metric": "a:b:c:max:min\n"}, "metric="),
    ({"folder": "file"}, "no folder"), ({"folder": "file/in/it"}, "cannot be written"),
    ({"folder": "/proc/1/x"}, "cannot be written"), ({"folder": "x" * 300}, "cannot be written"),
    ({"folder": "outputs"}, "Dora folder"), ({"folder": "outputs/xps"}, "Dora folder"),
    ({"folder": "outputs/xps/0123abcd", "force": True}, "an XP folder"), ({"folder": "theirs"}, "another experiment"),
    ({"folder": "changed"}, "another experiment"),
    ({"config": "no.yaml"}, "no.yaml cannot be read"), ({"verify": "load"}, "none of them"),
    ({"format": "transformers"}, "(cannot be released for|needs) transformers"),
    ({"weights": "lats"}, r"lats needs a section that .* \(it stores model, best_state\): use weights=last or"),
    ({"weights": "beststate.model"}, "weights=beststate.model needs"),
    ({"weights": "history"}, "weights=history needs"),
    ({"config": "c.yaml"}, "holds its own configuration"),
]


@pytest.mark.parametrize(("exporter", "says"), MISTAKES, ids=str)
@pytest.mark.parametrize("entry", ["run", "train_all"])
def test_a_mistake_in_the_options_is_found_before_the_training(make_xp, tmp_path, monkeypatch, exporter, says, entry):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "c.yaml").write_text("solver: mine")
    for name in ("theirs", "changed"):
        manifest = export_checkpoint(make_xp("9357e12e") / "checkpoint.th", tmp_path / name).folder / "export.json"
    manifest.write_text(manifest.read_text().replace('"epoch": 2', '"epoch": 3'))
    more = exporter.get("more", {})
    xp = xp_of(tmp_path / "outputs", export=True, optim={"ema": {"use": False}}, **more,
               exporter={name: value for name, value in exporter.items() if name != "more"})
    solver = type("Solver", (ExportMixin, Base), {entry: Training.run})
    with xp.enter(), pytest.raises(ExportError, match=says):
        getattr(solver(), entry)()
    assert not (xp.folder / "checkpoint.th").exists()


class Averaging(Inherited):
    def __init__(self):
        super().__init__()
        self.ema = {}
        self.register_stateful("ema")


def test_what_the_configuration_does_not_say_is_no_mistake(tmp_path):
    xp = xp_of(tmp_path, export=True, optim={"ema": {"use": "${nothing:there}"}}, exporter={"weights": "ema"})
    with xp.enter(), pytest.raises(ExportError, match="no moving average"):
        Averaging().run()
    assert (xp.folder / "checkpoint.th").exists()


@pytest.mark.parametrize(("argv", "says"), [
    (["+optim.ema.use=false", "exporter.weights=ema"], "weights=ema needs a moving average"),
    (["exporter.weights=lats"], "weights=lats needs a section"),
    (["exporter.folder=outputs"], "is a Dora folder"), (["exporter.family=mine"], "family=mine is no option")], ids=str)
@pytest.mark.parametrize("solver", [SOLVER, OF_MIXIN], ids=["plain", "mixin"])
def test_with_export_finds_it_too_unless_nothing_is_exported(project, argv, says, solver):
    root = project(solver=solver)
    result = dora("run", "export=true", *argv, cwd=root)
    assert says in last_sentence(result) and "TRAINING" not in result.stdout
    if "family" not in says:  # a value that no export has is refused in any case
        assert "TRAINING" in dora("run", *argv, cwd=root).stdout
