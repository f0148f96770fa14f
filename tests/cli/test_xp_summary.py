"""What distinguishes the command lines of experiments."""

from dataclasses import asdict

from audiocraft_export.cli.xp_summary import short_names, summarize_xp
from audiocraft_export.experiment.xp import Experiment


def test_what_distinguishes_command_lines_is_what_not_all_have():
    assert short_names([["a.lr=1", "b.dim=2"], ["a.lr=1", "b.dim=3", "x"]]) == ["dim=2", "dim=3 x"]
    assert short_names([["a.lr=1", "b.lr=2"], ["+a.lr=3"]]) == ["a.lr=1 b.lr=2", "+a.lr=3"]
    assert short_names([["a.lr=1"]]) == ["lr=1"] and short_names([]) == [] and short_names([["x"], ["x"]]) == ["", ""]


def test_an_experiment_without_any_file_is_summarized(tmp_path):
    folder = tmp_path / "xps" / "11111111"
    folder.mkdir(parents=True)
    found = asdict(summarize_xp(Experiment.from_folder(folder)))
    assert found.pop("changed") == folder.stat().st_mtime
    assert found == {"sig": "11111111", "solver": None, "argv": None, "epochs": 0, "planned": None, "metric": None,
                     "best": None, "best_epoch": None, "checkpoint": None, "others": 0, "release": "none",
                     "release_options": {}, "release_bytes": None, "nonfinite": None}
    assert summarize_xp(Experiment.from_folder(tmp_path / "nowhere")).changed == 0


def test_addresses_on_a_command_line_are_summarized_without_credentials(tmp_path):
    (tmp_path / ".argv.json").write_text('["data=http://joe:pw@host/x", 3]')
    assert summarize_xp(Experiment.from_folder(tmp_path)).argv == ["data=http://host/x", "3"]
