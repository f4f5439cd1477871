"""Operations of an ONNX graph with their arguments, as the rules see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve, frozen

from cnnbudget.errors import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cnnbudget.layers.base import Layer
    from cnnbudget.tensors import TensorSpec

__all__ = ["NO_LAYER", "Made", "Operation", "Tensor", "Unsupported", "Value", "axis_of", "short"]

NO_LAYER = "there is no layer like it"


class Unsupported(Exception):  # noqa: N818  # no error yet: it is collected
    """What has no layer here, and why."""


class Tensor(NamedTuple):
    """A tensor of the file: its numbers are there if they are few."""

    name: str
    dims: tuple[int, ...]
    numbers: tuple[float, ...] | None


class Value(NamedTuple):
    """A value of the network, and how many operations read it."""

    name: str
    spec: TensorSpec
    readers: int


class Made(NamedTuple):
    """Layers one after the other, what the first reads, and the parameters that it uses."""

    layers: tuple[Layer, ...]
    inputs: list[Value]
    tensors: tuple[Tensor, ...] = ()
    bias: int | None = None  # a sum with so many learned numbers, which is part of another layer or nothing


@frozen
class Operation:
    """An operation of the file; a rule is given one with its arguments."""

    name: str
    kind: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    arguments: tuple[Value | Tensor | None, ...] = ()
    opset: int = 0

    def of(self, arguments: tuple[Value | Tensor | None, ...], opset: int) -> Operation:
        """The same with its arguments."""
        return evolve(self, arguments=arguments, opset=opset)

    @property
    def is_of_values(self) -> bool:
        """Whether it reads a value of the network, and not only what is constant."""
        return any(isinstance(each, Value) for each in self.arguments)

    @property
    def value(self) -> Value:
        """The first argument, a value of the network."""
        return self.value_at(0)

    def value_at(self, position: int) -> Value:
        """An argument that must be a value of the network."""
        found = self.arguments[position] if position < len(self.arguments) else None
        if not isinstance(found, Value):
            raise Unsupported("an operand is no value of the network")
        return found

    def tensor(self, position: int) -> Tensor | None:
        """An argument that is a tensor of the file, or missing."""
        found = self.arguments[position] if position < len(self.arguments) else None
        if isinstance(found, Value):
            raise Unsupported("an operand that must be constant is computed")
        return found

    def tensors(self, *positions: int) -> tuple[Tensor, ...]:
        """Arguments that are tensors of the file, without those that are missing."""
        return tuple(found for position in positions if (found := self.tensor(position)) is not None)

    def numbers(self, position: int, attribute: str = "") -> list[Any] | None:
        """A small constant: an argument, or an attribute in older files."""
        found = self.tensor(position)
        if found is None:
            value = self.attributes.get(attribute)
            return value if isinstance(value, list) else None if value is None else [value]
        if found.numbers is None:
            raise Unsupported("a constant cannot be read")
        return list(found.numbers)

    def ints(self, position: int, attribute: str = "") -> list[int] | None:
        """A small constant of ints."""
        found = self.numbers(position, attribute)
        if found is not None and not all(isinstance(each, int) for each in found):
            raise Unsupported(f"{attribute or 'a constant'} has no ints")
        return found

    def get(self, name: str, default: Any) -> Any:
        """An attribute of the type of its default."""
        found = self.attributes.get(name, default)
        if type(default) is float and isinstance(found, int):
            found = float(found)
        if type(found) is not type(default):
            raise Unsupported(f"{name} is {shorten(found)}")
        return found

    def axis(self, axis: int) -> int:
        """The axis of one sample."""
        return axis_of(self.value, axis)

    def windows(self, rank: int) -> dict[str, Any]:
        """Settings of a window: stride, padding, dilation."""
        stride, dilation = (short(self.get(name, [1] * rank)) for name in ("strides", "dilations"))
        word, pads = self.get("auto_pad", "NOTSET"), self.get("pads", [0] * 2 * rank)
        if word not in {"NOTSET", "VALID", "SAME_UPPER"} or len(pads) != 2 * rank:
            raise Unsupported(f"auto_pad {word}, pads {shorten(pads)}")
        pairs = list(zip(pads[:rank], pads[rank:], strict=True))
        even = all(before == after for before, after in pairs)
        padding: Any = short([before for before, _ in pairs]) if even else tuple(pairs)
        return {
            "stride": stride,
            "dilation": dilation,
            "padding": {"VALID": 0, "SAME_UPPER": "same"}.get(word, padding),
        }


def short(values: list[Any]) -> Any:
    """One number for all axes where they agree."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def axis_of(value: Value, axis: int) -> int:
    """The axis of one sample of an axis that counts the batch."""
    rank = len(value.spec.shape) + 1
    if not -rank <= axis < rank or axis % rank == 0:
        raise Unsupported(f"it works along axis {axis} of {rank}, the first of which is the batch")
    return axis % rank - 1
