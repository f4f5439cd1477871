"""Columns for other programs: CSV, JSON, Arrow, pandas, polars. The packages are asked for only here, when they are needed."""

from __future__ import annotations

import csv
import io
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    Columns = Mapping[str, np.ndarray[Any, Any]]

__all__ = ["as_arrow", "as_csv", "as_json", "as_pandas", "as_polars", "need"]


def need(module: str, extra: str) -> Any:
    """Imports an optional package.

    Args:
        module: What to import.
        extra: The extra of cnnbudget that installs it.

    Returns:
        The module.

    Raises:
        MissingExtraError: If it is not installed; the hint says how to install it.
    """
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError(
            f"this needs {module}, which is not installed", hint=f"python -m pip install 'cnnbudget[{extra}]'"
        ) from None


def as_csv(columns: Columns) -> str:
    """Writes columns as CSV. Text that a spreadsheet would take for a formula gets an apostrophe before it.

    Args:
        columns: Arrays by name; masked where a value is missing.

    Returns:
        Lines that end with a newline; missing values are empty, carriage returns in text are newlines.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_harmless, columns))
    writer.writerows(zip(*[list(map(_harmless, column.tolist())) for column in columns.values()], strict=True))
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """A spreadsheet calculates what starts like this (OWASP, "CSV injection"). A lone carriage return would end a line for some."""
    if not isinstance(cell, str):
        return cell
    text = cell.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\n")) else text


def as_json(axes: tuple[str, ...], columns: Columns) -> str:
    """Writes columns as JSON, one list each.

    Args:
        axes: Names of what was varied.
        columns: Arrays by name; masked where a value is missing.

    Returns:
        An object with ``version``, ``axes`` and ``columns``; missing values are ``null``.
    """
    lists = {name: column.tolist() for name, column in columns.items()}
    return json.dumps({"version": 1, "axes": axes, "columns": lists}, allow_nan=False)


def as_pandas(columns: Columns) -> Any:
    """Makes a ``pandas.DataFrame``; columns with missing values have pandas' nullable ints."""
    pandas = need("pandas", "pandas")
    found = {}
    for name, column in columns.items():
        values = column
        if _is_masked(column) and column.dtype.kind == "i":
            values = pandas.array(column.tolist(), dtype="Int64")
        elif _is_masked(column):
            values = column.tolist()
        found[name] = pandas.Series(values, copy=True)
    return pandas.DataFrame(found)


def as_polars(columns: Columns) -> Any:
    """Makes a ``polars.DataFrame``; missing values are null."""
    polars = need("polars", "polars")
    return polars.DataFrame(
        [
            polars.Series(name, *((_listed(column), _named(polars, column)) if _is_text(column) else (column,)))
            for name, column in columns.items()
        ]
    )


def _named(polars: Any, column: Any) -> Any:
    """The type of a column of objects; polars guesses wrong where all are missing."""
    return polars.Int64 if column.dtype.kind == "i" else polars.Int128 if _has_big_ints(column) else polars.String


def as_arrow(columns: Columns) -> Any:
    """Makes a ``pyarrow.Table``; missing values are null, ints beyond 64 bits are decimals."""
    arrow = need("pyarrow", "arrow")
    arrays = {}
    for name, column in columns.items():
        if not _is_text(column):
            arrays[name] = arrow.array(column)
        elif column.dtype.kind == "i":
            arrays[name] = arrow.array(column.tolist(), arrow.int64())
        else:
            kind = arrow.decimal128(38) if _has_big_ints(column) else arrow.string()
            arrays[name] = arrow.array(_listed(column), kind)
    return arrow.table(arrays)


def _is_masked(column: Any) -> bool:
    return hasattr(column, "mask")


def _is_text(column: Any) -> bool:
    """Whether a column must be taken value by value: text, missing values, mixed kinds."""
    return _is_masked(column) or column.dtype.kind == "O"


def _has_big_ints(column: Any) -> bool:
    found = [value for value in column.tolist() if value is not None]
    return bool(found) and all(type(value) is int for value in found)


def _listed(column: Any) -> list[Any]:
    """Plain values; where words and numbers are mixed, all of them words."""
    found = column.tolist()
    if column.dtype.kind == "i" or _has_big_ints(column):
        return list(found)
    return [value if value is None else str(value) for value in found]
