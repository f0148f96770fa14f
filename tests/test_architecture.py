"""Packages import only lower layers, imports have no cycles, and functions are short."""

import ast
import re
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import yaml

import audiocraft_export
from audiocraft_export import ExportOptions

PACKAGE = Path(audiocraft_export.__file__).parent
TESTS = Path(__file__).parent
BASE = ("version", "error_codes", "errors", "requirements", "signals", "progress", "options",
        "notebook")  # for all packages
PACKAGES = ("storage", "experiment", "checkpoint", "release", "formats", "signing", "verification", "sharing",
            "pipeline", "inspection", "jobs", "cli", "hooks")  # each package imports only earlier ones
ENTRY_POINTS = ("__init__", "__main__", "train", "demo")
HEAVY = {"torch", "hydra", "dora", "omegaconf", "flashy", "audiocraft", "transformers", "rich", "huggingface_hub",
         "cryptography"}
MAX_PARAMETERS = 5  # positional parameters, without self or cls
MAX_BODY_LINES = 40  # without the docstring


def modules(root=PACKAGE):
    """Return the path of each module of a package by dotted name, without the name of the package."""
    paths = {".".join(path.relative_to(root).with_suffix("").parts): path for path in root.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


def imports(name, path, known):
    """Return the modules that a module imports, also inside of functions."""
    home = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = home[:len(home) - node.level + 1] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                whole = ".".join([*base, alias.name])
                yield whole if whole in known else ".".join(base)


def graph(root=PACKAGE):
    found = modules(root)
    return {name: {other for other in imports(name, path, found) if other in found} for name, path in found.items()}


def upward(edges):
    """Return the imports of higher layers."""
    rank = dict.fromkeys(BASE, 0) | {name: number for number, name in enumerate(PACKAGES, 1)}
    return [f"{name} -> {other}" for name, others in edges.items() if name.split(".")[0] not in ENTRY_POINTS
            for other in others if rank.get(other.split(".")[0], 99) > rank[name.split(".")[0]]]


def circles(edges):
    """Return the modules that import themselves, directly or indirectly."""
    def reached(name, seen):
        for other in edges[name] - seen:
            seen.add(other)
            reached(other, seen)
        return seen
    return [name for name in edges if name in reached(name, set())]


def test_only_the_modules_that_everything_uses_are_flat():
    flat = {path.stem for path in PACKAGE.glob("*.py")}
    assert flat == {*BASE, "__init__", "__main__", "train"}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == {*PACKAGES, "demo"}


def test_a_package_has_at_most_fourteen_modules_and_a_one_line_docstring():
    for init in PACKAGE.rglob("*/__init__.py"):
        inside = [path for path in init.parent.iterdir() if path.suffix == ".py" and path != init
                  or (path / "__init__.py").exists()]
        assert len(inside) <= 14, init.parent
        assert len(init.read_text().splitlines()) == 1 and ast.get_docstring(ast.parse(init.read_text())), init


def test_only_transformers_and_cards_are_three_folders_deep():
    deep = {path.relative_to(PACKAGE).parts[:2] for path in PACKAGE.rglob("*.py")
            if len(path.relative_to(PACKAGE).parts) > 3}
    assert deep == {("formats", "transformers"), ("sharing", "card")}


def test_no_import_points_up():
    assert upward(graph()) == []


def test_no_module_imports_itself_over_others():
    assert circles(graph()) == []


@pytest.mark.parametrize(("name", "text", "finds"), [
    ("storage/writer.py", "from ..release.manifest import Manifest\n", "storage.writer -> release.manifest"),
    ("release/manifest.py", "def f():\n    from ..formats import registry\n", "release.manifest -> formats"),
    ("errors.py", "from .options import ExportOptions\nfrom .cli.main import main\n", "errors -> cli.main"),
])
def test_an_import_that_points_up_is_found(tmp_path, name, text, finds):
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    for module in ("options.py", "release/manifest.py", "cli/main.py"):
        (tmp_path / module).touch()
    (tmp_path / name).write_text(text)
    assert upward(graph(tmp_path)) == [finds]


def test_a_circle_is_found(tmp_path):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        (tmp_path / f"{name}.py").write_text(f"def f():\n    from .{other} import x\n")
    assert sorted(circles(graph(tmp_path))) == ["a", "b", "c"]


def test_neither_the_hooks_nor_the_command_line_import_each_other():
    hooks = {other.split(".")[0] for name, others in graph().items() if name.startswith("hooks.") for other in others}
    commands = {other.split(".")[0] for name, others in graph().items() if name.startswith("cli.") for other in others}
    assert hooks and not hooks & {"cli", "jobs"} and "hooks" not in commands


def untested_modules(root=PACKAGE, tests=TESTS):
    """Return modules with functions or classes that no test file of their package imports."""
    for name, path in sorted(modules(root).items()):
        package, _, last = f"audiocraft_export.{name}".rpartition(".")
        top = name.split(".")[0]
        has_logic = any(isinstance(node, (ast.FunctionDef, ast.ClassDef)) for node in ast.parse(path.read_text()).body)
        if top in PACKAGES and has_logic:
            importing = re.compile(rf"{re.escape(package)}\.{last}\b|from {re.escape(package)} import [^\n]*\b{last}\b")
            if not any(importing.search(test.read_text()) for test in (tests / top).rglob("*.py")):
                yield name


def test_every_module_with_logic_is_imported_by_a_test_of_its_package():
    assert [*untested_modules()] == []


def test_a_module_that_only_the_tests_of_another_package_import_is_found(tmp_path):
    for name, text in (("storage/writer.py", "def f(): pass"), ("storage/limits.py", "MAX = 1"),
                       ("tests/cli/test_main.py", "from audiocraft_export.storage import writer")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [*untested_modules(tmp_path, tmp_path / "tests")] == ["storage.writer"]


def functions(tree, owner=None):
    """Yield each function of a module, nested ones too, and whether its first parameter is self or cls."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in node.decorator_list)
            yield node, isinstance(owner, ast.ClassDef) and not static
            yield from functions(node, node)
        else:
            yield from functions(node, node if isinstance(node, ast.ClassDef) else owner)


def body_lines(function):
    """Return the number of lines of a function body, without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def with_many_parameters(root=PACKAGE):
    """Return functions with more than five positional parameters, and the number of parameters."""
    for name, path in sorted(modules(root).items()):
        for function, is_method in functions(ast.parse(path.read_text())):
            count = len(function.args.posonlyargs + function.args.args) - is_method
            if count > MAX_PARAMETERS:
                yield f"{name}.{function.name}: {count}"


def with_long_bodies(root=PACKAGE):
    """Return functions with bodies of more than 40 lines, and the number of lines."""
    for name, path in sorted(modules(root).items()):
        for function, _ in functions(ast.parse(path.read_text())):
            if body_lines(function) > MAX_BODY_LINES:
                yield f"{name}.{function.name}: {body_lines(function)}"


def test_no_function_takes_more_than_five_positional_parameters():
    assert [*with_many_parameters()] == []


def test_no_function_body_is_over_forty_lines():
    assert [*with_long_bodies()] == []


def test_a_function_with_six_positional_parameters_is_found(tmp_path):
    (tmp_path / "module.py").write_text(
        "def five(a, b, c, d, e, *more, f=1, **others): pass\n"
        "def six(a, b, /, c, d, e, f=1):\n    def inner(a, b, c, d, e, f): pass\n"
        "class Class:\n    def method(self, a, b, c, d, e): pass\n"
        "    if True:\n        def long(self, a, b, c, d, e, f): pass\n"
        "    @staticmethod\n    def static(a, b, c, d, e, f): pass\n")
    assert [*with_many_parameters(tmp_path)] == ["module.six: 6", "module.inner: 6", "module.long: 6",
                                                 "module.static: 6"]


def test_a_body_of_forty_one_lines_is_found(tmp_path):
    lines, docstring = "    pass\n" * MAX_BODY_LINES, '    """One.\n\n    Three.\n    """\n'
    (tmp_path / "module.py").write_text(
        f"def right():\n{docstring}{lines}\ndef long():\n{docstring}{lines}    pass\ndef stub():\n{docstring}")
    assert [*with_long_bodies(tmp_path)] == ["module.long: 41"]


def loaded_by(code):
    code += f"\nimport sys; print(*sorted({HEAVY} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("code", [
    "import audiocraft_export", "import audiocraft_export; dir(audiocraft_export)",
    "from audiocraft_export import ExportOptions, ExportReport, ExportError, find_xp, list_xps",
    "import contextlib, audiocraft_export.cli.main as c\nwith contextlib.suppress(SystemExit): c.main(['--help'])\n"
    "with contextlib.suppress(SystemExit): c.main(['run', '--help'])\nimport os"])
