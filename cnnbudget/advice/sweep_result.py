"""What a sweep found, as columns: rows, Pareto fronts, cross tables, and ways out to other programs."""

from __future__ import annotations

from bisect import bisect_right
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.advice.budget import as_budget
from cnnbudget.advice.export import as_arrow, as_csv, as_json, as_pandas, as_polars
from cnnbudget.errors import InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.tables import Column, html_table, text_table
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import SupportsIndex

    import numpy as np

__all__ = ["Pivot", "Sweep"]

_BYTES = frozenset({"peak", "activation_peak", "retained", "reserved"})
_SHOWN = 20
_WIDEST = 100


@frozen(eq=False)
class Sweep:
    """What a sweep found: one row a point, as numpy columns that cannot be written to.

    The columns are the axes; ``parameters``; ``macs``, the multiply-accumulates of one sample; ``peak``, ``activation_peak`` and
    ``retained`` in bytes of the fullest device, as :class:`MemoryProfile` has them; ``reserved`` where an allocator was told;
    ``peak_step``; and ``error``, why a point has no numbers, or ``None``. A column in which values are missing is a masked array.

    *Counts*: what a profile counts; peaks are lower bounds for every allocator.

    Args:
        axes: Names of what was varied.
        columns: Arrays of one length, by name.

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3, bias=False))
        >>> found = net.sweep(Inference(), batch=[1, 10], precision=["FP32", "FP16"])
        >>> found["peak"].tolist()
        [1776, 13872, 888, 6936]
        >>> print(found.fits("1 KiB"))
        1 point; 1 of precision, 1 of batch.
        precision  batch  parameters   macs   peak  activation_peak  retained  peak_step
        ---------  -----  ----------  -----  -----  ---------------  --------  ---------------
             FP16      1         108  3,888  888 B            672 B       0 B  forward of conv
    """

    axes: tuple[str, ...]
    columns: Mapping[str, np.ndarray[Any, Any]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.columns["error"])

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """A column, by name; a masked array where values are missing.

        Raises:
            UnknownNameError: If there is no such column; the error guesses which was meant.
        """
        if name not in self.columns:
            raise UnknownNameError(
                "a sweep has no such column", got=shorten(name), hint=did_you_mean(name, self.columns)
            )
        return self.columns[name]

    def rows(self) -> list[dict[str, Any]]:
        """The points as data: one dict a point, with every column; missing values are ``None``."""
        lists = [column.tolist() for column in self.columns.values()]
        return [dict(zip(self.columns, values, strict=True)) for values in zip(*lists, strict=True)]

    def _take(self, chosen: Any) -> Sweep:
        """Some of the rows."""
        columns = {name: column[chosen] for name, column in self.columns.items()}
        for column in columns.values():
            column.flags.writeable = False
        return Sweep(self.axes, MappingProxyType(columns))

    def where(self, **values: Any) -> Sweep:
        """The points with certain values.

        Args:
            **values: One value for each of some columns, as the column shows it.

        Returns:
            A sweep of fewer rows, maybe none.

        Raises:
            UnknownNameError: If there is no such column.
            InvalidValueError: If a column has no such value.
        """
        import numpy as np

        chosen = np.ones(len(self), dtype=bool)
        for name, value in values.items():
            column = self[name]
            equal = np.array([each == value for each in column.tolist()], dtype=bool)
            if len(self) and not equal.any():
                known = list(dict.fromkeys(column.tolist()))
                shown = ", ".join(map(repr, known[:8])) + (", ..." if len(known) > 8 else "")
                raise InvalidValueError(
                    f"no point has this value of {name}", got=shorten(value), expected=f"one of {shown}"
                )
            chosen &= equal
        return self._take(chosen)

    def fits(self, budget: SupportsIndex | str) -> Sweep:
        """The points whose peak fits a budget, or what is reserved where an allocator was told.

        Args:
            budget: Bytes of one device, or the name of one.

        Returns:
            A sweep of fewer rows, maybe none.

        Raises:
            InvalidTypeError: For a float, NaN included.
            InvalidValueError: If the budget cannot be read.
        """
        limit, sizes = as_budget(budget), self["reserved" if "reserved" in self.columns else "peak"]
        return self._take(_filled(sizes <= limit))

    @property
    def failed(self) -> Sweep:
        """The points that failed; the column ``error`` says why."""
        return self._take(self._failures)

    @property
    def _failures(self) -> Any:
        return self.columns["error"] != None  # noqa: E711  # of every element

    def pareto(self, *minimise: str, maximise: Sequence[str] = ()) -> Sweep:
        """The points that no other point beats: none is at least as good in all of the columns and better in one.

        Args:
            *minimise: Columns of which less is better.
            maximise: Columns of which more is better.

        Returns:
            A sweep of these rows, in their order. Points with missing values are left out; equal ones stay together.

        Raises:
            UnknownNameError: If there is no such column.
            InvalidValueError: If there are no columns, or one holds no numbers.

        Example:
            >>> from cnnbudget import Training, sweep, zoo
            >>> found = sweep(zoo.mobilenet_v2, Training(32), width=[0.5, 1.0], input_size=[96, 160, 224])
            >>> front = found.pareto("peak", maximise=["macs"])
            >>> front["macs"].tolist() == sorted(front["macs"].tolist())
            True
        """
        import numpy as np

        maximise = (maximise,) if isinstance(maximise, str) else tuple(maximise)
        if not minimise and not maximise:
            raise InvalidValueError("pareto() needs columns", got="none", expected='for example pareto("peak", "macs")')
        signs = [(name, 1) for name in minimise] + [(name, -1) for name in maximise]
        known = np.ones(len(self), dtype=bool)
        for name, _ in signs:
            column = self[name]
            if not _is_number(column):
                raise InvalidValueError(
                    f"pareto() cannot order the column {name}", got="text", expected="a column of numbers"
                )
            known &= ~np.ma.getmaskarray(column)
        kept = np.flatnonzero(known)
        values = np.stack([np.ma.getdata(self[name])[kept] * sign for name, sign in signs], axis=1)
        return self._take(np.sort(kept[_front(values)]))

    def pivot(self, index: str, columns: str, values: str = "peak") -> Pivot:
        """A cross table of one column over two others.

        Args:
            index: The column whose values become rows.
            columns: The column whose values become columns.
            values: What the cells show.

        Returns:
            The table; a cell without a number is ``None``.

        Raises:
            UnknownNameError: If there is no such column.
            InvalidValueError: If several points belong to one cell.

        Example:
            >>> from cnnbudget import Conv, Inference, Net
            >>> found = Net.input(3, 8, 8).then(Conv(4, 3)).sweep(Inference(), batch=[1, 8], precision=["FP32", "FP16"])
            >>> print(found.pivot("batch", "precision"))
            peak by batch and precision
            batch       FP32      FP16
            -----  ---------  --------
                1   1.75 KiB     896 B
                8  10.94 KiB  5.47 KiB
        """
        if len({index, columns, values}) < 3:
            raise InvalidValueError(
                "pivot() needs three columns", got=shorten((index, columns, values)), expected="different ones"
            )
        down, across, cells = (self[name].tolist() for name in (index, columns, values))
        rows = {label: number for number, label in enumerate(dict.fromkeys(down))}
        titles = {label: number for number, label in enumerate(dict.fromkeys(across))}
        table: list[list[Any]] = [[None] * len(titles) for _ in rows]
        seen: set[tuple[Any, Any]] = set()
        for row, title, cell in zip(down, across, cells, strict=True):
            if (row, title) in seen:
                others = [axis for axis in self.axes if axis not in {index, columns} and self._varies(axis)]
                raise InvalidValueError(
                    "pivot() has several points for one cell",
                    where=f"{index}={row!r}, {columns}={title!r}",
                    got=f"other values of {', '.join(others)}" if others else "the same point twice",
                    expected="one point a cell",
                    hint=f"choose one first: .where({others[0]}=...)" if others else None,
                )
            seen.add((row, title))
            table[rows[row]][titles[title]] = cell
        return Pivot(index, columns, values, tuple(rows), tuple(titles), tuple(map(tuple, table)))

    def _varies(self, name: str) -> bool:
        return len(set(self.columns[name].tolist())) > 1

    def to_pandas(self) -> Any:
        """Makes a ``pandas.DataFrame`` (extra ``pandas``).

        Raises:
            MissingExtraError: If pandas is not installed.
        """
        return as_pandas(self.columns)

    def to_polars(self) -> Any:
        """Makes a ``polars.DataFrame`` (extra ``polars``).

        Raises:
            MissingExtraError: If polars is not installed.
        """
        return as_polars(self.columns)

    def to_arrow(self) -> Any:
        """Makes a ``pyarrow.Table`` (extra ``arrow``).

        Raises:
            MissingExtraError: If pyarrow is not installed.
        """
        return as_arrow(self.columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hands the columns to any library that reads Arrow's PyCapsule interface (extra ``arrow``)."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_csv(self) -> str:
        """Writes CSV with a head line; text that a spreadsheet would take for a formula is made harmless."""
        return as_csv(self.columns)

    def to_json(self) -> str:
        """Writes JSON: an object with ``version``, ``axes``, and ``columns`` as lists."""
        return as_json(self.axes, self.columns)

    def _heading(self) -> str:
        count, failures = len(self), int(self._failures.sum())
        shown = ", ".join(f"{len(set(self.columns[axis].tolist())):,} of {axis}" for axis in self.axes)
        failing = f", {failures:,} of them failed" if failures else ""
        return f"{count:,} point{'s' * (count != 1)}{failing}; {shown}."

    def _table(self) -> tuple[list[Column], list[list[object]]]:
        import numpy as np

        count = len(self)
        half = _SHOWN // 2
        chosen = np.arange(count) if count <= _SHOWN else np.r_[:half, count - half : count]
        names = [name for name in self.columns if name != "error" or self._failures.any()]
        columns = [Column(name, right=name not in {"peak_step", "error"}) for name in names]
        cells = [[_cell(name, value) for value in self.columns[name][chosen].tolist()] for name in names]
        return columns, [list(row) for row in zip(*cells, strict=True)]

    def __str__(self) -> str:
        columns, rows = self._table()
        if len(self) > _SHOWN:
            rows.insert(_SHOWN // 2, ["..."] * len(columns))
        return f"{self._heading()}\n{text_table(columns, rows)}"

    def _repr_html_(self) -> str:
        import html  # notebooks only

        columns, rows = self._table()
        if len(self) > _SHOWN:
            rows.insert(_SHOWN // 2, ["..."] * len(columns))
        return f"<p>{html.escape(self._heading())}</p>{html_table(columns, rows)}"


@frozen
class Pivot:
    """A cross table of a sweep.

    Args:
        index: The column whose values are the rows.
        columns: The column whose values are the columns.
        values: What the cells show.
        labels: Labels of the rows.
        titles: Labels of the columns.
        cells: One tuple a row; ``None`` where there is no number.
    """

    index: str
    columns: str
    values: str
    labels: tuple[Any, ...]
    titles: tuple[Any, ...]
    cells: tuple[tuple[Any, ...], ...] = field(repr=False)

    def rows(self) -> list[dict[Any, Any]]:
        """The table as data: one dict a row, with the label under the index's name, and the cells under the titles."""
        return [
            {self.index: label, **dict(zip(self.titles, row, strict=True))}
            for label, row in zip(self.labels, self.cells, strict=True)
        ]

    def _table(self) -> tuple[list[Column], list[list[object]]]:
        columns = [Column(self.index, right=True), *[Column(str(title), right=True) for title in self.titles]]
        rows = [
            [label, *[_cell(self.values, cell) for cell in row]]
            for label, row in zip(self.labels, self.cells, strict=True)
        ]
        return columns, rows

    def __str__(self) -> str:
        return f"{self.values} by {self.index} and {self.columns}\n{text_table(*self._table())}"

    def _repr_html_(self) -> str:
        return html_table(*self._table())


def _cell(name: str, value: Any) -> object:
    if value is None:
        return "-"
    if name == "error":
        return value if len(value) <= _WIDEST else f"{value[: _WIDEST - 3]}..."
    return Bytes(value) if name in _BYTES else value


def _filled(chosen: Any) -> Any:
    """A choice in which what is unknown is not chosen."""
    return chosen.filled(False) if hasattr(chosen, "filled") else chosen


def _is_number(column: Any) -> bool:
    if column.dtype.kind != "O":
        return bool(column.dtype.kind in "if")
    return hasattr(column, "mask") or all(type(value) is int for value in column.tolist())


def _front(values: Any) -> Any:
    """Positions of the rows that no other row beats. Sorted by the columns in turn, only earlier rows can beat a later one."""
    import numpy as np

    distinct, where = np.unique(values, axis=0, return_inverse=True) if values.dtype != object else _distinct(values)
    width = distinct.shape[1]
    if width > 3:
        kept = _front_of_many(distinct)
    else:  # one and two columns are three of which some are equal everywhere
        kept = _front_of_three([(row[1] if width > 1 else 0, row[-1]) for row in distinct.tolist()])
    return np.flatnonzero(np.isin(where.ravel(), kept))


def _front_of_three(rows: list[tuple[Any, Any]]) -> list[int]:
    """The front of rows that are sorted by a first column, by the other two: those of the earlier rows form a staircase."""
    kept: list[int] = []
    ups: list[Any] = []  # rising
    downs: list[Any] = []  # falling: the least third column among rows with at most this second one
    for number, (second, third) in enumerate(rows):
        place = bisect_right(ups, second)
        if place and downs[place - 1] <= third:
            continue
        kept.append(number)
        start = place - 1 if place and ups[place - 1] == second else place
        end = start
        while end < len(ups) and downs[end] >= third:
            end += 1
        ups[start:end], downs[start:end] = [second], [third]
    return kept


def _front_of_many(distinct: Any) -> list[int]:
    """Each row in turn removes those that it beats. In the worst case, where nothing beats anything, all pairs are looked at."""
    import numpy as np

    kept: list[int] = []
    alive = np.arange(len(distinct))
    while alive.size:
        first, rest = alive[0], alive[1:]
        kept.append(int(first))
        alive = rest[(distinct[rest] < distinct[first]).any(axis=1)]
    return kept


def _distinct(values: Any) -> tuple[Any, Any]:
    """The same as numpy's, for ints that do not fit 64 bits."""
    import numpy as np

    rows = [tuple(row) for row in values.tolist()]
    order = {row: number for number, row in enumerate(sorted(set(rows)))}
    distinct = np.array(list(order), dtype=object).reshape(len(order), values.shape[1])
    return distinct, np.array([order[row] for row in rows], dtype=np.int64)
