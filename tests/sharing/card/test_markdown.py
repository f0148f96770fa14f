"""Escape Markdown in hostile names."""

import ast
import re
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard
from snippets import snippet_of

from audiocraft_export.sharing.card.markdown import amount, code, prose, table
from audiocraft_export.storage.durable_file import WrittenFile

from .releases import HOSTILE, card


def body(text):
    return ModelCard(text).text


def test_a_hostile_checkpoint_cannot_inject_markdown_html_or_yaml(release):
    cfg = {"solver": HOSTILE, "sample_rate": HOSTILE, HOSTILE: HOSTILE}
    manifest, config, history = release(cfg, history=[{HOSTILE: {HOSTILE: 1.0}, "valid": {"ce": 1.0, HOSTILE: 2.0}}])
    manifest = replace(manifest, sig=HOSTILE, weights=HOSTILE, why=HOSTILE, warnings=[HOSTILE, HOSTILE * 500],
                       versions={HOSTILE: HOSTILE}, dtypes={HOSTILE: 1}, files=[WrittenFile(HOSTILE, 3, HOSTILE)],
                       checkpoint={"name": HOSTILE, "bytes": 1, "mtime_ns": 1}, codec={"pretrained": HOSTILE})
    for solver in (HOSTILE, "musicgen", "compression", "diffusion", "watermarking"):
        manifest = replace(manifest, solver=solver, family=solver)
        text = card(manifest, config, history)
        assert "\x1b" not in text and "\u202e" not in text and "<b>" not in body(text) and "`x`" not in body(text)
        assert "](http://e" not in text and "$$" not in body(text) and "\n# z" not in text and len(text) < 30_000
        assert re.findall(r"<!-- /?audiocraft-export: (\w+) -->", text) == [
            name for part in ("model", "usage", "training", "provenance") for name in (part, part)]
        assert {line.count("|") for line in text.splitlines() if line.startswith("| <code>")} <= {3, 4, 5}
        ast.parse(snippet_of(text))
        assert card(manifest, config, history, previous=text) == text


def test_a_hostile_name_is_text_once_it_is_rendered(release):
    markdown = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    manifest, config, history = release({"solver": HOSTILE}, history=[{"valid": {"ce": 1.0, HOSTILE: 2.0}}])
    page = markdown.render(body(card(replace(manifest, warnings=[HOSTILE]), config, history)))
    assert "<b>" not in page and "<em>" not in page and "e.vil\"" not in page
    assert page.count("<h1>") == 1
    shown = ("`x` | &lt;b&gt;y&lt;/b&gt; &lt;!-- /audiocraft-export: training --&gt; \\n# z\\n--- "
             "[a](http://e.vil) $$1$$ *i* _j_")
    assert f"<td><code>valid</code></td>\n<td><code>{shown}" in page and f"<li>{shown}" in page


def test_values_are_shown_and_not_obeyed():
    assert code("a/b.c") == "`a/b.c`" and code("a`b") == "<code>a&#96;b</code>" and code("x" * 400).endswith("...`")
    assert prose("a_b, *c*") == "a_b, &#42;c&#42;" and prose("x\ny") == "x&#92;ny" and prose("- x") == "&#45; x"
    assert (amount(1, "layer"), amount(1024, "layer")) == ("1 layer", "1,024 layers")
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
