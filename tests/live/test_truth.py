"""The harness of ``benchmarks/truth.py``, run small on a CPU: every row's prediction is what was measured."""

import csv
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "truth.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="on a CUDA device it measures kernels' workspaces, too")
def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_from_file_location("truth", SCRIPT)
    truth = module_from_spec(spec)
    spec.loader.exec_module(truth)
    monkeypatch.setattr(truth, "OPTIMIZERS", {word: truth.OPTIMIZERS[word] for word in ("sgd momentum", "adam")})
    table = tmp_path / "table.csv"
    truth.main(["--networks", "resnet18", "--batches", "2", "--size", "32", "--out", str(table)])
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == len(truth.PRECISIONS) * len(truth.OPTIMIZERS) == 4
    for row in rows:
        assert row["predicted"] == row["measured"], row
        assert int(row["predicted"]) < int(row["predicted_allocated"]) <= int(row["predicted_reserved"])
        assert row["reserved"] == ""
        assert row["torch"] == torch.__version__
