"""A training step and a prediction of a network in PyTorch, watched: what is kept, and the most bytes alive."""

from typing import Any

import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor

from cnnbudget import Network

from .interpreter import module_of
from .trackers import LiveBytes

__all__ = ["Watched", "predict", "train"]


@frozen
class Watched:
    """Bytes of a training step.

    Args:
        fixed: Parameters, buffers, inputs and targets.
        kept: What is kept for backward: unique storages, inputs and targets included.
        forward: What is alive when the loss exists, without what is fixed.
        peak: The most bytes alive, with what is fixed.
        left: What is alive after backward, without what is fixed.
    """

    fixed: int
    kept: int
    forward: int
    peak: int
    left: int


def bytes_of(tensors: Any) -> int:
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def outputs_of(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def loss_of(outputs: tuple[Tensor, ...], targets: list[Tensor]) -> Tensor:
    total = F.cross_entropy(outputs[0], targets[0])
    for out, target in zip(outputs[1:], targets[1:], strict=True):
        total = total + F.cross_entropy(out, target)  # as a script does: sum() would hold the first to the end
    return total


def train(network: Network, inputs: list[Tensor], *, joins: bool = False) -> Watched | None:
    """Watches a step with the cross-entropy of every output; ``None`` if nothing in the network trains."""
    device = inputs[0].device.type
    module = module_of(network, device).train()
    with torch.no_grad():
        shapes = [tuple(value.shape) for value in outputs_of(module(*(value.clone() for value in inputs)))]
    made: dict[tuple[int, ...], Tensor] = {}
    targets = []
    for batch, _, *spatial in shapes:  # equal targets are one tensor
        shape = (batch, *spatial)
        targets.append(made.setdefault(shape, torch.zeros(shape, dtype=torch.int64, device=device)))
    fixed = [*module.parameters(), *module.buffers(), *inputs, *made.values()]
    own = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in own:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = loss_of(outputs_of(module(*inputs)), targets)
    if not loss.requires_grad:
        return None
    size = bytes_of(kept.values())
    kept.clear()
    del loss
    with LiveBytes(fixed, joins=joins) as watch:
        out = module(*inputs)
        loss = loss_of(outputs_of(out), targets)
        forward = watch.live
        loss.backward()
        left = watch.live
    del out, loss
    return Watched(bytes_of(fixed), size, forward, watch.peak + bytes_of(fixed), left)


def predict(network: Network, inputs: list[Tensor], *, flat: bool) -> int:
    """Watches a prediction; the caller holds the inputs.

    Returns:
        The most bytes alive, with parameters, buffers and inputs.
    """
    module = module_of(network, inputs[0].device.type, flat=flat).eval()
    fixed = [*module.parameters(), *module.buffers(), *inputs]
    with torch.no_grad(), LiveBytes(fixed) as watch:
        module(*inputs)
    return watch.peak + bytes_of(fixed)
