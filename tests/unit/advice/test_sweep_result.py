"""What a sweep found: fronts against brute force, cross tables, and the ways out to other programs."""

import csv
import io
import json
import sys
from itertools import product
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cnnbudget import (
    Conv,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    MissingExtraError,
    Net,
    Sweep,
    Training,
    UnknownNameError,
    sweep,
)

NET = Net.input(3, 8, 8).then(Conv(4, 3, bias=False))
FOUND = NET.sweep(Inference(), batch=[1, 10], precision=["FP32", "FP16"])
FAILING = NET.sweep(Inference(), batch=[1, 2], input_size=[8, 2])


def table(axes: tuple[str, ...] = (), **columns: Any) -> Sweep:
    arrays = {name: column if isinstance(column, np.ndarray) else np.array(column) for name, column in columns.items()}
    count = len(next(iter(arrays.values())))
    arrays["error"] = np.full(count, None, dtype=object)
    return Sweep(axes, MappingProxyType(arrays))


def test_columns_by_name() -> None:
    assert list(FOUND) == [
        *("precision", "batch", "parameters", "macs", "peak", "activation_peak", "retained", "peak_step", "error")
    ]
    with pytest.raises(UnknownNameError, match=r"no such column: got 'paek'; did you mean 'peak'"):
        FOUND["paek"]
    with pytest.raises(ValueError, match="read-only"):
        FOUND["peak"][0] = 1
    with pytest.raises(ValueError, match="read-only"):
        FOUND.fits("1 MiB")["peak"][0] = 1
    assert repr(FOUND) == "Sweep(axes=('precision', 'batch'))"


def test_where() -> None:
    assert FOUND.where(precision="FP16")["peak"].tolist() == [888, 6936]
    assert FOUND.where(precision="FP16", batch=10)["peak"].tolist() == [6936]
    assert len(FOUND.where()) == 4
    with pytest.raises(
        InvalidValueError, match=r"no point has this value of precision: got 'fp16', expected one of 'FP32', 'FP16'"
    ):
        FOUND.where(precision="fp16")
    with pytest.raises(UnknownNameError, match=r"did you mean 'batch'"):
        FOUND.where(bach=1)
    nothing = FOUND.fits(1)
    assert len(nothing) == len(nothing.where(batch=3)) == 0
    assert "0 points" in str(nothing)


def test_fits() -> None:
    assert FOUND.fits(1776)["peak"].tolist() == [1776, 888]  # the budget itself fits
    assert FOUND.fits("1 KiB")["precision"].tolist() == ["FP16"]
    assert FAILING.fits("1 GiB")["input_size"].tolist() == [8, 8]
    assert len(FOUND.fits("RP2040")) == len(FOUND)  # 264 KiB
    with pytest.raises(InvalidTypeError, match=r"a number of bytes must be an int: got nan"):
        FOUND.fits(float("nan"))  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"a size must be positive"):
        FOUND.fits(0)


# Pareto ----------------------------------------------------------------------------------------------------------------


def test_a_front_by_hand() -> None:
    found = table(x=[3, 1, 2, 2, 1, 4], y=[1, 4, 2, 2, 5, 1])
    assert list(zip(found.pareto("x", "y")["x"], found.pareto("x", "y")["y"], strict=True)) == [
        (3, 1),
        (1, 4),
        (2, 2),
        (2, 2),
    ]
    assert found.pareto("x")["y"].tolist() == [4, 5]
    assert found.pareto("x", maximise="y")["x"].tolist() == [1]
    assert found.pareto(maximise=["x", "y"])["x"].tolist() == [2, 2, 1, 4]


@pytest.mark.parametrize("kind", [np.int64, np.float64, object])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_fronts_against_brute_force(kind: Any, count: int) -> None:
    random = np.random.default_rng(count)
    for size in (1, 2, 7, 40):
        values = random.integers(0, 6, (size, count)).astype(kind)
        found = table(**{f"c{number}": values[:, number] for number in range(count)}, row=np.arange(size))
        rows = values.tolist()
        expected = [
            number
            for number, row in enumerate(rows)
            if not any(
                all(a <= b for a, b in zip(other, row, strict=True))
                and any(a < b for a, b in zip(other, row, strict=True))
                for other in rows
            )
        ]
        assert found.pareto(*[f"c{number}" for number in range(count)])["row"].tolist() == expected


