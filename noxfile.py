"""Test matrix: from the oldest torch that AudioCraft pins to the latest one, on every supported Python.

`nox` runs all combinations, `nox -s "tests(python='3.9', torch='2.1.0')"` runs one.
"""

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
MATRIX = [("3.9", "2.1.0"), ("3.10", "2.4.1"), ("3.11", "2.13.0"), ("3.12", "2.6.0"), ("3.13", "2.13.0")]
ALL_TESTS = ["-o", "norecursedirs=tests/audiocraft tests/slurm tests/scanners"]
# By torch version: limits for packages whose latest version requires a later torch.
PINS = {"2.1.0": ["numpy<2"], "2.4.1": ["transformers<5"]}


@nox.session
@nox.parametrize(("python", "torch"), MATRIX)
def tests(session: nox.Session, torch: str) -> None:
    """Run the tests with one version of torch."""
    pins = PINS.get(torch, [])
    session.install(f"torch=={torch}", *pins, "setuptools")
    session.install("-e", ".[dev]", *pins)
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "worksteal", *(session.posargs or ALL_TESTS))


@nox.session(python="3.10")
def audiocraft(session: nox.Session) -> None:
    """Run the tests with real AudioCraft and the versions that it pins: torch 2.1.0 and numpy 1."""
    folder, repository = Path(session.create_tmp()).resolve(), Path(__file__).parent.resolve()
    session.run(str(repository / "tests/audiocraft/setup.sh"), str(folder), "python", "torch-2.1.txt", external=True)
    source = folder / "audiocraft-1.3.0"
    session.run(str(folder / "venv/bin/python"), "-m", "pytest", "-n", "2", "--dist", "loadfile",
                "--no-loadscope-reorder", "--disable-warnings", *(session.posargs or ["tests/audiocraft"]),
                external=True, env={"AUDIOCRAFT_SRC": str(source), "PYTHONPATH": f"{source}:{repository}"})
