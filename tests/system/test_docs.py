"""README.md and docs/: every command in them can be run as it stands there, and what they name exists."""

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import documents
import pytest
import torch
import yaml
from documents import BLOCKS, PAGES, ROOT, name_of
from helpers import dora, only_xp, solver_state, with_cfg
from sharing.hub.hub_server import TOKEN, Hub

import audiocraft_export
from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.cli import main as cli
from audiocraft_export.options import CHOICES
from audiocraft_export.release.families.registry import FAMILIES
from audiocraft_export.release.manifest import Manifest

ON_CODEC = {"solver": "musicgen", "compression_model_checkpoint": "//sig/3c9d0a55"}
PROCESSOR = {"counts": torch.ones(1), "sum_x": torch.arange(3.0)}
BAND = {"solver": "diffusion", "sample_rate": 32000, "channels": 1, "schedule": {"num_steps": 1000},
        "diffusion_unet": {"hidden": 8}, "processor": {"use": True}}
BANDS = ("1b70c3d2", "2c81d4e3", "3d92e5f4", "4ea3f605")
LOOKS_LIKE_A_COMMAND = re.compile(r"\s*(\$ |(python|pip|make|dora|nox|export) |audiocraft-export (?!\w*:))")
FLAGS_OF_OTHERS = {"--ddp_workers", "--multirun", "--no_tail", "--no_monitoring", "--no_git_save", "--signal",
                   "--name"}


def store(outputs, sig, argv, losses=(), planned=20, **sections):
    """An XP as Dora, Hydra and a solver leave it; its checkpoint is made by torch."""
    folder = outputs / "xps" / sig
    (folder / ".hydra").mkdir(parents=True)
    history = [{"train": {"ce": 9.}, "valid": {"ce": loss}} for loss in losses]
    torch.save(solver_state(**{"sig": sig, "history": history, **sections}), folder / "checkpoint.th")
    solver = sections["xp.cfg"].solver
    (folder / ".argv.json").write_text(json.dumps(argv))
    (folder / "history.json").write_text(json.dumps(history))
    (folder / ".hydra" / "config.yaml").write_text(f"solver: {solver}\noptim:\n  epochs: {planned}\n")
    return folder


