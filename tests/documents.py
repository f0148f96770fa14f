"""The documentation as what can be run: README.md and docs/*.md, block by block.

The info string of a fenced block says what becomes of it, and nothing else is allowed:

- `bash`, `python`: run by system/test_docs.py, in the order of the page, in a folder that is made for the page.
- `bash audiocraft`, `python audiocraft`: run by audiocraft/test_docs.py, with the real AudioCraft.
- `bash slurm`, `python slurm`: run by slurm/test_docs.py, with a real Slurm.
- `bash setup`: make, pip and nox, which CI runs; system/test_docs.py looks whether what they name is there.
- `python` or `yaml` with a path as a comment in its first line: written to that file, for the blocks after it.
- `text`, `json`, `yaml`: shown; no commands.
"""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("bash", "python")
MARKS = ("audiocraft", "slurm")
SHOWN = ("text", "json", "yaml")
FENCE = "```"
OTHER_CODE = re.compile(r"(    |\t)\s*\S|\s*(~~~|<pre|<code)")
RESULT = re.compile(r"^(?:exit code \d+|(?:Export: )?[0-9a-f]{8} (?:already )?exported: .*)$", re.MULTILINE)
SIZE, COLOUR = re.compile(r"[\d.]+ [kMG]?B\b"), re.compile(r"\x1b\[[\d;]*m")
FILE = re.compile(r"# ([\w./-]+/[\w.-]+\.(?:py|yaml))\n")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    info: str
    text: str

    @property
    def where(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def language(self):
        return self.info.partition(" ")[0]

    @property
    def path(self):
        """Where it is to be written, if it is a file."""
        found = FILE.match(self.text) if self.language in ("python", "yaml") else None
        return found and found[1]

    @property
    def runner(self):
        """Who runs it: `page`, a mark or `setup`; None where it is only shown, `nobody` where it is neither."""
        language, _, mark = self.info.partition(" ")
        if (language in RUN or self.path) and mark in ("", *MARKS):
            return mark or "page"
        if self.info == "bash setup":
            return "setup"
        return None if self.info in SHOWN else "nobody"

    @property
    def script(self):
        """It as lines of bash."""
        say, text = f"echo '### {self.where}' >&2\n", f"<<'END_OF_BLOCK'\n{self.text}END_OF_BLOCK\n"
        if self.path:
            return f"{say}mkdir -p {Path(self.path).parent}\ncat > {self.path} {text}"
        return f"{say}python - {text}" if self.language == "python" else say + self.text


def blocks_of(page):
    found, began = [], None
    for number, line in enumerate(page.read_text().splitlines(keepends=True), 1):
        if FENCE not in line:
            if began:
                began[-1].append(line)
            assert began or not OTHER_CODE.match(line), f"{page}:{number}: code that is no fenced block is not found"
        elif began:
            assert line == FENCE + "\n", f"{page}:{number}: this does not end the block of line {began[0]}"
            found.append(Block(page, began[0], began[1], "".join(began[2])))
            began = None
        else:
            assert line.startswith(FENCE), f"{page}:{number}: a block within something else is not found"
            began = (number, line[len(FENCE):].strip(), [])
    assert began is None, f"{page}: a block does not end"
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def pages_of(runner):
    """The pages that have something for a runner."""
    return list(dict.fromkeys(block.page for block in BLOCKS if block.runner == runner))


def name_of(page):
    return str(page.relative_to(ROOT))


def run_page(page, runner, folder, tools, env):
    """Run what a page has for a runner, as one session in a folder, up to the first command that fails."""
    tools.mkdir()
    for name, module in [("python", ""), ("dora", "-m dora"), ("audiocraft-export", "-m audiocraft_export")]:
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        (tools / name).chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{env['PATH']}"
    script = "".join(block.script for block in BLOCKS if block.page == page and block.runner == runner)
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, text=True, capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=600, env={**env, "PATH": path})
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-6000:]}"
    return result


def check_shown(page, runner, result):
    """Look whether what a page shows of exports and exit codes was said when it was run, but for sizes."""
    said, by = COLOUR.sub("", result.stdout + result.stderr), None
    for block in (block for block in BLOCKS if block.page == page):
        by = block.runner or by
        for line in RESULT.findall(block.text) if block.info == "text" and by == runner else ():
            pattern = re.escape(SIZE.sub("...", line)).replace(r"\.\.\.", ".*")
            assert re.search(pattern, said), f"{block.where}: {line} was not said"
