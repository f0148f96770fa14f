"""Show results as HTML tables in a notebook."""

from collections.abc import Sequence
from html import escape
from typing import Any, Optional

from .errors import printable

MAX_ROWS = 100  # a release has hundreds of tensors, and a Dora folder hundreds of experiments


def html_table(title: str, rows: Sequence[Sequence[Any]], header: Sequence[str] = (),
               total: Optional[int] = None) -> str:
    """Return a table in HTML without styles, scripts or links; all values are escaped, None is empty.

    Args:
        title: the caption.
        rows: the cells of each row; only the first `MAX_ROWS` are shown.
        header: the names of the columns; without them, the first cell of each row is its name.
        total: the number of rows, if `rows` has only the first `MAX_ROWS`.
    """
    body = [_row(row, "td" if header else "th") for row in rows[:MAX_ROWS]]
    more = (total or len(rows)) - MAX_ROWS
    if more > 0:
        body.append(_row([f"and {more} more"], "td"))
    head = f"<thead>{_row(header, 'th', 'th')}</thead>" if header else ""
    return f"<table><caption>{_escape(title)}</caption>{head}<tbody>{''.join(body)}</tbody></table>"


def _row(cells: Sequence[Any], first: str, other: str = "td") -> str:
    tags = [first, *[other] * (len(cells) - 1)]
    return f"<tr>{''.join(f'<{tag}>{_escape(cell)}</{tag}>' for tag, cell in zip(tags, cells))}</tr>"


def _escape(value: Any) -> str:
    return "" if value is None else escape(printable(str(value)))
