"""Plan the export of the experiment of the tests."""

from helpers import SIG

from audiocraft_export import ExportOptions
from audiocraft_export.checkpoint.checkpoint import open_experiment
from audiocraft_export.experiment.xp import find_xp
from audiocraft_export.formats.registry import prepare_release
from audiocraft_export.pipeline.plan import plan

OPTIONS = ExportOptions(version="1.3.0")


def planned(dora_dir, options=OPTIONS):
    xp = find_xp(SIG, dora_dir)
    prepared = prepare_release(open_experiment(xp, xp.checkpoint()), xp.folder, options)
    return plan(prepared, xp.folder / "export", options)
