"""The module of a network: scopes that call their layers and each other, as planned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from cnnbudget.errors import ConformanceError, InvalidTypeError, InvalidValueError, MissingRuleError, shorten
from cnnbudget.graph.shapes import place_of, specs
from cnnbudget.interop.frames import Run, plan
from cnnbudget.interop.given import HasNetwork, network_of
from cnnbudget.interop.torch.rules import RULES
from cnnbudget.layers.base import Layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.graph.nodes import Network, Node
    from cnnbudget.tensors import TensorSpec

    Rule = Callable[..., nn.Module]

__all__ = ["NetworkModule", "Scope", "build"]

_SHOWN = 20


class Scope(nn.Module):
    """A scope of node names: holds its layers and inner scopes, and calls them. No value outlives its last reader here."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: tuple[Run, ...] = ()

    def forward(self, *inputs: Tensor, run: int = 0) -> Tensor | tuple[Tensor, ...]:
        """Runs a stretch of the scope's nodes.

        Args:
            *inputs: Whatever they read and do not make.
            run: Which stretch; most scopes have one.

        Returns:
            Whatever is needed outside.
        """
        todo = self.runs[run]
        values = dict(zip(todo.inputs, inputs, strict=True))
        for step in todo.steps:
            child: Any = self
            for name in step.child:
                child = child._modules[name]  # noqa: SLF001  # a name may look like a method's
            more = {"run": step.run} if isinstance(child, Scope) else {}
            # Whatever has a variable here is alive here: no value gets one.
            values.update(_named(step.outputs, child(*[values[name] for name in step.inputs], **more)))
            for name in step.drops:
                del values[name]
        found = tuple([values[name] for name in todo.outputs])
        return found[0] if len(found) == 1 else found


def _named(names: tuple[str, ...], value: Any) -> list[tuple[str, Any]]:
    return [(names[0], value)] if len(names) == 1 else list(zip(names, value, strict=True))


class NetworkModule(Scope):
    """The module of a network.

    Attributes:
        network: The network.
        modules_by_node: The module of every node, by its name.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.modules_by_node: dict[str, nn.Module] = {}

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:  # type: ignore[override]  # it has one run
        """Runs the network.

        Args:
            *inputs: A batch for every input of the network.

        Returns:
            The output, or all of them.

        Raises:
            InvalidValueError: If there are too many or too few inputs.
        """
        if len(inputs) != len(self.network.inputs):
            names = ", ".join(source.name for source in self.network.inputs)
            raise InvalidValueError(
                "the network is called with another number of inputs",
                got=str(len(inputs)),
                expected=f"{len(self.network.inputs)}: {names}",
            )
        return super().forward(*inputs)


def build(given: Network | HasNetwork, rules: Mapping[type[Layer], Rule], *, flat: bool) -> NetworkModule:
    """Makes the module of a network; see :func:`cnnbudget.interop.torch.to_torch`."""
    network = network_of(given, "to_torch()")
    known = specs(network)
    uses = [(node, tuple([known[name] for name in node.inputs])) for node in network.nodes]
    table = {**RULES, **_checked(rules)}
    _need_rules(uses, table)
    planned = plan(network, flat=flat, reserved=dir(NetworkModule(network)))
    module = NetworkModule(network)
    module.runs = planned.runs[()]
    scopes: dict[tuple[str, ...], Scope] = {(): module}
    found: dict[str, tuple[nn.Module, Layer, int]] = {}
    for node, inputs in uses:
        rank = len(inputs[0].shape)
        owner, layer, owners_rank = found.get(node.shares or "", (None, None, None))
        if owner is not None and (layer, owners_rank) == (node.layer, rank):
            made = owner
        else:
            made = _make(node, inputs, table)
            if owner is not None:
                _tie(node, made, owner)
        found[node.name] = (made, node.layer, rank)
        module.modules_by_node[node.name] = made
        place = planned.places[node.name]
        for depth in range(1, len(place)):
            if place[:depth] not in scopes:
                inner = scopes[place[:depth]] = Scope()
                inner.runs = planned.runs[place[:depth]]
                scopes[place[: depth - 1]].add_module(place[depth - 1], inner)
        scopes[place[:-1]].add_module(place[-1], made)
    return module


def _checked(rules: Any) -> dict[type[Layer], Rule]:
    fine = isinstance(rules, Mapping) and all(
        isinstance(kind, type) and issubclass(kind, Layer) and callable(rule) for kind, rule in rules.items()
    )
    if not fine:
        raise InvalidTypeError(
            "rules are functions by class of layer", got=shorten(rules), expected="for example {MyLayer: make_module}"
        )
    return dict(rules)


def _rule_of(kind: type[Layer], table: Mapping[type[Layer], Rule]) -> Rule | None:
    return next((table[each] for each in kind.__mro__ if each in table), None)


def _need_rules(uses: list[tuple[Node, tuple[TensorSpec, ...]]], table: Mapping[type[Layer], Rule]) -> None:
    missing: dict[type[Layer], list[str]] = {}
    for node, _ in uses:
        if _rule_of(type(node.layer), table) is None:
            missing.setdefault(type(node.layer), []).append(repr(node.name))
    if missing:
        first = next(iter(missing)).__name__
        raise MissingRuleError(
            f"to_torch() has no rule for {len(missing)} kind{'s' * (len(missing) > 1)} of layers",
            got="; ".join(
                f"{kind.__name__} of {kind.__module__} at {_listed(names)}" for kind, names in missing.items()
            ),
            hint=f"give rules={{{first}: function}}: it is called with the layer and the specs of its inputs, "
            "and returns a torch.nn.Module",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")


def _make(node: Node, inputs: tuple[TensorSpec, ...], table: Mapping[type[Layer], Rule]) -> nn.Module:
    rule = _rule_of(type(node.layer), table)
    assert rule is not None  # noqa: S101  # as was just checked
    try:
        made = rule(node.layer, *inputs)
    except MissingRuleError as error:
        raise error.at(place_of(node, inputs)) from None
    what = f"the rule of {type(node.layer).__name__}"
    if not isinstance(made, nn.Module):
        raise ConformanceError(
            f"{what} returned no module", where=place_of(node, inputs), got=shorten(made), expected="a torch.nn.Module"
        )
    stated = node.layer.parameters(inputs)
    if stated is not None:
        theirs = sorted(tuple(parameter.shape) for parameter in made.parameters())
        ours = sorted(map(tuple, stated.values()))
        if theirs != ours:
            raise ConformanceError(
                f"{what} made other parameters than the layer states",
                where=place_of(node, inputs),
                got=shorten(theirs),
                expected=shorten(ours),
            )
    return made


def _tie(node: Node, made: nn.Module, owner: nn.Module) -> None:
    """Gives a module the parameters and buffers of another, whose settings are others."""
    for kind in ("named_parameters", "named_buffers"):
        theirs = dict(getattr(owner, kind)())
        for path, own in list(getattr(made, kind)()):
            if path not in theirs or theirs[path].shape != own.shape:
                raise ConformanceError(
                    "a node cannot use the parameters of the node that it shares",
                    where=f"node {node.name!r}",
                    got=f"{path} {tuple(theirs[path].shape) if path in theirs else 'missing'} of {node.shares!r}",
                    expected=f"{path} {tuple(own.shape)}",
                )
            *outer, name = path.split(".")
            setattr(made.get_submodule(".".join(outer)), name, theirs[path])
