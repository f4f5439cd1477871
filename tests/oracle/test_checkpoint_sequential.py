"""Checkpointing against PyTorch's ``checkpoint_sequential``, measured: bytes alive after the forward pass, and the peak.

How it was measured is in the README beside this file. The networks are cut into the same functions that PyTorch was given.
"""

import gzip
import json
from pathlib import Path

import pytest
from measured_networks import NETWORKS

from cnnbudget import (
    AdaptiveAvgPool,
    Autograd,
    Checkpoint,
    Conv,
    Flatten,
    Linear,
    Net,
    ReLU,
    Training,
    zoo,
)

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "memory_variants.json.gz").read_bytes()))[
    "checkpoint"
]
ROWS = [dict(zip(DATA["columns"], row, strict=True)) for row in DATA["rows"]]


def chain16() -> Net:
    net = Net.input(3, 32, 32)
    for number in range(16):
        net = net.then(Conv(16, 3, padding=1), ReLU(), name=f"pair{number}")
    return net.then(AdaptiveAvgPool(1), Flatten(), Linear(10), name="end")


def blocks_of_resnet(net: Net) -> list[str]:
    """The stem, every block, and the head."""
    scopes = dict.fromkeys(node.name.partition("/")[0] for node in net.network.nodes if node.name.startswith("layer"))
    return ["max_pool", *scopes, net.network.outputs[0]]


def functions_of_vgg(net: Net) -> list[str]:
    """Every convolution with its ReLU, every pooling but the last, the last one with what follows it, and the linear layers."""
    names = [node.name for node in net.network.nodes]
    features = [name for name in names if "relu" in name or "max_pool" in name]
    convolutions = [name for name in features if name.startswith("features")]
    flat = next(name for name in names if "flatten" in name)
    dropouts = [name for name in names if "dropout" in name]
    return [*convolutions, flat, *dropouts, net.network.outputs[0]]


def network_of(name: str) -> tuple[Net, list[str] | None]:
    """The network, and the ends of its functions where they are not its units."""
    if name == "chain16":
        return chain16(), None
    if name == "resnet20_cifar":
        return NETWORKS["resnet20_cifar_noinplace"](), None
    if name in NETWORKS:
        return NETWORKS[name](), None
    net = getattr(zoo, name)()
    return net, functions_of_vgg(net) if name.startswith("vgg") else blocks_of_resnet(net)


def policy(ends: list[str] | None, children: int, segments: int, *, in_place: bool) -> Autograd:
    if segments < 2:
        return Autograd(sums_in_place=in_place)
    size = children // segments
    if ends is None:
        return Checkpoint(units=size, times=segments - 1, sums_in_place=in_place)
    assert len(ends) == children
    return Checkpoint(names=[ends[size * (number + 1) - 1] for number in range(segments - 1)], sums_in_place=in_place)


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['model']}-{row['segments']}" for row in ROWS])
def test_what_pytorch_keeps_and_needs(row: dict) -> None:
    net, ends = network_of(row["model"])
    batch = row["batch"]
    for in_place, peak in ((False, row["peak_train_dyn"]), (True, row["true_peak_train_dyn"])):
        kept = policy(ends, row["children"], row["segments"], in_place=in_place)
        found = net.profile(Training(batch, retention=kept, loss="cross_entropy", frames="eager"))
        image = 4 * net.network.inputs[0].spec.element_count * batch
        target, out = 8 * batch, 4 * net.output_shape[0] * batch
        fixed = 4 * net.parameter_count + buffer_bytes(net) + image + target
        assert found.peak - fixed == peak
        assert found.retained - image - target + out + 4 == row["live_after_fwd"]


def buffer_bytes(net: Net) -> int:
    """Running statistics take four bytes, counters of batches eight."""
    return sum(
        spec.element_count * (8 if spec.dtype is not None and spec.dtype.name == "int64" else 4)
        for cost in net.costs()
        for _, spec in cost.buffers or ()
    )
