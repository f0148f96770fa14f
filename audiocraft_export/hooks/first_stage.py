"""Check, before the first stage of a solver, that it stores the sections that the export needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from dora.xp import get_xp
from flashy.solver import BaseSolver

from ..checkpoint.checkpoint import refuse_config_file
from ..options import ExportOptions
from ..release.weights import refuse_unstored_weights
from .entry import is_library_method
from .messages import fatal_errors, is_main_running


@contextmanager
def check_first_stage(options: ExportOptions, trained: Any = None) -> Iterator[None]:
    """Check the stored sections of the solver that is exported, when it runs its first stage inside this context.

    All sections are registered only then. Solvers that override `state_dict` or `export` are not checked, because they
    may store or export anything.

    Args:
        options: how to export.
        trained: the solver that is exported. None is the first one of the present XP that defines `run` or inherits
            from ExportMixin; others may only help, such as a teacher that is evaluated.
    """
    sig = get_xp().sig if trained is None else None
    flashy_solver: Any = BaseSolver
    run_stage = flashy_solver.run_stage

    @wraps(run_stage)
    def check_and_run(solver: Any, *args: Any, **kwargs: Any) -> Any:
        if solver is trained or trained is None and _may_be_exported(solver, sig):
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


def _may_be_exported(solver: Any, sig: Any) -> bool:
    cls = type(solver)
    return solver.xp.sig == sig and (hasattr(cls, "export_after") or not is_library_method(cls.run))


def _check_sections(solver: Any, options: ExportOptions) -> None:
    sections = [*solver.stateful.sources]
    with fatal_errors(is_main_running()):
        refuse_config_file(sections, options.config, f"The state of {type(solver).__name__}")
        refuse_unstored_weights(sections, options.weights)
