"""Networks as PyTorch modules, for the tests: with weights that are known, and with a look at the value of every node."""

from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cnnbudget import Network
from cnnbudget.interop import to_torch

__all__ = ["module_of", "own_modules", "run"]


def module_of(network: Network, device: str = "meta", *, flat: bool = False) -> nn.Module:
    """Makes a module of a network, in evaluation mode.

    Args:
        network: The network.
        device: Where its parameters are: on the device ``meta`` nothing is computed, and nothing takes memory.
        flat: As in ``to_torch``.
    """
    with torch.device(device):
        module = to_torch(network, flat=flat).eval()
    for tensor in [] if device == "meta" else [*module.parameters(), *module.buffers()]:
        with torch.no_grad():
            if tensor.is_floating_point():
                tensor.copy_(torch.linspace(0.1, 0.9, tensor.numel()).reshape(tensor.shape))
            else:
                tensor.zero_()
    return module


def own_modules(module: nn.Module) -> dict[str, nn.Module]:
    """The modules of the nodes that use no other node's parameters."""
    return {node.name: module.modules_by_node[node.name] for node in module.network.nodes if node.shares is None}


def run(
    module: nn.Module, *inputs: Tensor, seen: Callable[[str, Tensor], None] = lambda name, value: None
) -> list[Tensor]:
    """Runs a module, and shows the value of every node when it is made."""
    nodes = defaultdict(list)
    for node in reversed(module.network.nodes):
        nodes[module.modules_by_node[node.name]].append(node.name)
    handles = [
        made.register_forward_hook(lambda called, args, value: seen(nodes[called].pop(), value)) for made in nodes
    ]
    try:
        outputs = module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    assert not any(nodes.values())
    return list(outputs) if isinstance(outputs, tuple) else [outputs]
