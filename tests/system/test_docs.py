"""README.md, CONTRIBUTING.md and docs/: their commands can be run, and what they name exists."""

import argparse
import json
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import documents
import pytest
import yaml
from documents import BLOCKS, PAGES, ROOT, name_of
from helpers import dora, only_xp
from sharing.hub.hub_server import TOKEN, Hub

import audiocraft_export
from audiocraft_export import ExportOptions
from audiocraft_export.cli import main as cli
from audiocraft_export.error_codes import ERRORS, WARNINGS
from audiocraft_export.options import CHOICES
from audiocraft_export.release.families.registry import FAMILIES
from audiocraft_export.release.manifest import Manifest

sys.path.append(str(ROOT / "docs"))
import generate  # noqa: E402

PACKAGE = Path(audiocraft_export.__file__).parent
LOOKS_LIKE_A_COMMAND = re.compile(r"\s*(\$ |(python|pip|make|dora|nox|export) |audiocraft-export (?!\w*:))")
FLAGS_OF_OTHERS = {"--clear", "--ddp_workers", "--multirun", "--no_tail", "--no_monitoring", "--no_git_save",
                   "--signal", "--name", "--shell"}


@pytest.fixture
def hub(tmp_path):
    """The environment of the client of a local Hub."""
    with Hub() as server:
        server.writable = "your-org"
        yield {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
               "HF_HUB_DISABLE_XET": "1"}


@pytest.mark.parametrize("page", documents.pages_of("page"), ids=name_of)
def test_every_command_of_a_page_can_be_run(page, hub, tmp_path):
    documents.run_page(page, "page", tmp_path, hub)


def test_every_block_has_a_runner():
    assert [block.where for block in BLOCKS if block.runner == "nobody"] == []
    for mark in documents.MARKS:
        assert f'documents.pages_of("{mark}")' in (ROOT / "tests" / mark / "test_docs.py").read_text()


def test_blocks_that_are_only_shown_have_no_commands():
    shown = [block for block in BLOCKS if block.runner is None and block.language == "text"]
    assert [block.where for block in shown if any(map(LOOKS_LIKE_A_COMMAND.match, block.text.splitlines()))] == []


def test_every_code_that_is_shown_is_one_of_the_registry():
    shown = {code for page in PAGES for code in re.findall(r"(?:error|warning)\[([\w-]+)\]", page.read_text())}
    assert shown and shown <= {*ERRORS, *WARNINGS, "CODE", "code"}


def test_json_and_yaml_that_are_shown_are_such():
    for block in BLOCKS:
        if block.language in ("json", "yaml"):
            assert yaml.safe_load(block.text) if block.language == "yaml" else json.loads(block.text), block.where


def project_file():
    return (ROOT / "pyproject.toml").read_text()


def setup_lines():
    return [line.partition("#")[0].strip() for block in BLOCKS if block.runner == "setup"
            for line in block.text.splitlines() if line.strip()]


def make_targets():
    spans = re.findall(r"`(?:[A-Z_]+=\S+ )?make ([\w-]+)`", "".join(page.read_text() for page in PAGES))
    return sorted({*spans, *(line.split()[1] for line in setup_lines() if line.startswith("make "))})


def test_every_target_that_is_named_is_one_of_the_makefile():
    assert {"demo", "test"} <= set(make_targets())
    for target in make_targets():
        result = subprocess.run(["make", "-n", target], cwd=ROOT, text=True, capture_output=True)
        assert result.returncode == 0, result.stderr


def test_setup_blocks_have_commands_of_ci():
    optional = re.findall(r'"([a-z][\w-]*)[>=]', project_file().partition("[project.optional-dependencies]")[2])
    install = rf"(python -m venv \S+ && \S+/bin/)?pip install( (\.|'?({'|'.join(optional)})(>=[\d.]+)?'?))+"
    for line in setup_lines():
        assert re.fullmatch(rf"make( [\w-]+)?|{install}|nox( -s \w+)?", line), line
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    named = re.findall(r"nox -s (\w+)", "".join(page.read_text() for page in PAGES))
    assert set(named) <= set(sessions)


def test_no_page_and_no_module_names_an_extra_of_this_package_which_is_on_no_index():
    modules = [*PACKAGE.rglob("*.py"), *(ROOT / "config").rglob("*.yaml")]
    for path in [page for page in PAGES if page.name != "CONTRIBUTING.md"] + modules:
        assert not re.search(r"\.\[[a-z]+\]'|audiocraft.export\[|\bthe extras?\b", path.read_text()), path


def test_screenshots_show_experiments_of_the_demo(tmp_path):
    assert dora("run", cwd=tmp_path, package="audiocraft_export.demo").returncode == 0
    code = "import sys, pathlib, screenshots; screenshots.draw(*map(pathlib.Path, sys.argv[1:]), 'list')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(tmp_path / "list.svg")], cwd=ROOT / "docs",
                   check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    drawn, listed, inspected = (
        " ".join(ElementTree.parse(path).getroot().itertext())
        for path in (tmp_path / "list.svg", ROOT / "docs" / "list.svg", ROOT / "docs" / "inspect.svg"))
    assert only_xp(tmp_path).name in drawn
    assert "$\xa0audiocraft-export\xa0list" in listed and "$\xa0audiocraft-export\xa0inspect" in inspected


