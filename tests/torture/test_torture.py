"""A share of `make torture`: each guarantee with a limited number of trials."""

import pkgutil
import sys
from pathlib import Path

import pytest

from . import (
    bombs,
    crowds,
    damage,
    disks,
    durability,
    errors,
    flips,
    kills,
    malice,
    permissions,
    places,
    signals,
    signatures,
    trainer,
)
from .payloads import CALLS, REAL
from .trials import Missing

SHARE = {malice: 0.2, bombs: 0.05, damage: 0.05, flips: 0.1, trainer: 0.1, kills: 0.03, signals: 0.03, errors: 0.03,
         disks: 0.03, places: 0.03, permissions: 0.03, durability: 0.03, crowds: 0.1,
         signatures: 1.0}
TRIALS = [pytest.param(trial, share, id=f"{Path(module.__file__).stem}-{trial.__name__}")
          for module, share in SHARE.items() for trial in module.TRIALS]


@pytest.mark.parametrize(("trial", "share"), TRIALS)
def test_violations_never_occur(trial, share, tmp_path):
    try:
        row = trial(tmp_path, share)
    except Missing as exc:
        pytest.skip(str(exc))
    assert row.good, "\n".join(row.examples[:10])


@pytest.mark.parametrize("proof", [malice.executed_by_torch, malice.executed_by_pickle])
def test_the_malicious_files_do_run_where_they_are_trusted(proof, tmp_path):
    has_builtins = sys.version_info >= (3, 10)  # else globals without __builtins__ have no builtins
    assert proof(tmp_path) == [name for name in REAL if has_builtins or name != "code of marshal"]


def test_the_functions_of_the_package_that_payloads_name_are_there():
    names = [name for name in CALLS if name.startswith("audiocraft_export.")]
    assert len(names) > 1 and all(callable(pkgutil.resolve_name(name)) for name in names)
