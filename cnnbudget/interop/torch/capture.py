"""A module's network: its graph as ``torch.export`` sees it, operation by operation. Nothing is computed and nothing allocated."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from cnnbudget.checks import one_of
from cnnbudget.errors import (
    CnnBudgetError,
    ConformanceError,
    InvalidTypeError,
    InvalidValueError,
    MissingRuleError,
    shorten,
)
from cnnbudget.graph.naming import Namer
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.interop.opaque import Opaque
from cnnbudget.interop.torch import modules
from cnnbudget.interop.torch.operations import OPERATIONS, PASSED, Call, Constant, Made, Parts, Refused, Value, Weight
from cnnbudget.layers.base import Layer, word_of
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Concat
from cnnbudget.layers.norm import LayerNorm, LocalResponseNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, AdaptiveMaxPool, LPPool
from cnnbudget.layers.regularize import DropPath
from cnnbudget.layers.scale import Identity
from cnnbudget.tensors import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[..., Layer]

__all__ = ["capture"]

_BATCH = 2
_SHOWN = 50
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_KEPT: Any = (None,)  # the size that it has


def _lp_pool(module: Any, _: TensorSpec) -> Layer:
    settings = {"stride": module.stride, "ceil_mode": module.ceil_mode}
    return LPPool(float(module.norm_type), module.kernel_size, **settings)


def _response_norm(module: Any, _: TensorSpec) -> Layer:
    return LocalResponseNorm(module.size, alpha=module.alpha, beta=module.beta, k=float(module.k))


_MODULES: dict[type[nn.Module], Rule] = {
    nn.LocalResponseNorm: _response_norm,
    **dict.fromkeys((nn.LPPool1d, nn.LPPool2d, nn.LPPool3d), _lp_pool),
    **dict.fromkeys(modules.WHOLE, lambda module, *_: module.layer),
    **dict.fromkeys((modules.PaddedConv1d, modules.PaddedConv2d, modules.PaddedConv3d), lambda module, _: module.layer),
    **dict.fromkeys(
        (modules.CutConvTranspose1d, modules.CutConvTranspose2d, modules.CutConvTranspose3d),
        lambda module, _: module.layer,
    ),
    modules.Linear: lambda module, _: Linear(module.out_features, bias=module.bias is not None, axis=module.axis),
    modules.LayerNorm: lambda module, _: LayerNorm(
        module.axes, affine=module.elementwise_affine, bias=module.bias is not None or not module.elementwise_affine
    ),
    modules.AdaptiveAvgPool1d: lambda *_: AdaptiveAvgPool(_KEPT),
    modules.AdaptiveMaxPool1d: lambda *_: AdaptiveMaxPool(_KEPT),
}
"""Modules of PyTorch's and of ours whose operations are one layer together."""

_BY_NAME: dict[str, Rule] = {
    "torchvision.ops.stochastic_depth.StochasticDepth": lambda module, _: DropPath(float(module.p), mode=module.mode),
}
"""Those of packages that need not be there."""


def capture(
    module: nn.Module,
    input_shape: Any,
    rules: Mapping[type[nn.Module], Rule],
    *,
    training: bool | None,
    unsupported: str,
) -> Network:
    """Reads the network of a module; see :func:`cnnbudget.interop.torch.from_torch`."""
    if not isinstance(module, nn.Module):
        raise InvalidTypeError("from_torch() takes a module", got=shorten(module), expected="a torch.nn.Module")
    one_of(unsupported, ("error", "opaque"), "unsupported")
    table = {**_MODULES, **_checked(rules)}
    shapes = _shapes(input_shape)
    bare = _without_data(module)
    bare.train(module.training if training is None else training)
    return _Reader(bare, _export(bare, shapes), table, opaque=unsupported == "opaque").network()


def _checked(rules: Any) -> dict[type[nn.Module], Rule]:
    fine = isinstance(rules, Mapping) and all(
        isinstance(kind, type) and issubclass(kind, nn.Module) and callable(rule) for kind, rule in rules.items()
    )
    if not fine:
        raise InvalidTypeError(
            "rules are functions by class of module", got=shorten(rules), expected="for example {MyModule: make_layer}"
        )
    return dict(rules)


def _shapes(given: Any) -> list[tuple[int, ...]]:
    if not isinstance(given, (tuple, list)) or not given:
        raise InvalidTypeError(
            "input_shape is the shape of one sample, or a list of them",
            got=shorten(given),
            expected="for example (3, 224, 224)",
        )
    several = given if isinstance(given[0], (tuple, list)) else [given]
    return [Input("input", shape).shape for shape in several]


