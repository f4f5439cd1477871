"""Rows as text and as HTML."""

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Block, Branch, Bytes, Conv, Crop, Net
from cnnbudget.tables import Column, html_table, plain, show, text_table

NAMES = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=12)
ROWS = st.lists(st.tuples(NAMES, st.integers(-(10**9), 10**9)), max_size=12)
COLUMNS = (Column("layer"), Column("count", right=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "?"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (903_400, "903,400"),
        (-1234, "-1,234"),
        (Bytes(2048), "2.00 KiB"),
        ((400, 25, 38), "400x25x38"),
        ((7,), "7"),
        ((), "()"),
        ((1, "a"), "(1, 'a')"),
        ((True, 2), "(True, 2)"),
        (1.5, "1.5"),
        ("conv", "conv"),
    ],
)
def test_show(value, text):
    assert show(value) == text


def test_a_table_of_text():
    table = text_table(
        [Column("layer"), Column("shape"), Column("parameters", right=True)],
        [("stem/conv", (100, 100, 150), 2800), ("pool", (100, 50, 75), 0)],
        total=("total", "", 2800),
    )
    assert table.split("\n") == [
        "layer      shape        parameters",
        "---------  -----------  ----------",
        "stem/conv  100x100x150       2,800",
        "pool       100x50x75             0",
        "---------  -----------  ----------",
        "total                        2,800",
    ]


@given(ROWS)
def test_every_column_of_text_keeps_its_side(rows):
    title, rule, *lines = text_table(COLUMNS, rows).split("\n")
    first, second = map(len, rule.split("  "))
    assert first == max(len("layer"), *(len(name) for name, _ in rows), 0)
    assert second == max(len("count"), *(len(f"{count:,}") for _, count in rows), 0)
    assert len(lines) == len(rows)
    for line, (name, count) in zip(lines, rows, strict=True):
        assert line == f"{name:<{first}}  {count:>{second},}"
    assert title == f"{'layer':<{first}}  {'count':>{second}}"


@given(st.integers(0, 30), st.integers(0, 12))
def test_the_middle_of_a_long_table_is_left_out_and_counted(length, limit):
    lines = text_table([Column("n")], [(n,) for n in range(length)], total=("sum",), limit=limit).split("\n")
    body = lines[2:-2]
    assert lines[-2:] == [lines[1], "sum"]
    if length <= limit:
        assert body == [str(n) for n in range(length)]
    else:
        before = [str(n) for n in range(limit // 2)]
        after = [str(n) for n in range(length - (limit - limit // 2), length)]
        assert body == [*before, f"... ({length - limit:,} more row{'s' * (length - limit > 1)})", *after]


def test_wide_and_combining_signs_line_up():
    lines = text_table([Column("name"), Column("n", right=True)], [("日本", 1), ("e\u0301", 2), ("é", 3)]).split("\n")
    assert lines[2:] == ["日本  1", "e\u0301     2", "é     3"]  # two columns a sign, no column for the accent


HOSTILE = ["\n", "\r", "\x1b", "\x00", "\u202e", "\u200b", "\x85", "\u2028", "\u2029", "\ud800"]


@pytest.mark.parametrize("sign", HOSTILE)
def test_a_hostile_name_cannot_rewrite_the_lines_of_a_terminal(sign):
    for table in (text_table, html_table):
        text = table([Column(f"title{sign}")], [(f"a{sign}b",)])
        assert sign not in text.replace("\n", "", 2 if table is text_table else 0)
        assert "a\N{REPLACEMENT CHARACTER}b" in text
        assert "title\N{REPLACEMENT CHARACTER}" in text
        text.encode()  # half of a character would not pass
    assert plain(f"a{sign}b") == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("sign", HOSTILE)
def test_nor_can_it_in_the_lines_beside_a_table(sign):
    ways = Branch(Conv(2, 3, stride=2), Block(Crop(((2, 0), (1, 1))), Conv(2, 1, stride=2)))
    net = Net.inputs(**{f"in{sign}": (3, 9, 9)}).then(ways, name=f"at{sign}")
    assert net.receptive_field().misaligned
    for found in (net.summary(), net.receptive_field()):
        for text in (str(found).replace("\n", ""), found._repr_html_()):
            assert sign not in text


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.rows = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append([tag, dict(attrs), ""])

    def handle_data(self, data):
        self.rows[-1][-1][2] += data


def cells_of(text):
    parser = Cells()
    parser.feed(text)
    parser.close()
    return parser


@given(ROWS)
def test_html_keeps_every_cell_and_nothing_else(rows):
    parsed = cells_of(html_table(COLUMNS, rows, total=("total", len(rows))))
    texts = [[text for _, _, text in row] for row in parsed.rows]
    assert texts == [
        ["layer", "count"],
        *([name, f"{count:,}"] for name, count in rows),
        ["total", str(len(rows))],
    ]
    assert parsed.tags <= {"table", "thead", "tbody", "tfoot", "tr", "td", "th"}
    for row in parsed.rows:
        assert [attrs["style"] for _, attrs, _ in row] == ["text-align:left", "text-align:right"]


@given(st.text(max_size=30))
def test_html_is_escaped(name):
    (_, row) = cells_of(html_table([Column("layer")], [(f"<script>{name}</script>",)])).rows
    assert len(row) == 1 and row[0][2].startswith("<script>")
    assert "<script>" not in html_table([Column("<script>")], [("<script>" + name,)], total=("<script>",))


def test_html_counts_the_rows_that_it_leaves_out():
    text = html_table([Column("n"), Column("m")], [(n, n) for n in range(1203)], limit=3)
    assert '<tr><td colspan="2">... (1,200 more rows)</td></tr></tbody>' in text
    assert [row[0][2] for row in cells_of(text).rows] == ["n", "0", "1", "2", "... (1,200 more rows)"]
    assert "more rows" not in html_table([Column("n")], [(1,), (2,)], limit=2)
    assert "tfoot" not in text


def test_html_entities_are_those_of_the_standard_library():
    assert html.escape('a & "b" < c') in html_table([Column("n")], [('a & "b" < c',)])


@pytest.mark.parametrize("table", [text_table, html_table])
def test_a_row_with_a_missing_cell_is_refused(table):
    with pytest.raises(ValueError, match="shorter"):
        table(COLUMNS, [("conv",)])
