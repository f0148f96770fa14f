"""Generate pages of the documentation from the code, and adapt the others: hooks of MkDocs, as mkdocs.yml names them.

The pages are not stored: command-line.md is generated from the parser, options.md from ExportOptions, json.md from
schema.json, errors.md from error_codes.py; api.md lists the public names for mkdocstrings; contributing.md and
changelog.md are the files of the repository.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import textwrap
from collections.abc import Iterator
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from unittest import mock

import audiocraft_export
from audiocraft_export import ExportOptions, error_codes
from audiocraft_export.cli.main import DESCRIPTION, _build_parser
from audiocraft_export.cli.parser import commands
from audiocraft_export.cli.verbs.explain import explanation
from audiocraft_export.error_codes import ERRORS, WARNINGS
from audiocraft_export.options import CHOICES, PRESETS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SCHEMA = ROOT / "audiocraft_export" / "cli" / "schema.json"
COLUMNS = "90"  # width of usages
FENCE = re.compile(r"^```(?P<language>\w+)(?: \w+)?\n(?:# (?P<path>[\w./-]+/[\w.-]+\.(?:py|yaml))\n)?", re.MULTILINE)
OF_REPOSITORY = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
DEFAULT = re.compile(r"\s*\(default: (.*?)\)", re.DOTALL)
TOPIC_OR_CODE = re.compile(r'^    (?:# (?P<topic>.+)|"(?P<code>[a-z-]+)": """)$', re.MULTILINE)
FREE_VALUES = {  # values of the options without a fixed set of them
    "folder": "a path", "weights": "`best`, `ema`, `last`, SECTION or SECTION.PART",
    "checkpoint": "an epoch or a name", "version": "a string such as `1.3.0`", "when": "`end`, `best` or a number",
    "max_shard_size": "a number of bytes, or a size such as `5GB`", "card": "`true` or `false`",
    "scrub": f"a pattern, a preset ({', '.join(f'`{name}`' for name in PRESETS)}) or a list of them",
    "hub": "ORG/NAME", "private": "`true` or `false`", "revision": "a branch", "config": "a path",
    "metric": "NAME or STAGE.NAME, with an optional `:min` or `:max`", "force": "`true` or `false`",
    "digest": "`true` or `false`", "source_digest": "`true` or `false`",
    "sign": "a path", "attest": "`true` or `false`",
}
API = {  # public names by topic
    "Export at the end of a training": ["with_export", "ExportMixin"],
    "Export stored experiments": ["export_xp", "export_checkpoint"],
    "Find and inspect experiments": ["find_xp", "list_xps", "inspect"],
    "Load, convert and verify a release": ["load_release", "convert", "verify"],
    "Options, reports and errors": ["ExportOptions", "ExportReport", "ExportError"],
    "Functions of audiocraft.utils.export": ["export_lm", "export_encodec", "export_pretrained_compression_model"],
}
RETURNED = {  # classes of which the public functions return instances, with the members to describe
    "inspection.experiments.XP": ["overrides", "epochs", "metric", "best", "best_epoch", "release"],
    "experiment.xp.Experiment": ["dora_dir", "argv", "history", "checkpoints", "checkpoint"],
    "inspection.file_summary.FileSummary": ["largest", "keys", "to_dict"],
    "inspection.loaded_release.Release": [], "inspection.loaded_release.LazyWeights": [],
    "inspection.loaded_release.CompressionModel": [],
    "verification.release.Verification": ["ok"],
}
MEMBERS = {"ExportOptions": ["from_mapping", "replace"]}  # of classes that have others for internal use


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the files of the site."""
    from mkdocs.structure.files import File
    for name, content in pages().items():
        files.append(File.generated(config, name, content=content))
    return files


def pages() -> dict[str, str]:
    """Return the Markdown of each generated page, by its file name."""
    return {"command-line.md": command_line(), "options.md": options(), "json.md": json_lines(),
            "errors.md": errors(), "api.md": api(), "contributing.md": of_repository("CONTRIBUTING.md"),
            "changelog.md": of_repository("CHANGELOG.md")}


def command_line() -> str:
    """Return the page of the command: a section per verb, with its usage, arguments and examples."""
    with mock.patch.dict(os.environ, COLUMNS=COLUMNS):
        parser = _build_parser()
        return "\n\n".join(["# Command line", f"`audiocraft-export` (or `python -m audiocraft_export`). {DESCRIPTION}",
                            *_overview(parser),
                            *(part for name, verb in verbs(parser).items() for part in _verb(name, verb))]) + "\n"


def verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of the verbs by their names."""
    return commands(parser)


