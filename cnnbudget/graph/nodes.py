"""The network: a flat, frozen tuple of nodes in execution order. Nodes name their inputs; they never hold them.

A flat value keeps equality, hashing, pickling and traversal linear and free of recursion, at 100,000 nodes as at three.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import optional

from cnnbudget.checks import LARGEST, instance_of
from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.layers.base import Layer
from cnnbudget.tensors import Shape, TensorSpec, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from attrs import Attribute

__all__ = ["Input", "Network", "Node", "check_name", "check_network"]

_LONGEST_NAME = 1000


def check_name(name: Any, what: str = "a name") -> str:
    """Checks a name of a node, an input or a scope.

    Args:
        name: What the user gave.
        what: How to call it in an error.

    Returns:
        The name.

    Raises:
        InvalidTypeError: If it is no str.
        InvalidValueError: If it is empty, too long, or starts or ends with the separator of scopes.
    """
    if not isinstance(name, str):
        raise InvalidTypeError(f"{what} must be a str", got=shorten(name), expected="for example 'stem/conv'")
    if not name or len(name) > _LONGEST_NAME or name[0] == "/" or name[-1] == "/":
        raise InvalidValueError(
            f"{what} is not usable",
            got=shorten(name),
            expected=f"1 to {_LONGEST_NAME} characters, '/' only between the parts",
        )
    return name


def _input_shape(shape: Any) -> Shape:
    checked = shape_of(shape, "the input's shape", LARGEST)
    if not checked:
        raise InvalidValueError(
            "the input's shape is empty", got=shorten(shape), expected="(channels, *spatial), for example (3, 224, 224)"
        )
    return checked


def _is_name(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    check_name(value, f"{type(instance).__name__}.{attribute.name}")


def _tuple_of_inputs(inputs: Iterable[Input]) -> tuple[Input, ...]:
    return _tuple_of(inputs, "Network.inputs", "[Input('x', (3, 224, 224))]")


def _tuple_of_nodes(nodes: Iterable[Node]) -> tuple[Node, ...]:
    return _tuple_of(nodes, "Network.nodes", "[Node('conv', Conv(64, 3), ['x'])]")


def _tuple_of(values: Iterable[Any], what: str, example: str) -> tuple[Any, ...]:
    try:
        return tuple(values)
    except TypeError:
        raise InvalidTypeError(
            f"{what} must be a list or tuple", got=shorten(values), expected=f"for example {example}"
        ) from None


def _node_inputs(names: Any) -> tuple[str, ...]:
    return _names(names, "Node.inputs")


def _outputs(names: Any) -> tuple[str, ...]:
    return _names(names, "Network.outputs")


def _names(names: Any, what: str) -> tuple[str, ...]:
    if not isinstance(names, (tuple, list)):
        raise InvalidTypeError(f"{what} must be a tuple of names", got=shorten(names), expected="for example ('conv',)")
    for name in names:
        if type(name) is not str or not name:  # the network finds out whether a value has the name
            check_name(name, f"a name in {what}")
    return tuple(names)


@frozen
class Input:
    """An input of a network: a name and the shape of one sample, channels first.

    Example:
        >>> Input("image", (3, 224, 224)).spec.element_count
        150528
    """

    name: str = field(validator=_is_name)
    shape: Shape = field(converter=_input_shape)

    @property
    def spec(self) -> TensorSpec:
        """The spec of the value."""
        return TensorSpec(self.shape)


@frozen
class Node:
    """One use of a layer.

    Args:
        name: Its name, and that of the value it makes.
        layer: The layer.
        inputs: Names of the values that it reads.
        shares: Name of the earlier node whose parameters and buffers it uses; ``None`` when it has its own.
    """

    name: str = field(validator=_is_name)
    layer: Layer = field(validator=instance_of(Layer, "for example Conv(64, 3)"))
    inputs: tuple[str, ...] = field(converter=_node_inputs)
    shares: str | None = field(default=None, validator=optional(_is_name))

    @classmethod
    def _made(cls, name: str, layer: Layer, inputs: tuple[str, ...], shares: str | None) -> Node:
        """Makes a node of parts that are known to be right: the builder's, who made them. Half of building was checking them."""
        node = _new(cls)
        put_name, put_layer, put_inputs, put_shares = _SLOTS
        put_name(node, name)
        put_layer(node, layer)
        put_inputs(node, inputs)
        put_shares(node, shares)
        return node


_new = object.__new__
_SLOTS = tuple(vars(Node)[name].__set__ for name in ("name", "layer", "inputs", "shares"))


def _as_node(node: Any) -> Node:
    if isinstance(node, Node):
        return node
    if not isinstance(node, (tuple, list)) or len(node) != 3:
        raise InvalidTypeError(
            "from_nodes() cannot read a node", got=shorten(node), expected="a Node, or (name, layer, inputs)"
        )
    return Node(*node)


