"""Speed of reading and writing models: JSON, TOML and Keras, and PyTorch beside ``torch.export`` where PyTorch is installed.

Run: ``python benchmarks/interop.py``. CPU time, best of several; nothing here is asserted.
"""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cnnbudget import Conv, Net
from cnnbudget.interop import from_json, from_keras, from_toml, from_torch, to_json, to_toml, to_torch
from cnnbudget.zoo import resnet50, resnet152

if TYPE_CHECKING:
    from collections.abc import Callable


def best(run: Callable[[], object], times: int = 5) -> float:
    """CPU milliseconds of the fastest of several runs."""
    spent = []
    for _ in range(times):
        start = time.process_time_ns()
        run()
        spent.append(time.process_time_ns() - start)
    return min(spent) / 1e6


def keras_model(depth: int) -> str:
    """A sequential model of so many convolutions and normalisations, with what Keras writes of each."""
    layers: list[dict[str, object]] = [
        {"class_name": "InputLayer", "config": {"name": "image", "batch_shape": [None, 224, 224, 3]}}
    ]
    more = {"kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}, "trainable": True}
    for number in range(depth):
        convolution = {"name": f"conv{number}", "filters": 64, "kernel_size": [3, 3], "padding": "same", **more}
        layers.append({"class_name": "Conv2D", "config": convolution})
        layers.append({"class_name": "BatchNormalization", "config": {"name": f"norm{number}", "axis": -1, **more}})
        layers.append({"class_name": "Activation", "config": {"name": f"relu{number}", "activation": "relu"}})
    return json.dumps({"class_name": "Sequential", "config": {"name": "model", "layers": layers}})


def main() -> None:
    """Prints everything."""
    large = resnet152().network
    text, toml, keras = to_json(large), to_toml(large), keras_model(53)
    print(f"ResNet-152 has {len(large):,} nodes, and {len(text):,} characters in JSON, {len(toml):,} in TOML")
    print(f"to_json    {best(lambda: to_json(large)):8.2f} ms")
    print(f"from_json  {best(lambda: from_json(text)):8.2f} ms")
    print(f"to_toml    {best(lambda: to_toml(large)):8.2f} ms")
    print(f"from_toml  {best(lambda: from_toml(toml)):8.2f} ms")
    print(f"from_keras {best(lambda: from_keras(keras)):8.2f} ms, 159 layers (as many as ResNet-50 has)")
    chain = to_json(Net.input(3, 8, 8).then(*[Conv(3, 3, padding=1)] * 50_000))
    print(f"from_json  {best(lambda: from_json(chain), 2):8.2f} ms, 50,000 convolutions")
    if find_spec("torch") is None:
        print("PyTorch is not installed")
        return
    import torch

    net = resnet50()
    with torch.device("meta"):
        module = to_torch(net).eval()
    image = torch.empty(2, 3, 224, 224, device="meta")
    export = best(lambda: torch.export.export(module, (image,), strict=False), 3)
    ours = best(lambda: from_torch(module, (3, 224, 224)), 3)
    print(f"from_torch {ours:8.2f} ms, ResNet-50; torch.export alone {export:.2f} ms, ratio {ours / export:.2f}")


if __name__ == "__main__":
    main()