def store_all(outputs):
    """A compression model, two language models on it (the release of one is stale), and four bands."""
    store(outputs, "3c9d0a55", ["solver=compression/debug"], [1.5, 1.2],
          **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    store(outputs, "5ad2c1f0", ["dim=512", "lr=3e-4"], [4., 3.5, 3.398], **{"xp.cfg": with_cfg(**ON_CODEC, dim=512)})
    folder = store(outputs, "9357e12e", ["dim=1024", "lr=1e-4"], [4., 3.3, 3.214, 3.22],
                   **{"xp.cfg": with_cfg(**ON_CODEC, dim=1024)})
    export_xp("9357e12e", outputs)
    later = (folder / "checkpoint.th").stat().st_mtime + 1
    os.utime(folder / "checkpoint.th", (later, later))
    for index, sig in enumerate(BANDS):
        split = {"filter": {"use": True, "n_bands": len(BANDS), "idx_band": index, "cutoffs": None}}
        store(outputs, sig, [f"filter.idx_band={index}"], planned=50, sample_processor=PROCESSOR,
              **{"xp.cfg": with_cfg(**BAND, **split)})


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """A Dora folder: the demo, trained by the real `dora`, and experiments of AudioCraft."""
    folder = tmp_path_factory.mktemp("trained")
    result = dora("run", "checkpoint.save_every=1", cwd=folder, package="audiocraft_export.demo")
    assert result.returncode == 0 and only_xp(folder).name == "97d170e1", result.stderr
    store_all(folder / "outputs")
    grid = folder / "outputs" / "grids" / "lr_sweep"
    grid.mkdir(parents=True)
    for sig in ("5ad2c1f0", "9357e12e"):
        (grid / sig).symlink_to(folder / "outputs" / "xps" / sig)
    return folder / "outputs"


@pytest.fixture
def place(outputs, tmp_path):
    """The folder that a page stands in: `outputs`, what somebody copied from elsewhere, a project."""
    written = [block for block in BLOCKS if block.page.name == "flashy.md" and block.path]
    for block in written[:3]:
        path = tmp_path / "place" / block.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    (tmp_path / "place" / "proj" / "__init__.py").touch()
    shutil.copytree(outputs, tmp_path / "place" / "outputs", symlinks=True)
    shutil.copytree(outputs / "xps" / "5ad2c1f0", tmp_path / "place" / "old" / "5ad2c1f0")
    shutil.copytree(outputs, tmp_path / "place" / "cluster", symlinks=True)
    return tmp_path / "place"


def environment():
    return {name: value for name, value in os.environ.items()
            if name not in ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE", "DORA_MAIN_MODULE", "RANK", "WORLD_SIZE")}


@pytest.fixture
def hub(tmp_path):
    """A Hub, and what its client has to know of it."""
    with Hub() as server:
        server.writable = "your-org"
        yield {"HF_ENDPOINT": server.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
               "HF_HUB_DISABLE_XET": "1"}


@pytest.mark.parametrize("page", documents.pages_of("page"), ids=name_of)
def test_every_command_of_a_page_can_be_run(page, place, hub, tmp_path):
    env = {**environment(), **hub, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    result = documents.run_page(page, "page", place, tmp_path / "tools", env)
    documents.check_shown(page, "page", result)


def test_there_is_no_block_that_nobody_runs():
    assert [block.where for block in BLOCKS if block.runner == "nobody"] == []
    for mark in documents.MARKS:
        assert f'documents.pages_of("{mark}")' in (ROOT / "tests" / mark / "test_docs.py").read_text()


def test_what_is_only_shown_holds_no_command():
    shown = [block for block in BLOCKS if block.runner is None and block.language == "text"]
    assert [block.where for block in shown if any(map(LOOKS_LIKE_A_COMMAND.match, block.text.splitlines()))] == []


def test_json_and_yaml_that_are_shown_are_such():
    for block in BLOCKS:
        if block.language in ("json", "yaml"):
            assert yaml.safe_load(block.text) if block.language == "yaml" else json.loads(block.text), block.where


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


def test_what_installs_and_sets_up_is_what_ci_does():
    install = r"(python -m venv \S+ && \S+/bin/)?pip install (\.|'\.\[\w+\]')"
    for line in setup_lines():
        assert re.fullmatch(rf"make [\w-]+|{install}|nox( -s \w+)?", line), line
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
    named = re.findall(r"nox -s (\w+)", "".join(page.read_text() for page in PAGES))
    assert set(named) <= set(sessions)


def anchors_of(page):
    """What the headings of a page are called in links, as GitHub makes it."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_screenshots_are_what_a_terminal_shows(outputs, tmp_path):
    code = "import sys, pathlib, screenshots; screenshots.draw(*map(pathlib.Path, sys.argv[1:]), 'list')"
    subprocess.run([sys.executable, "-c", code, str(outputs.parent), str(tmp_path / "list.svg")], cwd=ROOT / "docs",
                   check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment())
    drawn = {name: " ".join(ElementTree.parse(folder / name).getroot().itertext())
             for folder, name in ((tmp_path, "list.svg"), (ROOT / "docs", "inspect.svg"))}
    assert "9357e12e" in drawn["list.svg"] and "$\xa0audiocraft-export\xa0inspect" in drawn["inspect.svg"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        path = (page.parent / name).resolve() if name else page
        if "://" not in link:
            assert path.exists() and (not anchor or anchor in anchors_of(path)), link


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []


def own_flags():
    """All flags of our command."""
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


def rows_of(page, heading):
    """The first cells of the table under a heading, without their marks."""
    text = (ROOT / page).read_text().partition(f"{heading}\n")[2]
    table = re.search(r"^\|.*?(?=\n\n)", text + "\n\n", re.MULTILINE | re.DOTALL)[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", line.split(" | ")[0]) for line in table]


def test_the_table_of_options_has_all_of_them_and_their_values():
    text = (ROOT / "README.md").read_text()
    assert [names[0] for names in rows_of("README.md", "## Options") if names] == [
        field.name for field in fields(ExportOptions)]
    for values in CHOICES.values():
        assert all(f"`{value}`" in text for value in values if value)


def test_every_family_has_a_line_in_the_table():
    named = {name for names in rows_of("docs/audiocraft.md", "## What is released") for name in names}
    assert set(FAMILIES) - named <= {"lm", "sound_lm"}


def test_the_manifest_is_described_key_by_key():
    keys = [*(field.name for field in fields(Manifest)), "checksum"]
    assert [names[0] for names in rows_of("docs/format.md", "## The manifest, key by key")] == keys
    example, = [json.loads(block.text) for block in BLOCKS if block.page.name == "format.md" and block.info == "json"]
    assert list(example) == keys


def test_every_package_is_in_the_picture_of_the_architecture():
    picture = re.search(r"^```text\n(.*?)^```", (ROOT / "docs" / "architecture.md").read_text(), re.M | re.S)[1]
    package = Path(audiocraft_export.__file__).parent
    assert {path.parent.name for path in package.glob("*/__init__.py")} <= set(re.findall(r"^\w+", picture, re.M))


def test_the_steps_of_an_export_are_functions_of_the_modules_that_the_page_names():
    text = (ROOT / "docs" / "architecture.md").read_text()
    steps = re.findall(r"^\| `(\w+)` \| `([\w/]+\.py)` \|", text, re.M)
    package = Path(audiocraft_export.__file__).parent
    assert len(steps) > 10
    for name, module in steps:
        assert re.search(rf"^(def|class) {name}\b", (package / module).read_text(), re.M), (name, module)


def test_every_module_that_the_architecture_names_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    package = Path(audiocraft_export.__file__).parent
    for name in re.findall(r"`((?!tests/)\w+(?:/\w+)+\.py)`", text):
        assert (package / name).exists() or (ROOT / name).exists(), name
