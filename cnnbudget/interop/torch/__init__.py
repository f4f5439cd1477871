"""PyTorch: networks as modules that can be trained. PyTorch is imported when a function is called, not before."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnbudget.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from cnnbudget.graph.nodes import Network
    from cnnbudget.interop.given import HasNetwork
    from cnnbudget.layers.base import Layer

__all__ = ["from_torch", "to_torch"]


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


def from_torch(
    module: nn.Module,
    input_shape: Sequence[int] | Sequence[Sequence[int]],
    *,
    rules: Mapping[type[nn.Module], Callable[..., Layer]] | None = None,
    training: bool | None = None,
    unsupported: str = "error",
) -> Network:
    """Reads the network of a ``torch.nn.Module``. Needs the extra ``cnnbudget[torch]``.

    ``torch.export`` follows the forward pass of a copy on the device ``meta``: nothing is computed, no data is copied, hooks do not
    run, and the module stays as it is. Nodes are called like the modules they come from (``layer1.0.conv1``), and functional
    calls like their operation in their module's scope (``layer1.0/add``). Calls that use the same parameters share them. In-place
    operations stay in place, and where PyTorch must copy (``contiguous`` of a permuted value) there is a node that copies: a
    ``Concat`` of one value.

    Args:
        module: The module.
        input_shape: ``(C, *spatial)`` of one sample, without the batch, or a list of them if the module takes several tensors.
        rules: For modules that are one layer: a function by class, called with the module and the specs of what it reads, that
            returns a layer. A class's rule holds for its subclasses, and goes before ours.
        training: Whether it is followed as in training; ``None`` for the module's own mode. What a module does in one mode only
            (auxiliary heads, stochastic depth) is there in that mode only.
        unsupported: ``"error"`` for one error that lists every operation that has no layer; ``"opaque"`` to keep those whose
            result has a batch as :class:`~cnnbudget.interop.Opaque` layers.

    Returns:
        The network. Parameters that the forward pass does not use are not in it.

    Raises:
        MissingExtraError: If PyTorch is not installed.
        MissingRuleError: If operations have no layer.
        InvalidValueError: If ``torch.export`` cannot follow the module; the cause says where.
        ConformanceError: If a rule returns no layer.

    Example:
        >>> from torch import nn  # doctest: +SKIP
        >>> from cnnbudget.interop import from_torch
        >>> module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True))  # doctest: +SKIP
        >>> [(node.name, node.layer) for node in from_torch(module, (3, 32, 32)).nodes]  # doctest: +SKIP
        [('0', Conv(8, 3, padding=1)), ('1', ReLU(inplace=True))]
    """
    capture = _load("capture", "from_torch").capture
    return capture(module, input_shape, {} if rules is None else rules, training=training, unsupported=unsupported)


def _load(name: str, function: str) -> Any:
    """A module of this package that needs PyTorch."""
    try:
        import_module("torch")
    except ImportError as error:
        raise MissingExtraError(f"{function}() needs PyTorch", hint="pip install cnnbudget[torch]") from error
    return import_module(f"cnnbudget.interop.torch.{name}")
