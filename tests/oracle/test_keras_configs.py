"""``from_keras`` beside Keras: models of keras.applications layer by layer, and single layers of a thousand configurations.

Sources: ``data/keras_applications.json.gz`` says what Keras 3.15.1 (PyTorch backend, CPU) wrote with ``model.to_json()`` for
models without weights, and what it said of every layer: output shape, trainable and non-trainable parameters. Its totals are
those of ``keras_applications_counted.csv`` beside the repository. Single layers: ``data/op_shapes*.json.gz``, as in
``test_op_shapes.py``.
"""

import contextlib
import gzip
import json
from pathlib import Path

import pytest

from cnnbudget import costs
from cnnbudget.errors import FormatError
from cnnbudget.interop import from_keras

DATA = Path(__file__).parent / "data"
MODELS = json.loads(gzip.decompress((DATA / "keras_applications.json.gz").read_bytes()))["models"]
OPS = {
    name: table
    for file in ("op_shapes", "op_shapes_more")
    for name, table in json.loads(gzip.decompress((DATA / f"{file}.json.gz").read_bytes()))["keras"]["ops"].items()
}


def first(shape):
    """Channels first, without the batch."""
    return (shape[-1], *shape[1:-1])


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_of_a_model(name):
    model = MODELS[name]
    height, width, channels = model["input_shape"]
    table = costs(from_keras(model["config"], input_shape=(channels, height, width)))
    assert table.parameter_count == model["trainable"]
    assert table.parameter_count + table.buffer_count == model["total"]
    outputs, counts = {}, {}
    for cost in table:
        layer = cost.name.partition("/")[0]
        outputs[layer] = cost.output_shape
        trained, other = counts.get(layer, (0, 0))
        counts[layer] = trained + cost.parameter_count, other + sum(spec.element_count for _, spec in cost.buffers)
    for layer, kind, shape, trained, other in model["layers"]:
        if kind == "InputLayer":
            continue
        assert counts[layer] == (trained, other), layer
        if None not in shape[1:]:
            assert outputs[layer] == first(shape), layer
    operations = {*counts} - {layer for layer, *_ in model["layers"]}  # arithmetic is no layer in Keras
    assert {counts[name] for name in operations} <= {(0, 0)}


@pytest.mark.parametrize("op", OPS)
def test_every_row_of_a_layer(op):
    checked = 0
    for values, shape, outcome, *counts in OPS[op]["rows"]:
        config = {name: value for name, value in zip(OPS[op]["config"], values, strict=True) if value is not None}
        layers = [
            {"class_name": "InputLayer", "config": {"name": "x", "batch_shape": [None, *shape]}},
            {"class_name": op, "config": {"name": "layer", **config}},
        ]
        model = {"class_name": "Sequential", "config": {"name": "model", "layers": layers}}
        if isinstance(outcome, str):  # what Keras refuses, we refuse or can compute; test_op_shapes.py says which
            with contextlib.suppress(FormatError):
                from_keras(model)
            continue
        table = costs(from_keras(model))
        assert list(table)[-1].output_shape == (outcome[-1], *outcome[:-1]), (config, shape)
        if counts and counts[0] is not None:
            assert table.parameter_count == counts[0], (config, shape)
        checked += 1
    assert checked > 40