def test_fronts_leave_out_what_is_missing() -> None:
    assert FAILING.pareto("peak")["batch"].tolist() == [1]
    huge = np.ma.MaskedArray(np.array([2**70, 2**69, 0], dtype=object), mask=[False, False, True])
    assert table(peak=huge, row=[0, 1, 2]).pareto("peak")["row"].tolist() == [1]
    assert len(FAILING.failed.pareto("peak")) == 0


def test_bad_fronts() -> None:
    with pytest.raises(InvalidValueError, match=r"pareto\(\) needs columns: got none"):
        FOUND.pareto()
    with pytest.raises(InvalidValueError, match=r"cannot order the column precision: got text"):
        FOUND.pareto("peak", "precision")
    with pytest.raises(UnknownNameError, match=r"did you mean 'macs'"):
        FOUND.pareto("peak", "mac")


# Pivot -----------------------------------------------------------------------------------------------------------------


def test_a_cross_table() -> None:
    found = FOUND.pivot("batch", "precision")
    assert found.rows() == [{"batch": 1, "FP32": 1776, "FP16": 888}, {"batch": 10, "FP32": 13872, "FP16": 6936}]
    assert found.cells == ((1776, 888), (13872, 6936))
    assert "peak by batch and precision" in str(found)
    assert "1.73 KiB" in found._repr_html_()
    assert FAILING.pivot("batch", "input_size").rows() == [
        {"batch": 1, 8: 1776, 2: None},
        {"batch": 2, 8: 3120, 2: None},
    ]
    assert str(FAILING.pivot("batch", "input_size", "macs")).splitlines()[-1].split() == ["2", "3,888", "-"]
    assert FOUND.fits(1000).pivot("batch", "precision").cells == ((888,),)


def test_bad_cross_tables() -> None:
    with pytest.raises(InvalidValueError, match=r"needs three columns: got \('batch', 'batch', 'peak'\)"):
        FOUND.pivot("batch", "batch")
    with pytest.raises(UnknownNameError, match=r"did you mean 'precision'"):
        FOUND.pivot("batch", "precison")
    more = NET.sweep(Inference(), batch=[1, 2], precision=["FP32", "FP16"], devices=[1, 2])
    with pytest.raises(
        InvalidValueError,
        match=r"several points for one cell \(at batch=1, precision='FP32'\): got other values of devices, .*"
        r"choose one first: \.where\(devices=\.\.\.\)",
    ):
        more.pivot("batch", "precision")
    assert more.where(devices=2).pivot("batch", "precision").labels == (1, 2)
    with pytest.raises(InvalidValueError, match=r"got the same point twice"):
        NET.sweep(Inference(), batch=[1, 1], precision=["FP32"]).pivot("batch", "precision")


# Text ------------------------------------------------------------------------------------------------------------------


def test_text_and_html() -> None:
    assert str(FOUND).splitlines()[0] == "4 points; 2 of precision, 2 of batch."
    assert "error" not in str(FOUND).splitlines()[1]
    page = FAILING._repr_html_()
    assert "4 points, 2 of them failed; 2 of input_size, 2 of batch." in page
    assert "the window is larger than the padded input along spatial axis 0 (at node" in page
    assert "..." in page
    many = NET.sweep(Inference(), batch=range(1, 101))
    lines = str(many).splitlines()
    assert len(lines) == 3 + 20 + 1
    assert lines[3].split()[0] == "1"
    assert lines[-1].split()[0] == "100"
    assert set(lines[13].split()) == {"..."}
    assert many._repr_html_().count("<tr>") == 1 + 21

    def broken(width: int) -> Net:
        raise ValueError("<b>")

    assert "&lt;b&gt;" in sweep(broken, Inference(), width=[1])._repr_html_()


# Ways out --------------------------------------------------------------------------------------------------------------


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(FOUND.to_csv())))
    assert rows[3] == {
        "precision": "FP16",
        "batch": "10",
        "parameters": "108",
        "macs": "3888",
        "peak": "6936",
        "activation_peak": "6720",
        "retained": "0",
        "peak_step": "forward of conv",
        "error": "",
    }
    failing = list(csv.DictReader(io.StringIO(FAILING.to_csv())))
    assert [row["peak"] for row in failing] == ["1776", "3120", "", ""]
    assert FOUND.to_csv().endswith("\n")