def anchors_of(page):
    """The anchors of the headings of a page on GitHub."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_the_files_of_the_repository_link_to_files_and_headings_that_exist(name):
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):  # make docs checks the links of the site
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        if "://" not in link:
            assert path.exists() and (not anchor or anchor in anchors_of(path)), link


def test_the_navigation_of_the_site_has_every_page():
    nav = [name for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"] for name in entry.values()]
    stored = [page.name for page in PAGES if page.parent.name == "docs"]
    assert sorted(nav) == sorted([*stored, *generate.pages()])


def test_every_option_verb_and_code_has_a_heading_on_a_generated_page():
    pages = generate.pages()
    headings = {name: re.findall(r"^##+ .*\{ #([\w-]+) \}$", text, re.MULTILINE) for name, text in pages.items()}
    assert headings["options.md"] == [*(field.name for field in fields(ExportOptions)), "presets"]
    assert headings["command-line.md"] == [*generate.verbs(cli._build_parser())]
    assert headings["errors.md"] == [code for codes in generate.topics().values() for code in codes]
    assert {*headings["errors.md"]} == {*ERRORS, *WARNINGS} and len(generate.topics()) > 5


def test_the_generated_pages_have_every_flag_value_default_and_public_name():
    pages = generate.pages()
    assert all(f"`{flag}" in pages["command-line.md"] for flag in own_flags() - {"-h", "--help", "--version"})
    assert all(f"`{value}`" in pages["options.md"] for values in CHOICES.values() for value in values if value)
    assert all(f"exporter.{field.name}`" in pages["options.md"] for field in fields(ExportOptions))
    documented = re.findall(r"^::: audiocraft_export\.(\w+)$", pages["api.md"], re.MULTILINE)
    assert sorted(documented) == sorted(audiocraft_export.__all__) and "## More" not in pages["api.md"]


def test_the_files_of_the_repository_become_pages_of_the_site():
    contributing = generate.pages()["contributing.md"]
    assert "](guarantees.md)" in contributing and "](docs/" not in contributing
    text = "[A](../README.md#b) [C](x.md) [D](../LICENSE) [E](https://e/f) [G](../gone.md) [H](../CHANGELOG.md)"
    assert generate.on_page_markdown(text) == (
        "[A](index.md#b) [C](x.md) D (`LICENSE`) [E](https://e/f) [G](../gone.md) [H](changelog.md)")
    assert generate.on_page_markdown("```bash slurm\nx\n```\n```python\n# a/b.py\ny\n```\n") == (
        '```bash\nx\n```\n```python title="a/b.py"\ny\n```\n')


def test_the_version_to_cite_is_that_of_the_package():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == audiocraft_export.__version__ and cited["cff-version"] == "1.2.0"


def own_flags():
    """All flags of the command."""
    found, parsers = set(), [cli._build_parser()]
    for parser in parsers:
        for action in parser._actions:
            found |= set(action.option_strings)
            parsers += action.choices.values() if isinstance(action, argparse._SubParsersAction) else []
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_flag_that_is_named_is_one_of_the_command(page):
    named = re.findall(r"`[^`\n]*?(--[a-z][\w-]*)[^`\n]*`", page.read_text())
    assert set(named) <= own_flags() | FLAGS_OF_OTHERS


def inline_commands():
    """Commands within sentences, as words."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"(?<!`)`((?:dora|audiocraft-export) [^`]*)`(?!`)", text):
            yield [word for word in shlex.split(span) if word != "..."]


def test_commands_within_sentences_are_forms_that_exist():
    parser = cli._build_parser()
    for command, *words in inline_commands():
        if command == "audiocraft-export" and len(words) > 1:
            parser.parse_args([word for word in words if word not in ("--help",)])  # exits if it is wrong
        elif command == "dora":
            assert words[0] in ("run", "launch", "grid", "info", "-P"), words
            assert not [word for word in words if "=" in word] or "SIG" in words, f"{words}: make it a block"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_is_named_exists(page):
    named = re.findall(r"\bexporter\.([a-z_]+)\b(?!\.ya?ml)", page.read_text())
    assert set(named) <= {field.name for field in fields(ExportOptions)}


def rows_of(page, heading):
    """The code spans in the first cells of the table under a heading."""
    text = (ROOT / page).read_text().partition(f"{heading}\n")[2]
    table = re.search(r"^\|.*?(?=\n\n)", text + "\n\n", re.MULTILINE | re.DOTALL)[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", line.split(" | ")[0]) for line in table]


def test_every_family_has_a_line_in_the_table():
    named = {name for names in rows_of("docs/audiocraft.md", "## What is released") for name in names}
    assert set(FAMILIES) - named <= {"lm", "sound_lm"}


def test_the_manifest_is_described_key_by_key():
    keys = [*(field.name for field in fields(Manifest)), "checksum"]
    assert [names[0] for names in rows_of("docs/formats.md", "## The manifest")] == keys
    examples = [json.loads(block.text) for block in BLOCKS if block.page.name == "formats.md" and block.info == "json"]
    assert keys in [list(example) for example in examples]


def architecture():
    return (ROOT / "docs" / "architecture.md").read_text()


def test_every_package_is_in_the_picture_of_the_architecture():
    picture = re.search(r"^```text\n(.*?)^```", architecture(), re.M | re.S)[1]
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} <= set(re.findall(r"^\w+", picture, re.M))


def test_the_steps_of_an_export_are_functions_of_the_modules_that_the_page_names():
    steps = re.findall(r"^\| `(\w+)` \| `([\w/]+\.py)` \|", architecture(), re.M)
    assert len(steps) > 10
    for name, module in steps:
        assert re.search(rf"^(def|class) {name}\b", (PACKAGE / module).read_text(), re.M), (name, module)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_module_that_is_named_exists(page):
    for name in re.findall(r"`((?!tests/)\w+(?:/\w+)+\.py)`", page.read_text()):
        written = {block.path for block in BLOCKS if block.page == page}
        assert (PACKAGE / name).exists() or (ROOT / name).exists() or name in written, name
