"""PyTorch: networks as modules that can be trained. PyTorch is imported when a function is called, not before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from cnnbudget.graph.nodes import Network
    from cnnbudget.interop.given import HasNetwork
    from cnnbudget.layers.base import Layer

__all__ = ["to_torch"]


def to_torch(
    network: Network | HasNetwork,
    *,
    rules: Mapping[type[Layer], Callable[..., nn.Module]] | None = None,
    flat: bool = False,
) -> nn.Module:
    """Makes the ``torch.nn.Module`` of a network, to train or to run it. Needs the extra ``cnnbudget[torch]``.

    Scopes of the node names are modules: ``layer1.0/conv`` is the module ``conv`` of the module ``0`` of the module ``layer1``, and
    its weight is ``layer1.0.conv.weight`` in the ``state_dict``. A name that a module cannot have gets a number. Every scope is
    called with the values that its nodes read from outside, and returns those that are needed outside; a value is dropped after
    its last reader, but while a call runs its caller holds what it was called with. Nodes of a scope that do not stand together
    in the execution order are run by several calls of the one module. ``flat=True`` has the same modules and parameters,
    but the network calls every layer itself: no value outlives its last reader, except the inputs, which the caller holds.

    Layers are PyTorch's own modules wherever it has them, with its initial weights and its defaults for whatever a layer does not
    say (epsilon, momentum); parameters and buffers have the names and shapes that the layers state. Nodes that share
    parameters share the module. The network's inputs are the arguments, in their order, with the batch in front; the result
    is a tensor, or a tuple of them if the network has several outputs. The module is in training mode, as any new module.
    It has the attributes ``network`` and ``modules_by_node``, the module of every node by its name.

    Args:
        network: A network, or a ``Net``.
        rules: For layers of other packages: a function by class, called with the layer and the specs of its inputs, that returns
            a module. A class's rule holds for its subclasses, and goes before ours.
        flat: Whether scopes are not called.

    Returns:
        The module.

    Raises:
        MissingExtraError: If PyTorch is not installed.
        MissingRuleError: If layers have no rule; the error lists them all, with their nodes.
        ConformanceError: If a rule makes something else than a module with the parameters that the layer states.
        ShapeError: If a layer cannot be applied to what reaches it.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> from cnnbudget.interop import to_torch
        >>> module = to_torch(Net.input(3, 8, 8).then(Conv(4, 3), name="stem"))  # doctest: +SKIP
        >>> list(module.state_dict())  # doctest: +SKIP
        ['stem.conv.weight', 'stem.conv.bias']
    """
    return _load("build", "to_torch").build(network, {} if rules is None else rules, flat=flat)


def _load(name: str, function: str) -> Any:
    """A module of this package that needs PyTorch."""
    try:
        import_module("torch")
    except ImportError as error:
        raise MissingExtraError(f"{function}() needs PyTorch", hint="pip install cnnbudget[torch]") from error
    return import_module(f"cnnbudget.interop.torch.{name}")
