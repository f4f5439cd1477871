"""Visitors: a question about a network is one class, and no layer is edited for it.

A visitor answers for one use of a layer at a time. Its general rule is :meth:`Visitor.visit`; exceptions by type are methods
marked with :func:`visits`, looked up along the layer's MRO, so a subclass of ``Conv`` is caught and a foreign class that is
also called ``Conv`` is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from cnnbudget.errors import InvalidTypeError, MissingRuleError, shorten
from cnnbudget.graph.shapes import place_of
from cnnbudget.layers.base import Layer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.graph.nodes import Input, Node
    from cnnbudget.tensors import TensorSpec

__all__ = ["Use", "Visitor", "missing_rule", "visits"]

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")


@frozen
class Use(Generic[T]):
    """One use of a layer, as a visitor meets it.

    Args:
        node: The node.
        inputs: Specs of the values that it reads.
        output: Spec of the value that it makes.
        results: What the visitor answered for the makers of the inputs, in their order.
    """

    node: Node
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    results: tuple[T, ...]

    @property
    def layer(self) -> Layer:
        """The layer."""
        return self.node.layer


class Visitor(ABC, Generic[T]):
    """The base of all visitors.

    Example:
        >>> from cnnbudget import Conv, Net, Visitor, visits, walk
        >>> class Depth(Visitor[int]):
        ...     "How many convolutions lie on the longest way from an input."
        ...
        ...     def start(self, source):
        ...         return 0
        ...
        ...     def visit(self, use):
        ...         return max(use.results)
        ...
        ...     @visits(Conv)
        ...     def convolution(self, use):
        ...         return max(use.results) + 1
        >>> walk(Net.input(3, 8, 8).then(Conv(4, 3), Conv(4, 3)).network, Depth())
        {'input': 0, 'conv': 1, 'conv2': 2}
    """

    @abstractmethod
    def start(self, source: Input) -> T:
        """Answers for an input of the network."""

    @abstractmethod
    def visit(self, use: Use[T]) -> T:
        """Answers for a use of a layer: the general rule."""


def visits(*layers: type[Layer]) -> Callable[[F], F]:
    """Marks a method of a visitor as the rule for some types of layers and their subclasses.

    Args:
        *layers: Classes of layers.

    Returns:
        A decorator.

    Raises:
        InvalidTypeError: If something else than classes of layers is given.
    """
    if not layers or not all(isinstance(layer, type) and issubclass(layer, Layer) for layer in layers):
        raise InvalidTypeError(
            "visits() takes classes of layers", got=shorten(layers), expected="for example @visits(Conv, Linear)"
        )

    def mark(method: F) -> F:
        method.__visits__ = layers  # type: ignore[attr-defined]
        return method

    return mark


@cache
def rule_for(visitor: type[Visitor[Any]], layer: type[Layer]) -> Callable[[Any, Use[Any]], Any]:
    """Finds the method with which a class of visitors answers for a class of layers.

    Args:
        visitor: The visitor's class; rules of its bases count, its own win.
        layer: The layer's class.

    Returns:
        The function.
    """
    table: dict[type, str] = {}  # by the method's name, so that a subclass may override a rule like any method
    for base in reversed(visitor.__mro__):
        for name, method in vars(base).items():
            for handled in getattr(method, "__visits__", ()):
                table[handled] = name
    rule: Callable[[Any, Use[Any]], Any] = getattr(
        visitor, next((table[base] for base in layer.__mro__ if base in table), "visit")
    )
    return rule


def missing_rule(fact: str, node: Node, inputs: tuple[TensorSpec, ...] = ()) -> MissingRuleError:
    """Makes the error for a fact that a layer does not state.

    Args:
        fact: The method's name.
        node: The node.
        inputs: Specs of its inputs, when known.

    Returns:
        The error: "this is a bug in cnnbudget" for a built-in layer, what to implement for a foreign one.
    """
    name = type(node.layer).__name__
    if type(node.layer).__module__.partition(".")[0] == __name__.partition(".")[0]:
        hint = "this is a bug in cnnbudget: please report it with this text"
    else:
        hint = (
            f"implement {name}.{fact}() (return an empty mapping or 0 if there is nothing, or derive from StatelessLayer), "
            f"or give the visitor a method marked @visits({name})"
        )
    return MissingRuleError(f"{name} does not state its {fact}", where=place_of(node, inputs), hint=hint)