@frozen
class Network:
    """A network: its inputs, its nodes in execution order, and the names of its outputs.

    Most users build one with :class:`cnnbudget.Net`. Structure is checked here (names are unique, every value is made before it
    is read); shapes are checked by whatever walks the network.

    Args:
        inputs: At least one input.
        nodes: At least one node, in execution order.
        outputs: Names of the values that the network returns.

    Raises:
        InvalidValueError: If a name is used twice, nothing is in it, or a node reads a value that is made later (a cycle, or a
            wrong order).
        UnknownNameError: If a node or an output reads a name that does not exist.

    Example:
        >>> from cnnbudget import Conv, Input, Network, Node
        >>> network = Network([Input("x", (3, 8, 8))], [Node("conv", Conv(4, 3), ["x"])], ["conv"])
        >>> network["conv"].layer
        Conv(4, 3)
    """

    inputs: tuple[Input, ...] = field(converter=_tuple_of_inputs)
    nodes: tuple[Node, ...] = field(converter=_tuple_of_nodes)
    outputs: tuple[str, ...] = field(converter=_outputs)

    def __attrs_post_init__(self) -> None:
        for kind, values, word in ((Input, self.inputs, "inputs"), (Node, self.nodes, "nodes")):
            if not values:
                raise InvalidValueError(
                    "the network is empty", got=f"no {word}", expected="at least one", hint="add layers with .then(...)"
                )
            for value in values:
                if not isinstance(value, kind):
                    raise InvalidTypeError(
                        f"Network.{word} holds something else",
                        got=shorten(value),
                        expected=f"values of {kind.__name__}",
                    )
        if not self.outputs:
            raise InvalidValueError("the network has no outputs", got="()", expected="at least one name")
        made: dict[str, None] = {}  # in order, so that error texts are the same in every run
        for source in self.inputs:
            _add_once(source.name, made)
        for node in self.nodes:
            if not node.inputs:
                raise InvalidValueError(
                    "a node has no inputs", where=f"node {node.name!r}", got="()", expected="at least one name"
                )
            for name in node.inputs:
                if name not in made:
                    self._report(name, node.name, made)
            _add_once(node.name, made)
        self._check_sharing()
        for name in self.outputs:
            if name not in made:
                raise UnknownNameError("an output names no value", got=shorten(name), hint=did_you_mean(name, made))

    def _check_sharing(self) -> None:
        owners: dict[str, None] = {}  # in order, likewise
        for node in self.nodes:
            if node.shares is None:
                owners[node.name] = None
            elif node.shares not in owners:
                raise UnknownNameError(
                    "a node shares the parameters of a node that does not come before it, or that has none of its own",
                    where=f"node {node.name!r}",
                    got=shorten(node.shares),
                    hint=did_you_mean(node.shares, owners),
                )

    @classmethod
    def from_nodes(
        cls,
        inputs: Mapping[str, Sequence[int]],
        nodes: Iterable[Node | tuple[str, Layer, Sequence[str]]],
        outputs: Sequence[str],
    ) -> Network:
        """Makes a network of plain data, for importers and other programs.

        Args:
            inputs: Shapes of one sample by name.
            nodes: Nodes in execution order, as values or as ``(name, layer, inputs)``.
            outputs: Names of the values that the network returns.

        Returns:
            The network.

        Example:
            >>> from cnnbudget import Add, Conv, Network
            >>> nodes = [("conv", Conv(3, 3, padding=1), ["x"]), ("sum", Add(), ["conv", "x"])]
            >>> Network.from_nodes({"x": (3, 8, 8)}, nodes, ["sum"])["sum"].inputs
            ('conv', 'x')
        """
        if not isinstance(inputs, Mapping):
            raise InvalidTypeError(
                "from_nodes() takes inputs as a mapping",
                got=shorten(inputs),
                expected="for example {'x': (3, 224, 224)}",
            )
        checked = _tuple_of(nodes, "the nodes of from_nodes()", "[('conv', Conv(64, 3), ['x'])]")
        return cls(tuple(Input(name, shape) for name, shape in inputs.items()), tuple(map(_as_node, checked)), outputs)

    def _report(self, name: str, reader: str, made: Iterable[str]) -> None:
        if any(node.name == name for node in self.nodes):
            raise InvalidValueError(
                "a node reads a value before it is made",
                where=f"node {reader!r}",
                got=shorten(name),
                expected="nodes in execution order, without cycles",
            )
        raise UnknownNameError(
            "a node reads a value that does not exist",
            where=f"node {reader!r}",
            got=shorten(name),
            hint=did_you_mean(name, made),
        )

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {node.name: position for position, node in enumerate(self.nodes)}

    def position(self, name: str) -> int:
        """Where a node stands in the execution order.

        Args:
            name: The node's name.

        Returns:
            The index into ``nodes``.

        Raises:
            UnknownNameError: If there is none; the error guesses which was meant.
        """
        if not isinstance(name, str) or name not in self._positions:
            raise UnknownNameError("no node has this name", got=shorten(name), hint=did_you_mean(name, self._positions))
        return self._positions[name]

    def __getitem__(self, name: str) -> Node:
        """The node of a name."""
        return self.nodes[self.position(name)]

    def __len__(self) -> int:
        return len(self.nodes)


def check_network(network: Any, what: str) -> None:
    """Checks that a function for networks was given one.

    Args:
        network: What the user gave.
        what: Which function, for the error.

    Raises:
        InvalidTypeError: If it is something else, such as a ``Net``.
    """
    if not isinstance(network, Network):
        raise InvalidTypeError(
            f"{what} takes a network", got=shorten(network), expected="a Network; a Net has .network"
        )


def _add_once(name: str, made: dict[str, None]) -> None:
    if name in made:
        raise InvalidValueError("a name is used twice", got=shorten(name), expected="unique names of inputs and nodes")
    made[name] = None