def test_csv_is_harmless_in_a_spreadsheet() -> None:
    evil = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"]

    def make(title: str) -> Net:
        raise ValueError(title)

    found = sweep(make, Inference(), title=[*evil, "fine"])
    cells = [row["title"] for row in csv.DictReader(io.StringIO(found.to_csv(), newline=""))]
    assert cells == [*[f"'{text}".replace("\r", "\n") for text in evil], "fine"]
    net = Net.input(3, 8, 8).then(Conv(4, 3), name="=conv")
    assert "'=" not in net.sweep(Inference()).to_csv()  # "forward of =conv" is no formula
    assert table(x=[-1]).to_csv() == "x,error\n-1,\n"  # a number is a number


def test_json() -> None:
    found = json.loads(FAILING.to_json())
    assert found["version"] == 1
    assert found["axes"] == ["input_size", "batch"]
    assert found["columns"]["peak"] == [1776, 3120, None, None]
    assert len(found["columns"]) == len(FAILING.columns)
    rows = [dict(zip(found["columns"], values, strict=True)) for values in zip(*found["columns"].values(), strict=True)]
    assert rows == FAILING.rows()


BIG = table(
    n=np.array([2**70, 1], dtype=object),
    holes=np.ma.MaskedArray([1, 2], mask=[False, True]),
    big_holes=np.ma.MaskedArray(np.array([2**70, 0], dtype=object), mask=[False, True]),
    mixed=np.array([1, "a"], dtype=object),
    real=[0.5, 1.0],
)


class Recorder(ModuleType):
    """Stands for a package that is not installed, and notes what it is given."""

    Int64, Int128, String = "Int64", "Int128", "String"

    def array(self, values: Any, dtype: Any = None) -> Any:
        return (list(values.tolist() if isinstance(values, np.ndarray) else values), dtype)

    def Series(self, first: Any, *more: Any, copy: bool = False) -> Any:
        if copy:
            return first
        values = more[0].tolist() if isinstance(more[0], np.ndarray) else more[0]
        return (first, values, more[1] if len(more) > 1 else None)

    def DataFrame(self, columns: Any) -> Any:
        return columns

    def table(self, columns: Any) -> Any:
        return SimpleNamespace(columns=columns, __arrow_c_stream__=lambda schema: ("capsule", schema))

    def int64(self) -> str:
        return "int64"

    def string(self) -> str:
        return "string"

    def decimal128(self, digits: int) -> str:
        return f"decimal{digits}"


def test_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", Recorder("pandas"))
    frame = FAILING.to_pandas()
    assert frame["peak"] == ([1776, 3120, None, None], "Int64")
    assert frame["batch"].tolist() == [1, 2, 1, 2]
    assert BIG.to_pandas()["big_holes"] == [2**70, None]


def test_polars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", Recorder("polars"))
    frame = {name: (values, kind) for name, values, kind in BIG.to_polars()}
    assert frame == {
        "n": ([2**70, 1], "Int128"),
        "holes": ([1, None], "Int64"),
        "big_holes": ([2**70, None], "Int128"),
        "mixed": (["1", "a"], "String"),
        "real": ([0.5, 1.0], None),
        "error": ([None, None], "String"),
    }


def test_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", Recorder("pyarrow"))
    assert BIG.to_arrow().columns == {
        "n": ([2**70, 1], "decimal38"),
        "holes": ([1, None], "int64"),
        "big_holes": ([2**70, None], "decimal38"),
        "mixed": (["1", "a"], "string"),
        "real": ([0.5, 1.0], None),
        "error": ([None, None], "string"),
    }
    assert BIG.__arrow_c_stream__("schema") == ("capsule", "schema")


@pytest.mark.parametrize(
    ("way", "module", "extra"),
    [
        ("to_pandas", "pandas", "pandas"),
        ("to_polars", "polars", "polars"),
        ("to_arrow", "pyarrow", "arrow"),
        ("__arrow_c_stream__", "pyarrow", "arrow"),
    ],
)
def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, way: str, module: str, extra: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"this needs {module}, .*pip install 'cnnbudget\[{extra}\]'"):
        getattr(FOUND, way)()


def test_a_training_keeps_something() -> None:
    found = NET.sweep(Training(), batch=[1, 2])
    assert found["retained"].tolist() == [NET.profile(Training(batch)).retained for batch in (1, 2)]
    assert [*product([1, 2])] == [(batch,) for batch in found["batch"].tolist()]