def _without_data(module: nn.Module) -> nn.Module:
    """A copy on the device ``meta``, without hooks; no data is copied, and the module stays as it is."""
    memo: dict[int, Any] = {}
    for each in module.modules():
        for held in (each._parameters, each._buffers, vars(each)):  # noqa: SLF001  # there is no other way to all of them
            for value in held.values():
                if isinstance(value, torch.Tensor) and id(value) not in memo:
                    empty = torch.empty_like(value, device="meta", requires_grad=False)
                    trained = isinstance(value, nn.Parameter)
                    memo[id(value)] = nn.Parameter(empty, requires_grad=value.requires_grad) if trained else empty
        for name in _HOOKS:
            memo[id(getattr(each, name))] = type(getattr(each, name))()
    return copy.deepcopy(module, memo)


def _export(module: nn.Module, shapes: list[tuple[int, ...]]) -> Any:
    inputs = tuple(torch.empty(_BATCH, *shape, device="meta") for shape in shapes)
    try:
        with torch.device("meta"), torch.no_grad():  # what the forward pass makes is there, too
            return torch.export.export(module, inputs, strict=False)
    except Exception as error:
        raise InvalidValueError(
            "torch.export cannot follow the module",
            got=shorten(str(error).strip().partition("\n")[0], 300),
            expected="a forward pass whose course does not depend on the values",
            hint="the cause says where; give rules={Module: function} for the module that cannot be followed",
        ) from error