def test_the_package_and_its_help_load_nothing_heavy(code):
    assert loaded_by(code) == set()


def test_a_training_loads_the_export_only_when_it_exports():
    code = ("from audiocraft_export import with_export\nimport sys\n"
            "print([name for name in sys.modules if name == 'flashy' or name.startswith(\n"
            "    ('audiocraft_export.pipeline.', 'audiocraft_export.release.', 'audiocraft_export.checkpoint.'))])")
    result = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_an_export_needs_neither_torch_nor_the_training_stack(make_xp, dora_dir):
    make_xp()
    assert loaded_by(f"import audiocraft_export as a; a.export_xp('0123', {str(dora_dir)!r})") == {"omegaconf"}


def test_only_hooks_import_torch_or_hydra_at_the_top():
    names = [name for name in modules() if name.split(".")[0] not in ("hooks", "train", "demo", "__main__")
             and name != "checkpoint.torch_tensors" and not name.startswith("formats.transformers.")]
    heavy = {"torch", "hydra", "dora"}
    if loaded_by("; ".join(f"import audiocraft_export.{name}" for name in names)) & heavy:
        for name in names:
            assert not loaded_by(f"import audiocraft_export.{name}") & heavy, name


def test_public_names_resolve_and_unknown_ones_do_not():
    for name in audiocraft_export.__all__:
        assert getattr(audiocraft_export, name) and name in dir(audiocraft_export)
    with pytest.raises(AttributeError, match="nothing"):
        audiocraft_export.nothing  # noqa: B018


def test_the_hydra_group_has_exactly_the_options_with_their_defaults_and_descriptions():
    config = PACKAGE / "config" if (PACKAGE / "config").is_dir() else PACKAGE.parent / "config"
    text = (config / "exporter" / "default.yaml").read_text()
    assert yaml.safe_load(text) == asdict(ExportOptions())
    comments = {name: " ".join(comment.replace("# ", "").split())
                for comment, name in re.findall(r"^((?:# .*\n)+)(\w+):", text, re.MULTILINE)}
    assert comments == {field.name: field.metadata["help"] for field in fields(ExportOptions)}


def test_only_modules_that_need_an_extra_import_it_at_the_top():
    needs_it = ("formats.transformers", "sharing.card", "sharing.hub")
    names = [name for name in modules() if name.split(".")[0] not in ("hooks", "train", "demo", "__main__")
             and not name.startswith(needs_it) and name != "checkpoint.torch_tensors"]
    code = "; ".join(f"import audiocraft_export.{name}" for name in names)
    assert not loaded_by(code) & {"transformers", "huggingface_hub"}
