"""``from_onnx`` on what PyTorch exports: ``data/onnx_exports.json.gz`` says which module, how, and what PyTorch counts of it."""

import base64
import gzip
import json
from pathlib import Path

import pytest

from cnnbudget import BatchNorm, costs
from cnnbudget.interop import from_onnx

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "onnx_exports.json.gz").read_bytes()))


def test_an_export_that_keeps_everything():
    table = costs(from_onnx(base64.b64decode(DATA["torchscript"])))
    assert table.parameter_count == DATA["parameters"]
    assert table.buffer_count == DATA["buffers"]
    assert 2 * 2 * table.mac_count == DATA["flops"]
    assert list(table)[-1].output_shape == tuple(DATA["output"])
    assert table.network.inputs[0].shape == tuple(DATA["input"])
    assert sum(isinstance(cost.node.layer, BatchNorm) for cost in table) == 2


def test_an_export_that_folds_batch_normalisations_away_warns():
    with pytest.warns(UserWarning, match="batch normalisations seem to have been folded into convolutions"):
        table = costs(from_onnx(base64.b64decode(DATA["export"])))
    # two times 8 parameters became a bias of 8, and two times 6 went into a bias that was there
    assert table.parameter_count == DATA["parameters"] - 2 * 8 + 8 - 2 * 6
    assert table.buffer_count == 0
    assert 2 * 2 * table.mac_count == DATA["flops"]
    assert list(table)[-1].output_shape == tuple(DATA["output"])
