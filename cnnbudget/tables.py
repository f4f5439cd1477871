"""Rows of data as aligned text or as HTML: the one place where numbers are laid out for people.

Whatever is printable keeps its data as rows and asks this module for the layout, so presentation stays out of analysis.
"""

from __future__ import annotations

import html
import unicodedata
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Column", "html_table", "plain", "show", "text_table"]


@frozen
class Column:
    """A column of a table: its heading and on which side its cells are aligned."""

    title: str
    right: bool = False


def show(value: object) -> str:
    """Shows one cell: ints with thousands separators, shapes as ``100x150``, unknown values as ``?``.

    Args:
        value: A cell's value.

    Returns:
        The text.

    Example:
        >>> show(903400), show((400, 25, 38)), show(None), show(True)
        ('903,400', '400x25x38', '?', 'yes')
    """
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if type(value) is int:
        return f"{value:,}"
    if isinstance(value, tuple) and value and all(type(axis) is int for axis in value):
        return "x".join(map(str, value))
    return str(value)


_UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def plain(text: str) -> str:
    """Replaces control and direction-changing characters, line breaks, and halves of a character that cannot be written.

    A hostile name must not rewrite a terminal's lines.

    Args:
        text: A name, or a line with names in it.

    Returns:
        One line.

    Example:
        >>> plain("conv" + chr(27) + "[2J") == "conv\N{REPLACEMENT CHARACTER}[2J"
        True
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in _UNSHOWN else sign for sign in text)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    return len(text) + wide - sum(bool(unicodedata.combining(sign)) for sign in text)


def text_table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], total: Sequence[object] | None = None, limit: int = 200
) -> str:
    """Lays rows out as aligned text.

    Args:
        columns: The columns.
        rows: One sequence of cells a row, as many as there are columns.
        total: A last row under a rule.
        limit: With more rows than this, the middle ones are left out and counted.

    Returns:
        Lines joined by newlines, without trailing blanks.

    Example:
        >>> print(text_table([Column("layer"), Column("bytes", right=True)], [("conv", 1234), ("relu", 0)]))
        layer  bytes
        -----  -----
        conv   1,234
        relu       0
    """
    kept = list(rows)
    left_out = max(0, len(kept) - limit)
    head, tail = (kept[: limit // 2], kept[len(kept) - (limit - limit // 2) :]) if left_out else (kept, [])
    cells = [[plain(show(cell)) for cell in row] for row in (*head, *tail, *([total] if total is not None else []))]
    titles = [plain(column.title) for column in columns]
    widths = [max(map(_width, column)) for column in zip(titles, *cells, strict=True)]

    def line(row: Sequence[str]) -> str:
        padded = (
            " " * (width - _width(cell)) + cell if column.right else cell + " " * (width - _width(cell))
            for column, cell, width in zip(columns, row, widths, strict=True)
        )
        return "  ".join(padded).rstrip()

    rule = "  ".join("-" * width for width in widths)
    lines = [line(titles), rule, *map(line, cells[: len(head)])]
    if left_out:
        lines.append(f"... ({left_out:,} more row{'s' * (left_out > 1)})")
        lines.extend(map(line, cells[len(head) : len(head) + len(tail)]))
    if total is not None:
        lines += [rule, line(cells[-1])]
    return "\n".join(lines)


def html_table(
    columns: Sequence[Column], rows: Iterable[Sequence[object]], total: Sequence[object] | None = None, limit: int = 200
) -> str:
    """Lays rows out as an HTML table: escaped, without scripts or styles sheets, readable in light and dark themes.

    Args:
        columns: The columns.
        rows: One sequence of cells a row.
        total: A last row.
        limit: With more rows than this, the last ones are left out and counted.

    Returns:
        A ``<table>`` element.

    Example:
        >>> html_table([Column("layer")], [("<conv>",)])[-77:]
        '<tbody><tr><td style="text-align:left">&lt;conv&gt;</td></tr></tbody></table>'
    """
    kept = list(rows)

    def line(row: Sequence[object], tag: str) -> str:
        cells = (
            f'<{tag} style="text-align:{"right" if column.right else "left"}">{html.escape(plain(show(cell)))}</{tag}>'
            for column, cell in zip(columns, row, strict=True)
        )
        return f"<tr>{''.join(cells)}</tr>"

    body = "".join(line(row, "td") for row in kept[:limit])
    if len(kept) > limit:
        body += f'<tr><td colspan="{len(columns)}">... ({len(kept) - limit:,} more rows)</td></tr>'
    foot = f"<tfoot>{line(total, 'th')}</tfoot>" if total is not None else ""
    head = line([column.title for column in columns], "th")
    return f"<table><thead>{head}</thead><tbody>{body}</tbody>{foot}</table>"
