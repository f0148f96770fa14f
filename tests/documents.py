"""Run the pages of the documentation: README.md, CONTRIBUTING.md and docs/*.md, block by block.

A page is run as one bash session in an empty folder, so that a reader can follow it from nothing. The info string of a
fenced block decides how it is tested; others are refused:

- `bash`, `python`: run by system/test_docs.py, in the order of the page.
- `bash audiocraft`, `python audiocraft`: run by audiocraft/test_docs.py, with the real AudioCraft.
- `bash scanners`: run by scanners/test_docs.py, with the scanners of pickles.
- `bash slurm`, `python slurm`: run by slurm/test_docs.py, with a real Slurm.
- `bash setup`: make, pip and nox, which CI runs; system/test_docs.py checks that their targets exist.
- `python` or `yaml` with a path as a comment in its first line: written to that file, for the blocks after it.
- `text`, `json`, `yaml`: shown; no commands.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN = ("bash", "python")
MARKS = ("audiocraft", "scanners", "slurm")
SHOWN = ("text", "json", "yaml")
FENCE = "```"
SET_BY_OTHERS = ("AUDIOCRAFT_DORA_DIR", "DORA_PACKAGE", "DORA_MAIN_MODULE", "RANK", "WORLD_SIZE")  # not by a page
OTHER_CODE = re.compile(r"(    |\t)\s*\S|\s*(~~~|<pre|<code)")
ERROR = re.compile(r"^(?:Export: +)?(?:error\[.*|hint: .*|  hint: .*)$", re.MULTILINE)
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
        """The file that the block is written to, or None."""
        found = FILE.match(self.text) if self.language in ("python", "yaml") else None
        return found and found[1]

    @property
    def runner(self):
        """What runs the block: `page`, a mark or `setup`; None if it is only shown, `nobody` if its info is unknown."""
        language, _, mark = self.info.partition(" ")
        if (language in RUN or self.path) and mark in ("", *MARKS):
            return mark or "page"
        if self.info == "bash setup":
            return "setup"
        return None if self.info in SHOWN else "nobody"

    @property
    def script(self):
        """The block as lines of bash."""
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
            assert began or not OTHER_CODE.match(line), f"{page}:{number}: code outside of a fenced block"
        elif began:
            assert line == FENCE + "\n", f"{page}:{number}: text after the end of the block of line {began[0]}"
            found.append(Block(page, began[0], began[1], "".join(began[2])))
            began = None
        else:
            assert line.startswith(FENCE), f"{page}:{number}: an indented block"
            began = (number, line[len(FENCE):].strip(), [])
    assert began is None, f"{page}: a block does not end"
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def pages_of(runner):
    """The pages with blocks for a runner."""
    return list(dict.fromkeys(block.page for block in BLOCKS if block.runner == runner))


def name_of(page):
    return str(page.relative_to(ROOT))


def run_page(page, runner, tmp_path, env, folder=None):
    """Run the blocks of a page for a runner, as one session, up to the first command that fails.

    The session is in `folder`, such as a clone of AudioCraft, or in an empty folder.
    """
    folder, tools = folder or tmp_path / "empty", tmp_path / "tools"
    folder.mkdir(exist_ok=True)
    tools.mkdir()
    for name, module in [("python", ""), ("dora", "-m dora"), ("audiocraft-export", "-m audiocraft_export")]:
        (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        (tools / name).chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if name not in SET_BY_OTHERS}
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = "".join(block.script for block in BLOCKS if block.page == page and block.runner == runner)
    result = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, text=True, capture_output=True,
                            stdin=subprocess.DEVNULL, timeout=600,
                            env={**clean, "PYTHONWARNINGS": "ignore", **env, "PATH": path})
    assert result.returncode == 0, f"{result.stdout[-3000:]}\n{result.stderr[-6000:]}"
    check_shown(page, runner, result)


def check_shown(page, runner, result):
    """Check that what a page shows of exports and exit codes, and of errors right below a command, was printed.

    Sizes may differ, and three dots are any text.
    """
    said, by, end = COLOUR.sub("", result.stdout + result.stderr), None, 0
    for block in (block for block in BLOCKS if block.page == page):
        by = block.runner or by
        shown = [*RESULT.findall(block.text), *(ERROR.findall(block.text) if block.line <= end + 2 else ())]
        for line in shown if block.info == "text" and by == runner else ():
            pattern = re.escape(SIZE.sub("...", line)).replace(r"\.\.\.", ".*")
            assert re.search(pattern, said), f"{block.where}: {line} was not printed"
        end = block.line + block.text.count("\n") + 1 if block.runner == runner else end
