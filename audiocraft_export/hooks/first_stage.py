"""Check, before the first stage of a solver, that it stores the sections that the export needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from flashy.solver import BaseSolver

from ..checkpoint.checkpoint import refuse_config_file
from ..options import ExportOptions
from ..release.weights import refuse_unstored_weights
from .entry import is_library_method
from .messages import fatal_errors, is_main_running


@contextmanager
def check_first_stage(options: ExportOptions) -> Iterator[None]:
    """Check the stored sections of the first Flashy solver that runs a stage inside this context.

    All sections are registered only then. Solvers that override `state_dict` or `export` are not checked, because they
    may store or export anything.
    """
    flashy_solver: Any = BaseSolver
    run_stage = flashy_solver.run_stage

    @wraps(run_stage)
    def check_and_run(solver: Any, *args: Any, **kwargs: Any) -> Any:
        flashy_solver.run_stage = run_stage
        cls = type(solver)
        if is_library_method(cls.state_dict) and is_library_method(getattr(cls, "export", run_stage)):
            _check_sections(solver, options)
        return run_stage(solver, *args, **kwargs)

    flashy_solver.run_stage = check_and_run
    try:
        yield
    finally:
        flashy_solver.run_stage = run_stage


def _check_sections(solver: Any, options: ExportOptions) -> None:
    sections = [*solver.stateful.sources]
    with fatal_errors(is_main_running()):
        refuse_config_file(sections, options.config, f"The state of {type(solver).__name__}")
        refuse_unstored_weights(sections, options.weights)