def _subparsers(parser: argparse.ArgumentParser) -> Any:
    return next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _overview(parser: argparse.ArgumentParser) -> Iterator[str]:
    named = _subparsers(parser)._choices_actions
    rows = [f"| [`{each.metavar}`](#{each.dest}) | {_prose(each.help)} |" for each in named]
    yield "\n".join(["| Command | What it does |", "| --- | --- |", *rows])
    yield ("The options `--dora-dir`, `-P`, `--json`, `-q`, `-v` and `--debug` may stand before the command or after "
           "it. `-V` (`--version`) prints the version.")
    yield ("Exit codes: 0 if all is done, 1 if something could not be exported or verified, 2 for wrong usage, 130 or "
           "143 if stopped by Ctrl-C or SIGTERM.")


def _verb(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"## `{name}` {{ #{name} }}"
    yield _prose(" ".join((parser.description or "").split()))
    yield _fence(parser.format_usage().replace("usage: ", "", 1).replace("\n       ", "\n"))
    for group in parser._action_groups:
        actions = [each for each in group._group_actions if each.dest != "help"]
        if actions:
            yield f"**{(group.title or '').removeprefix('positional ').capitalize()}**"
            yield "\n".join(_argument(each) for each in actions)
    if parser.epilog:
        title, _, examples = parser.epilog.partition("\n")
        yield f"**{title.rstrip(':').capitalize()}**"
        yield _fence(textwrap.dedent(examples))


def _argument(action: argparse.Action) -> str:
    """Describe an argument as an item of a list."""
    value = _metavar(action)
    forms = [f"{flag} {value}".strip() for flag in action.option_strings] or [value]
    option = {ExportOptions.flag_of(each.name): each.name for each in fields(ExportOptions)}
    links = [f" See [`{option[flag]}`](options.md#{option[flag]})." for flag in action.option_strings if flag in option]
    return f"- {', '.join(f'`{form}`' for form in forms)}: {_prose(action.help)}.{''.join(links)}"


def _metavar(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    name = action.metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper())
    return f"{name} ..." if action.nargs == "*" else str(name)


def options() -> str:
    """Return the page of the options: a section per field of ExportOptions."""
    return "\n\n".join([
        "# Options", "An option has the same name, default and meaning as `exporter.NAME=VALUE` in a training, as "
        "`--NAME VALUE` of `audiocraft-export run` and as `NAME=VALUE` in Python. The flags of `hub` and "
        "`max_shard_size` are `--push-to-hub` and `--max-shard-size`; `when` has no flag. `null` in Hydra is "
        "`None` in Python.",
        *(part for field in fields(ExportOptions) for part in _option(field)),
        *_presets()]) + "\n"


def _option(field: Field[Any]) -> Iterator[str]:
    text = field.metadata["help"]
    described = DEFAULT.search(text)
    value = "null" if field.default is None else str(field.default).lower() if isinstance(
        field.default, bool) else str(field.default)
    default = f"`{value}`" + (f": {_prose(described[1])}" if described and described[1] != value else "")
    has_flag = any(field.name == each.name for each in ExportOptions.export_fields())
    yield f"## `{field.name}` {{ #{field.name} }}"
    yield f"{_sentence(DEFAULT.sub('', text))}."
    yield "\n".join([f"- Values: {_values(field.name)}", f"- Default: {default}",
                     f"- In a training: `exporter.{field.name}`",
                     f"- Command line: {_flag(field.name) if has_flag else 'only in a training'}",
                     f"- Python: `{field.name}` of [`ExportOptions`](api.md#audiocraft_export.ExportOptions)"])


def _flag(name: str) -> str:
    return f"[`{ExportOptions.flag_of(name)}`](command-line.md#run)"


def _values(name: str) -> str:
    choices = [f"`{value}`" for value in CHOICES.get(name, ()) if value]
    return ", ".join(choices) if choices else FREE_VALUES[name]


def _presets() -> Iterator[str]:
    yield "## Presets of `scrub` { #presets }"
    for name, patterns in PRESETS.items():
        yield f"`{name}`: {', '.join(f'`{pattern}`' for pattern in patterns)}."


def json_lines() -> str:
    """Return the page of the output with `--json`: a table of all keys, and the keys of each verb."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    rows = [f"| `{key}` | {_types(value)} | {_prose(value['description'])} |"
            for key, value in schema["properties"].items()]
    keys = {verb: ", ".join(f"`{key}`" for key in lines["anyOf"][1]["required"])
            for verb, lines in schema["$defs"].items()}
    return "\n\n".join([
        "# JSON", schema["description"], "The file `schema.json` in the package `audiocraft_export.cli` is a JSON "
        "Schema of these lines. `schema` changes when a key is removed or changes its meaning, not when a key is "
        "added.", "## Keys", "\n".join(["| Key | Type | Value |", "| --- | --- | --- |", *rows]),
        "## Keys of each command", "\n".join(["| Command | Keys |", "| --- | --- |", *(
            f"| [`{verb}`](command-line.md#{verb}) | {names} |" for verb, names in keys.items())])]) + "\n"


def _types(value: dict[str, Any]) -> str:
    """Return the JSON types of a value of the schema."""
    types = value.get("type", [])
    names = [types] if isinstance(types, str) else types
    values = value.get("enum", [value["const"]] if "const" in value else [])
    return ", ".join([*names, *(f"`{json.dumps(each)}`" for each in values)])


def errors() -> str:
    """Return the page of the codes of errors and warnings, by topic, in the order of error_codes.py."""
    parts = ["# Errors", "An error has a code, a message and usually a hint:", _fence(
        "error[path-not-found]: No such file or folder: release\n"
        "  hint: give a release folder or a file of a release"),
        "In Python they are `code`, `message` and `hint` of an "
        "[`ExportError`](api.md#audiocraft_export.ExportError); with `--json` they are in the object `error`. "
        "[`audiocraft-export explain CODE`](command-line.md#explain) prints the same explanations as this page. "
        "[Troubleshooting](troubleshooting.md) lists common problems by symptom."]
    for topic, codes in topics().items():
        parts += [f"## {topic}", *(f"### `{code}` {{ #{code} }}\n\n{explanation(code)}" for code in codes)]
    return "\n\n".join(parts) + "\n"


def topics() -> dict[str, list[str]]:
    """Return the codes by topic: the comments in the dictionary of errors, then all warnings."""
    found: dict[str, list[str]] = {}
    for match in TOPIC_OR_CODE.finditer(inspect.getsource(error_codes)):
        if match["topic"]:
            found[match["topic"]] = []
        elif match["code"] in ERRORS:
            found[[*found][-1]].append(match["code"])
    return {**found, "Warnings": [*WARNINGS]}


def api() -> str:
    """Return the page of the public names, each with a directive of mkdocstrings."""
    parts = ["# Python API", "All public names are imported from `audiocraft_export`. [Options](options.md) describes "
             "the options, [Errors](errors.md) the codes of errors. `OptionError`, `ExperimentError`, "
             "`CheckpointError` and `ReleaseError`, in `audiocraft_export.errors`, are subclasses of `ExportError`."]
    for topic, names in by_topic(audiocraft_export.__all__).items():
        parts.append(f"## {topic}")
        for name in names:
            members = f"\n    options:\n      members: [{', '.join(MEMBERS[name])}]" if name in MEMBERS else ""
            parts.append(f"::: audiocraft_export.{name}{members}")
    parts += ["## Returned objects", "`find_xp` returns an `XP`, which is an `Experiment`, and `list_xps` a list of "
              "them. `inspect` returns `FileSummary`, `load_release` a `Release`, `verify` a `Verification`. A "
              "notebook shows all of them, and an `ExportReport`, as tables. "
              "[Formats](formats.md#the-manifest) describes the manifest of an `ExportReport`."]
    parts += [f"::: audiocraft_export.{name}\n    options:\n      members: [{', '.join(members)}]"
              for name, members in RETURNED.items()]
    return "\n\n".join(parts) + "\n"


def by_topic(names: list[str]) -> dict[str, list[str]]:
    """Return public names by topic; new ones are under the last topic until API has them."""
    known = {name for topic in API.values() for name in topic}
    found = {topic: [name for name in members if name in names] for topic, members in API.items()}
    others = [name for name in names if name not in known]
    return {**found, **({"More": others} if others else {})}


def of_repository(name: str) -> str:
    """Return a file of the repository as a page of the site."""
    return with_page_links((ROOT / name).read_text(encoding="utf-8"), ROOT)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Adapt a page to the site: see `with_page_links` and `with_plain_fences`."""
    return with_plain_fences(with_page_links(markdown, DOCS))


def with_page_links(markdown: str, folder: Path) -> str:
    """Make links to pages relative to docs/; replace links to other files of the repository by their names."""
    def replace(match: re.Match[str]) -> str:
        text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        file = (folder / path).resolve()
        if "://" in target or not path or DOCS in file.parents and folder == DOCS or ROOT not in file.parents:
            return match[0]
        name = file.relative_to(ROOT).as_posix()
        page = OF_REPOSITORY.get(name) or (file.relative_to(DOCS).as_posix() if DOCS in file.parents else None)
        if page is None and not file.exists():
            return match[0]  # reported by the strict build
        return f"[{text}]({page}{hash_}{anchor})" if page else text if name in text else f"{text} (`{name}`)"
    return LINK.sub(replace, markdown)


def with_plain_fences(markdown: str) -> str:
    """Remove the marks for the tests from the fences of blocks; show the path of a file as the title of its block."""
    def replace(match: re.Match[str]) -> str:
        return f"```{match['language']}" + (f' title="{match["path"]}"' if match["path"] else "") + "\n"
    return FENCE.sub(replace, markdown)


def _prose(text: Optional[str]) -> str:
    """Escape what Markdown would take for markup in the help of an argument, outside of code spans."""
    parts = re.split(r"(`[^`]*`)", text or "")
    return "".join(part if part.startswith("`") else re.sub(r"([*_<>\[\]|])", r"\\\1", part) for part in parts)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{_prose(text[1:])}" if not text.startswith("`") else _prose(text)


def _fence(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"
