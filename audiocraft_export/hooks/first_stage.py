"""What only a solver shows of its export before it trains: which sections it stores."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from flashy.solver import BaseSolver

from ..checkpoint.checkpoint import refuse_config_file
from ..options import ExportOptions
from ..release.weights import refuse_unstored_weights
from .entry import is_foreign
from .recovery import fatal_errors


@contextmanager
def check_first_stage(options: ExportOptions) -> Iterator[None]:
    """While inside, the first stage of a Flashy solver begins with a check of what it stores: by then it knows.

    A solver with a `state_dict` of its own may store anything, and one with an `export` of its own may export anything.
    """
    flashy_solver: Any = BaseSolver
    run_stage = flashy_solver.run_stage

    @wraps(run_stage)
    def check_and_run(solver: Any, *args: Any, **kwargs: Any) -> Any:
        flashy_solver.run_stage = run_stage
        cls = type(solver)
        if is_foreign(cls.state_dict) and is_foreign(getattr(cls, "export", run_stage)):
            _check_sections(solver, options)
        return run_stage(solver, *args, **kwargs)

    flashy_solver.run_stage = check_and_run
    try:
        yield
    finally:
        flashy_solver.run_stage = run_stage


def _check_sections(solver: Any, options: ExportOptions) -> None:
    sections = [*solver.stateful.sources]
    with fatal_errors(hasattr(solver.xp, "export_keys")):
        refuse_config_file(sections, options.config, f"What {type(solver).__name__} stores")
        refuse_unstored_weights(sections, options.weights)