class _Reader:
    """Walks the graph: every operation becomes a node, or the value that it is."""

    def __init__(self, module: nn.Module, program: Any, rules: Mapping[type[nn.Module], Rule], *, opaque: bool) -> None:
        self.module = module
        self.program = program
        self.rules = rules
        self.opaque = opaque
        self.nodes: list[Node] = []
        self.inputs: list[Input] = []
        self.unsupported: list[str] = []
        self.values: dict[Any, Any] = {}  # of the graph's nodes: Value, Weight, Parts, a constant, or None
        self.holders: dict[str, list[Any]] = {}  # the graph's nodes that are a value of ours
        self.owners: dict[str, tuple[str, tuple[str, ...]]] = {}  # by parameter: who used it first, with which others
        self.specs: dict[str, TensorSpec] = {}
        self.namer = Namer()
        signature = program.graph_signature
        constants = {**signature.inputs_to_buffers, **signature.inputs_to_lifted_tensor_constants}
        self.weights = {**signature.inputs_to_parameters, **constants}
        self.buffers = frozenset(constants.values())

    def network(self) -> Network:
        graph, outputs, position = list(self.program.graph.nodes), [], 0
        while position < len(graph):
            node = graph[position]
            position += 1
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "output":
                found = [self.values.get(each) for each in _flat(node.args)]
                outputs = [value.name for value in found if isinstance(value, Value)]
            elif (match := self._match(node)) is not None:
                call, module, rule = match
                start = position - 1
                while call in graph[position].meta.get("nn_module_stack", {}):
                    position += 1
                self._module(graph[start:position], module, rule)
            else:
                self._operation(node)
        if self.unsupported:
            count = len(self.unsupported)
            more = f"; ... ({count} in all)" if count > _SHOWN else ""
            raise MissingRuleError(
                f"from_torch() has no layer for {count} operation{'s' * (count > 1)}",
                got="; ".join(self.unsupported[:_SHOWN]) + more,
                hint="give rules={Module: function} for the modules that hold them, "
                "or unsupported='opaque' to keep them as layers of known shapes and unknown cost",
            )
        if outputs and not self.nodes:  # a module that does nothing
            self.nodes.append(Node(self.namer.fresh("identity"), Identity(), (outputs[0],)))
            outputs[0] = self.nodes[0].name
        if not outputs:
            raise InvalidValueError(
                "the module returns no value that depends on its inputs", expected="a tensor, or several"
            )
        return Network(tuple(self.inputs), tuple(self.nodes), tuple(dict.fromkeys(outputs)))

    def _placeholder(self, node: Any) -> None:
        if node.name in self.weights:
            self.values[node] = Weight(self.weights[node.name], node.meta["val"])
        else:
            name = self.namer.fresh(node.name)
            self.inputs.append(Input(name, tuple(node.meta["val"].shape[1:])))
            self.specs[name] = self.inputs[-1].spec
            self._hold(node, Value(name, node.meta["val"]))

    def _hold(self, node: Any, value: Value) -> None:
        self.values[node] = value
        self.holders.setdefault(value.name, []).append(node)

    # Operations.

    def _operation(self, node: Any) -> None:
        if node.target is operator.getitem:
            self._item(node)
            return
        schema = getattr(node.target, "_schema", None)
        name = node.target.__name__ if schema is None else schema.name.partition("::")[2]
        inplace = name.endswith("_")
        name = name.removesuffix("_") if inplace else name
        arguments = {} if schema is None else self._arguments(node, schema)
        found = self._all(node)
        reads = [value for value in found if isinstance(value, (Value, Parts))]
        if None in found:  # what was refused reaches further, and is said once
            self.values[node] = None
        elif not reads:  # counters of batches, and what is made of constants
            self.values[node] = Constant()
        elif name in PASSED and isinstance(reads[0], Value):
            self._hold(node, reads[0])
        else:
            try:
                if name not in OPERATIONS:
                    raise Refused("there is no layer like it")
                call = Call(name, inplace, arguments, node.meta.get("val"), self.buffers)
                self._take(node, OPERATIONS[name](call), inplace=inplace)
            except (Refused, CnnBudgetError) as error:
                if node.users or inplace:  # not a check of the shapes
                    self._refuse(node, str(error))

    def _item(self, node: Any) -> None:
        source, index = self.values[node.args[0]], node.args[1]
        if isinstance(source, Parts):
            self._take(node, source.part(index))
        elif isinstance(source, _Torn):
            self.values[node] = None
            if node.users and _has_batch(node.meta["val"]):
                self._opaque(node, source.operation, source.values, source.weights)
            elif node.users:
                self._note(source.operation, node, "its result has no batch in front")
        elif isinstance(source, Value) and index == 0:  # the others of several results are for backward
            self._hold(node, source)
        elif source is None or isinstance(source, Constant):
            self.values[node] = source
        else:
            self.values[node] = None
            if node.users:
                self._refuse(node, "it is not the first result")

    def _arguments(self, node: Any, schema: Any) -> dict[str, Any]:
        found = {}
        for position, argument in enumerate(schema.arguments):
            if position < len(node.args):
                value = node.args[position]
            else:
                value = node.kwargs.get(argument.name, argument.default_value if argument.has_default_value() else None)
            found[argument.name] = self._resolved(value)
        return found

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return self.values.get(value)
        if isinstance(value, (list, tuple)):
            return [self._resolved(each) for each in value]
        return value

    def _all(self, node: Any) -> list[Any]:
        return [self.values.get(each) for each in node.all_input_nodes]

    def _take(self, node: Any, made: Any, *, inplace: bool = False) -> None:
        if isinstance(made, Parts):
            self.values[node] = made
            return
        if isinstance(made, Value):
            self._hold(node, made)
            return
        tensor = node.meta["val"]
        tensor = tensor[0] if isinstance(tensor, (tuple, list)) else tensor
        if not _has_batch(tensor):
            raise Refused("its result has no batch in front")
        name = self._add(node, made, tuple(tensor.shape[1:]))
        value = Value(name, tensor)
        if inplace:  # whoever reads the input from now on reads what it was overwritten with
            for holder in self.holders.pop(made.inputs[0].name, []):
                self._hold(holder, Value(name, self.values[holder].tensor))
        self._hold(node, value)

    def _add(self, node: Any, made: Made, shape: tuple[int, ...]) -> str:
        names = tuple(value.name for value in made.inputs)
        shares = self._owner(made.weights)
        for layer in (made.layer, *made.then):
            name = self.namer.fresh(self._name(node, layer))
            self.specs[name] = layer.infer(tuple(self.specs[each] for each in names))
            self.nodes.append(Node(name, layer, names, shares))
            names, shares = (name,), None
        if self.specs[name].shape != shape:
            raise Refused(f"its shape is {shape}, and its layer's would be {self.specs[name].shape}")
        if made.weights and all(weight.name not in self.owners for weight in made.weights):
            names_of = tuple(weight.name for weight in made.weights)
            self.owners.update(dict.fromkeys(names_of, (name, names_of)))
        return name

    def _owner(self, weights: tuple[Weight, ...]) -> str | None:
        names = tuple(weight.name for weight in weights)
        owners = {self.owners.get(name) for name in names}
        if owners <= {None}:
            return None
        if len(owners) > 1 or names not in {owner[1] for owner in owners if owner}:
            raise Refused("it shares a part of its parameters")
        return next(owner[0] for owner in owners if owner)

    def _name(self, node: Any, layer: Layer) -> str:
        path, kind = _scope_of(node)
        copies = isinstance(layer, (Concat, Identity)) and len(node.all_input_nodes) == 1
        named = copies or isinstance(layer, Opaque)  # these words say nothing
        word = node.target.__name__.partition(".")[0].strip("_") if named else word_of(type(layer))
        if not path:
            return word
        return path if kind.startswith("torch.nn.") else f"{path}/{word}"

    def _refuse(self, node: Any, why: str) -> None:
        """Keeps what has no layer as one that is opaque, and takes note of it if there must be none."""
        tensor, found = node.meta.get("val"), self._all(node)
        values = [each for each in found if isinstance(each, Value)]
        weights = [each for each in found if isinstance(each, Weight) and each.name not in self.buffers]
        if values and isinstance(tensor, (tuple, list)):
            self.values[node] = _Torn(str(node.target), values, weights)
        elif values and _has_batch(tensor):
            self._opaque(node, str(node.target), values, weights)
        else:
            self.values[node] = None
        if not self.opaque or self.values[node] is None:
            self._note(node.target, node, why)

    def _note(self, operation: Any, node: Any, why: str) -> None:
        self.unsupported.append(f"{operation} in {_scope_of(node)[0] or 'the module itself'}: {why}")

    def _opaque(self, node: Any, operation: str, values: list[Value], weights: list[Weight]) -> None:
        own = tuple(weight for weight in weights if weight.name not in self.owners)
        shapes = {weight.name: tuple(weight.tensor.shape) for weight in own}
        self._take(node, Made(Opaque(operation, tuple(node.meta["val"].shape[1:]), weights=shapes), values, own))

    # Modules that are one layer.

    def _match(self, node: Any) -> tuple[str, nn.Module, Rule] | None:
        """The outermost call around a node of a module that has a rule."""
        for call, (path, _) in node.meta.get("nn_module_stack", {}).items():
            module = self.module.get_submodule(path.partition("@")[0])
            kinds = type(module).__mro__
            rule = next((self.rules[kind] for kind in kinds if kind in self.rules), None)
            rule = rule or _BY_NAME.get(f"{kinds[0].__module__}.{kinds[0].__qualname__}")
            if rule is not None:
                return call, module, rule
        return None

    def _module(self, nodes: list[Any], module: nn.Module, rule: Rule) -> None:
        """One layer for all operations of a call."""
        inside = set(nodes)
        reads = dict.fromkeys(each for node in nodes for each in node.all_input_nodes if each not in inside)
        found = [self.values.get(each) for each in reads]
        results = [node for node in nodes if any(user not in inside for user in node.users)]
        self.values.update(dict.fromkeys(nodes, None))
        if None in found or not results:
            return
        values = list({value.name: value for value in found if isinstance(value, Value)}.values())
        weights = tuple(each for each in found if isinstance(each, Weight) and each.name not in self.buffers)
        layer = rule(module, *[self.specs[value.name] for value in values])
        if not isinstance(layer, Layer):
            raise ConformanceError(
                f"the rule of {type(module).__name__} returned no layer",
                where=f"module {_scope_of(nodes[0])[0]!r}",
                got=shorten(layer),
                expected="a Layer",
            )
        try:
            if len(results) > 1 or not values:
                raise Refused("the module has not one result")
            self._take(results[0], Made(layer, values, weights), inplace=getattr(layer, "inplace", False))
        except (Refused, CnnBudgetError) as error:
            self._note(type(module).__name__, nodes[0], str(error))


class _Torn(NamedTuple):
    """An operation of several results that has no layer: each result is opaque by itself."""

    operation: str
    values: list[Value]
    weights: list[Weight]


def _has_batch(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.dim() > 1 and tensor.shape[0] == _BATCH


def _scope_of(node: Any) -> tuple[str, str]:
    """Path and kind of the innermost module around a node."""
    path, kind = next(reversed(node.meta.get("nn_module_stack", {"": ("", "")}).values()))
    return path.partition("@")[0], kind


def _flat(values: Any) -> Iterator[Any]:
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, (list, tuple)):
            waiting += reversed(value)
        else:
            yield value
