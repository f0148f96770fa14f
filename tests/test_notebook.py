"""Tables in a notebook."""

from audiocraft_export.notebook import MAX_ROWS, html_table


def test_a_table_has_a_caption_and_a_name_in_each_row():
    assert html_table("title", [("a", 1), ("b", None)]) == (
        "<table><caption>title</caption><tbody><tr><th>a</th><td>1</td></tr><tr><th>b</th><td></td></tr></tbody></table>")


def test_a_header_names_the_columns():
    assert html_table("", [(1, 2)], ("x", "y")) == (
        "<table><caption></caption><thead><tr><th>x</th><th>y</th></tr></thead>"
        "<tbody><tr><td>1</td><td>2</td></tr></tbody></table>")


def test_everything_is_escaped():
    evil = "<script>\"'&\x1b"
    shown = html_table(evil, [(evil, evil)], (evil, evil))
    assert "<script" not in shown and shown.count("&lt;script&gt;&quot;&#x27;&amp;\\x1b") == 5


def test_a_long_table_is_cut():
    rows = [(number, "") for number in range(MAX_ROWS + 5)]
    shown = html_table("", rows)
    assert shown.count("<tr>") == MAX_ROWS + 1 and "and 5 more" in shown and f">{MAX_ROWS}<" not in shown
    assert "and 7 more" in html_table("", rows[:MAX_ROWS], total=MAX_ROWS + 7)
    assert "more" not in html_table("", rows[:MAX_ROWS])
