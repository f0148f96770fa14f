"""The shape of the house: which module may import which, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import audiocraft_export

PACKAGE = Path(audiocraft_export.__file__).parent
FLOORS = {
    "version": 0, "errors": 0, "interrupts": 0, "options": 0, "interpolation": 0, "config": 0, "overrides": 0,
    "experiment": 0, "release": 0, "blob": 0, "finite": 0, "archive": 0, "archive_writer": 0, "tensor": 0,
    "edition": 0, "opened": 0, "private": 0, "hub_names": 0, "patterns": 0, "exposure": 0, "scrub": 0, "parallel": 0,
    "durable": 0, "progress": 0, "console": 0, "journal": 0, "task": 0, "batch": 0, "local": 0, "slurm": 0,
    "sbatch": 0, "extras": 0,
    "allowed": 1, "unpickle": 1, "repickle": 1, "safetensors_file": 1, "tree": 1, "plain": 1, "checkpoint": 1,
    "memory": 1, "weights": 1,
    "model": 2, "diffusion": 2, "watermark": 2, "families": 2, "codec": 2, "loadback": 2, "names": 2, "portable": 2,
    "provenance": 3, "staging": 3, "placing": 3, "writer": 3, "formats": 3,
    "sharing": 4, "export": 4, "drop_ins": 4, "verification": 4, "soundness": 4, "conversion": 4, "ranks": 4,
    "survey": 4, "targets": 4, "comparison": 4, "inspection": 4, "completion": 4, "meanwhile": 4,
    "commands.inspect": 4, "commands.run": 4, "commands.many": 4, "commands.list": 4, "commands.verify": 4,
    "commands.convert": 4,
    "solver": 5, "dora_main": 5, "cli": 5,
    "train": 6, "__main__": 6,
}
HEAVY = {"torch", "hydra", "dora", "omegaconf", "flashy", "audiocraft"}


def imports(module):
    """The modules of this package that one imports, anywhere in its code."""
    level = 1 + module.count(".")
    for node in ast.walk(ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == level:
            names = [alias.name for alias in node.names]
            yield from [f"commands.{name}" for name in names] if node.module == "commands" else \
                [node.module] if node.module else names


def loaded_by(code):
    code += f"; import sys; print(*sorted({HEAVY} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_every_module_has_a_floor():
    commands = {f"commands.{path.stem}" for path in PACKAGE.glob("commands/*.py")} - {"commands.__init__"}
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} | commands == set(FLOORS)


@pytest.mark.parametrize("module", FLOORS)
def test_imports_only_point_down(module):
    hosts = {name for name, floor in FLOORS.items() if floor == 5}
    for other in imports(module):
        if other in FLOORS:
            assert FLOORS[other] <= FLOORS[module], f"{module} imports {other}"
            assert not ({module, other} <= hosts and module != other), f"the hosts {module} and {other} know each other"


@pytest.mark.parametrize("code", [
    "import audiocraft_export", "import audiocraft_export; dir(audiocraft_export)",
    "from audiocraft_export import ExportOptions, ExportReport, ExportError, find_xp, list_xps",
    "import contextlib, audiocraft_export.cli as c\nwith contextlib.suppress(SystemExit): c.main(['--help'])\n"
    "with contextlib.suppress(SystemExit): c.main(['run', '--help'])\nimport os"])
def test_the_package_and_its_help_load_nothing_heavy(code):
    assert loaded_by(code) & HEAVY == set()


def test_an_export_needs_neither_torch_nor_the_training_stack(make_xp, dora_dir):
    make_xp()
    assert loaded_by(f"import audiocraft_export as a; a.export_xp('0123', {str(dora_dir)!r})") == {"omegaconf"}


def test_modules_import_alone():
    for module in FLOORS:
        if module not in ("__main__", "dora_main", "solver", "memory", "ranks", "meanwhile", "train"):
            assert not loaded_by(f"import audiocraft_export.{module}") & {"torch", "hydra", "dora"}


def test_public_names_resolve_and_unknown_ones_do_not():
    for name in audiocraft_export.__all__:
        assert getattr(audiocraft_export, name) and name in dir(audiocraft_export)
    with pytest.raises(AttributeError, match="nothing"):
        audiocraft_export.nothing  # noqa: B018


def test_the_hydra_group_has_exactly_the_options_with_their_defaults():
    from dataclasses import asdict

    import yaml
    config = PACKAGE / "config" if (PACKAGE / "config").is_dir() else PACKAGE.parent / "config"
    assert yaml.safe_load((config / "exporter" / "default.yaml").read_text()) == asdict(
        audiocraft_export.ExportOptions())
