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
    "memory": 1, "weights": 1, "hf.keys": 1, "hf.parts": 1, "hf.shards": 1,
    "model": 2, "diffusion": 2, "watermark": 2, "families": 2, "codec": 2, "loadback": 2, "names": 2, "portable": 2,
    "draft": 2,
    "provenance": 3, "staging": 3, "placing": 3, "writer": 3, "formats": 3, "hf.assembly": 3, "hf.built": 3,
    "hf.card.card": 3, "hf.card.curve": 3, "hf.card.facts": 3, "hf.card.frontmatter": 3, "hf.card.history": 3,
    "hf.card.kinds": 3, "hf.card.markdown": 3, "hf.card.marks": 3, "hf.card.metadata": 3, "hf.card.origin": 3,
    "hf.card.snippets": 3, "hf.card.training": 3, "hf.card.usage": 3, "hf.card.values": 3, "hf.codec.config": 3,
    "hf.codec.depth": 3, "hf.codec.encodec": 3, "hf.codec.keys": 3, "hf.codec.limits": 3, "hf.codec.proof": 3,
    "hf.codec.public": 3, "hf.codec.rebuilt": 3, "hf.codec.without_lstm": 3, "hf.hub.errors": 3, "hf.hub.files": 3,
    "hf.hub.push": 3, "hf.loading": 3, "hf.musicgen.conditions": 3, "hf.musicgen.files": 3,
    "hf.musicgen.generation": 3, "hf.musicgen.layout": 3, "hf.musicgen.maps": 3, "hf.musicgen.melody": 3,
    "hf.musicgen.musicgen": 3, "hf.musicgen.proof": 3, "hf.musicgen.refused": 3, "hf.musicgen.refusing": 3,
    "hf.musicgen.text": 3, "hf.musicgen.wider": 3, "hf.musicgen.without_cross": 3, "hf.proving": 3,
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
    for node in ast.walk(ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = module.split(".")[:-node.level] + (node.module.split(".") if node.module else [])
            yield from [".".join(home)] if ".".join(home) in FLOORS else \
                [".".join([*home, alias.name]) for alias in node.names]


def loaded_by(code):
    code += f"; import sys; print(*sorted({HEAVY} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_every_module_has_a_floor():
    modules = {".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py")}
    assert {name for name in modules if not name.startswith("demo.") and not name.endswith("__init__")} == {*FLOORS}


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
    "import contextlib, audiocraft_export.cli.main as c\nwith contextlib.suppress(SystemExit): c.main(['--help'])\n"
    "with contextlib.suppress(SystemExit): c.main(['run', '--help'])\nimport os"])
def test_the_package_and_its_help_load_nothing_heavy(code):
    assert loaded_by(code) & HEAVY == set()


def test_an_export_needs_neither_torch_nor_the_training_stack(make_xp, dora_dir):
    make_xp()
    assert loaded_by(f"import audiocraft_export as a; a.export_xp('0123', {str(dora_dir)!r})") == {"omegaconf"}


def test_modules_import_alone():
    for module in FLOORS:
        if module not in ("__main__", "dora_main", "solver", "memory", "ranks", "meanwhile", "train") \
                and not module.startswith("hf."):
            assert not loaded_by(f"import audiocraft_export.{module}") & {"torch", "hydra", "dora"}


def test_what_needs_the_extra_is_imported_by_nobody_else_at_once():
    for module in FLOORS:
        if not module.startswith("hf."):
            tree = ast.parse((PACKAGE / f"{module.replace('.', '/')}.py").read_text())
            assert not [node for node in tree.body if isinstance(node, ast.ImportFrom)
                        and (node.module or "").partition(".")[0] == "hf"], module


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
