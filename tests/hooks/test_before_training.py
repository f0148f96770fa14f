"""Mistakes in the options are found before the training, by `with_export` and by `ExportMixin`."""

import pytest
from helpers import SOLVER, dora, last_sentence

from audiocraft_export import ExportError, ExportMixin, export_checkpoint

from .solvers import OF_MIXIN, Base, Inherited, Training, xp_of

MISTAKES = [
    ({"weights": "ema"}, "optim.ema.use=false"), ({"weights": "last", "more": {"fsdp": {"use": True}}}, "with FSDP"),
    ({"family": "mine"}, "'mine' for family"),
    ({"metric": "a:b:c:max:min\n"}, "for metric: expected NAME or STAGE.NAME"),
    ({"folder": "file"}, "not a folder"), ({"folder": "file/in/it"}, "parent of this path"),
    ({"folder": "/proc/1/x"}, "Cannot write the release to"), ({"folder": "x" * 300}, "Choose a shorter path"),
    ({"folder": "outputs"}, "Dora folder"), ({"folder": "outputs/xps"}, "Dora folder"),
    ({"folder": "outputs/xps/0123abcd", "force": True}, "an XP folder"), ({"folder": "theirs"}, "another experiment"),
    ({"folder": "changed"}, "another experiment"),
    ({"config": "no.yaml"}, "Cannot read configuration .*no.yaml: No such file"),
    ({"verify": "load"}, "has no loader for"),
    ({"format": "transformers"}, "(cannot be converted to|needs packages .*:) transformers"),
    ({"weights": "lats"}, r"lats requires a section .*; it stores model, best_state\. Use weights=last or"),
    ({"weights": "beststate.model"}, "weights=beststate.model requires"),
    ({"weights": "history"}, "weights=history requires"),
    ({"config": "c.yaml"}, "has its own configuration"),
    ({"sign": "no.pem"}, "Cannot read the key .*no.pem: No such file"), ({"sign": "c.yaml"}, "not a key in PEM format"),
    ({"attest": True}, "attest requires a key"),
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


def test_unresolvable_values_of_the_configuration_are_accepted(tmp_path):
    xp = xp_of(tmp_path, export=True, optim={"ema": {"use": "${nothing:there}"}}, exporter={"weights": "ema"})
    with xp.enter(), pytest.raises(ExportError, match="has no EMA"):
        Averaging().run()
    assert (xp.folder / "checkpoint.th").exists()


@pytest.mark.parametrize(("argv", "says"), [
    (["+optim.ema.use=false", "exporter.weights=ema"], "weights=ema requires an EMA"),
    (["exporter.weights=lats"], "weights=lats requires a section"),
    (["exporter.folder=outputs"], "is a Dora folder"), (["exporter.family=mine"], "'mine' for family")], ids=str)
@pytest.mark.parametrize("solver", [SOLVER, OF_MIXIN], ids=["plain", "mixin"])
def test_with_export_finds_it_too_unless_nothing_is_exported(project, argv, says, solver):
    root = project(solver=solver)
    result = dora("run", "export=true", *argv, cwd=root)
    assert says in last_sentence(result) and "TRAINING" not in result.stdout
    if "family" not in says:  # a value that is invalid for every export is refused in any case
        assert "TRAINING" in dora("run", *argv, cwd=root).stdout
