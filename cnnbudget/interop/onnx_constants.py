"""What an ONNX graph computes of constants alone: shapes, axes, and weights that are turned around."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from cnnbudget.interop.onnx_graph import NO_LAYER, Made, Operation, Tensor, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FOLDED", "fold", "no_layer"]

_MOST_NUMBERS = 64
_LARGEST = 2**63


def no_layer(_: Operation) -> Made:
    """Refuses an operation that is known for constants only."""
    raise Unsupported(NO_LAYER)


def fold(use: Operation) -> Tensor:
    """Computes what reads small constants only, as exporters do with shapes; a weight may be transposed."""
    tensors = [each for each in use.arguments if each is not None]
    first = tensors[0] if tensors else None
    if use.kind == "Transpose" and isinstance(first, Tensor):
        order = use.get("perm", list(range(len(first.dims)))[::-1])
        if sorted(order) == list(range(len(first.dims))):
            return first._replace(dims=tuple(first.dims[axis] for axis in order), numbers=None)
    if use.kind in {"Identity", "Cast"} and isinstance(first, Tensor):
        return first
    if use.kind in {"Unsqueeze", "Squeeze"} and isinstance(first, Tensor):
        return first._replace(dims=_other_axes(use, first.dims))
    numbers = [each.numbers for each in tensors if isinstance(each, Tensor) and each.numbers is not None]
    if not numbers or len(numbers) < len(tensors) or use.kind not in FOLDED:
        raise Unsupported("it computes with constants")
    found = FOLDED[use.kind](numbers)
    if len(found) > _MOST_NUMBERS or any(abs(each) > _LARGEST for each in found):
        raise Unsupported("constants that are too many or too large")
    return Tensor("", (len(found),), tuple(found))


def _other_axes(use: Operation, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Axes of size 1 more, or less: the numbers of a tensor stay, and what it is called."""
    axes = use.ints(1, "axes")
    if use.kind == "Squeeze":
        gone = {axis % max(len(dims), 1) for axis in axes} if axes is not None else set(range(len(dims)))
        return tuple(size for axis, size in enumerate(dims) if size != 1 or axis not in gone)
    found = list(dims)
    for axis in sorted(axis % (len(dims) + len(axes or [])) for axis in axes or []):
        found.insert(axis, 1)
    return tuple(found)


def _gather(numbers: list[tuple[Any, ...]]) -> list[Any]:
    data, places = numbers
    if not all(isinstance(at, int) and -len(data) <= at < len(data) for at in places):
        raise Unsupported("it reads beyond the end of a constant")
    return [data[at] for at in places]


def _elementwise(operation: Callable[[Any, Any], Any]) -> Callable[[list[tuple[Any, ...]]], list[Any]]:
    def rule(numbers: list[tuple[Any, ...]]) -> list[Any]:
        first, second = numbers
        count = max(len(first), len(second))
        if {len(first), len(second)} - {1, count}:
            raise Unsupported("constants of different lengths")
        pairs = zip(first * (count // len(first)), second * (count // len(second)), strict=True)
        try:
            return [operation(one, other) for one, other in pairs]
        except ArithmeticError:
            raise Unsupported("constants that have no result") from None

    return rule


def _quotient(first: Any, second: Any) -> Any:
    return first // second if isinstance(first, int) and isinstance(second, int) else first / second


FOLDED: dict[str, Callable[[list[tuple[Any, ...]]], list[Any]]] = {
    "Gather": _gather,
    "Concat": lambda numbers: [each for part in numbers for each in part],
    "Add": _elementwise(operator.add),
    "Sub": _elementwise(operator.sub),
    "Mul": _elementwise(operator.mul),
    "Div": _elementwise(_quotient),
}
"""Operations on constants."""
