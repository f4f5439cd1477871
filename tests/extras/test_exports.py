"""A sweep in other packages' hands: pandas, polars, Arrow, tqdm and Dask, each skipped where it is not installed."""

import warnings
from typing import Any

import numpy as np
import pytest

from cnnbudget import Conv, Inference, Net, Sweep, Training, sweep, zoo

NET = Net.input(3, 8, 8).then(Conv(4, 3))
FOUND = NET.sweep(Inference(), batch=[1, 2], input_size=[8, 2], precision=["FP32", "FP16"])
HUGE = Net.input(2**20, 2**14).then(Conv(1, 1)).sweep(Inference(), batch=[1, 2**30])


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]


@pytest.mark.parametrize("found", [FOUND, HUGE, FOUND.failed, FOUND.fits(1), zoo.lenet5().sweep(Training())])
class TestFrames:
    def test_pandas(self, found: Sweep) -> None:
        pandas = pytest.importorskip("pandas")
        frame = found.to_pandas()
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        assert plain(rows) == found.rows()
        assert list(frame.columns) == list(found)
        if len(found) > 1 and found is FOUND:
            assert frame["peak"].dtype == "Int64"
            frame.loc[0, "batch"] = 3  # a copy, which may be written to
            assert isinstance(frame["peak"].sum(), np.integer)
        assert pandas.__name__ == "pandas"

    def test_polars(self, found: Sweep) -> None:
        pytest.importorskip("polars")
        frame = found.to_polars()
        assert frame.to_dicts() == found.rows()
        assert frame["error"].dtype.is_(type(frame["error"].dtype)())

    def test_arrow(self, found: Sweep) -> None:
        pytest.importorskip("pyarrow")
        rows = found.to_arrow().to_pylist()
        assert [
            {
                name: value if value is None or isinstance(value, str) else type(mine[name])(value)
                for name, value in row.items()
            }
            for row, mine in zip(rows, found.rows(), strict=True)
        ] == found.rows()

    def test_arrow_by_its_protocol(self, found: Sweep) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        assert pyarrow.table(found).equals(found.to_arrow())


def test_polars_reads_the_protocol() -> None:
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    assert polars.DataFrame(FOUND).to_dicts() == FOUND.rows()


def test_a_bar(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    NET.sweep(Inference(), batch=[1, 2, 3], precision=["FP32", "FP16"], progress=True)
    assert "6/6" in capfd.readouterr().err


@pytest.mark.filterwarnings("default")
def test_a_dask_cluster() -> None:
    distributed = pytest.importorskip("distributed")
    options: dict[str, Any] = {
        "batch": [1, 7],
        "input_size": [28, 3],
        "num_classes": [10, 0],
        "precision": ["FP32", "fp23"],
    }
    expected = sweep(zoo.lenet5, Training(), **options).rows()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with (
            distributed.LocalCluster(
                n_workers=2, threads_per_worker=1, dashboard_address=None, processes=True
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            found = sweep(zoo.lenet5, Training(), executor=client.get_executor(), **options)
    assert found.rows() == expected
