"""Optimizers: what each keeps for every parameter, and what its update step needs for a moment. Policies, as values.

An optimizer answers two questions: which ``state`` it keeps for a parameter from the second step on (PyTorch makes it in the
first), and which temporaries are alive at the worst moment of each of its ``updates``. Only settings that change an answer, or
without which it would not be the optimizer that one means, are fields: there is no learning rate.

PyTorch has up to three implementations of an update, with equal results and unequal memory:

``"loop"``
    One parameter after the other; the default on the CPU. What the variables of the loop still hold of the parameter before
    counts too.
``"foreach"``
    Every operation on all parameters at once, so every temporary is as large as all parameters together; the default on a GPU,
    and here, unless an optimizer says otherwise. (PyTorch's documentation: about the size of the parameters more than the loop.)
``"fused"``
    One kernel, without temporaries; on request.

The rules for PyTorch's own optimizers were measured with PyTorch 2.13 (``tests/live/test_optimizers.py``), to the byte.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from math import inf, prod
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import Attribute, field, frozen

from cnnbudget.checks import is_bool, is_number, number_from, one_of, short_repr
from cnnbudget.dtypes import FLOAT32, DType, Role
from cnnbudget.errors import InvalidValueError, shorten
from cnnbudget.tensors import Shape, TensorSpec, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["ElementwiseOptimizer", "Optimizer", "SteppedOptimizer", "Update"]


@frozen
class Update:
    """One moment of the update step.

    Args:
        parameters: Positions of the parameters that are updated.
        temporaries: What is alive besides parameters, gradients and state at the worst operation of this moment, by name. They
            have the dtype of the parameters.
    """

    parameters: tuple[int, ...]
    temporaries: Mapping[str, TensorSpec]

    @property
    def element_count(self) -> int:
        """Elements of all temporaries."""
        return sum([spec.element_count for spec in self.temporaries.values()])


@lru_cache(maxsize=4096)  # networks repeat shapes
def kept(shape: Shape, dtype: DType | None = None) -> TensorSpec:
    """Makes the spec of a part of the state."""
    return TensorSpec(shape, Role.OPTIMIZER_STATE, dtype, batched=False)


@lru_cache(maxsize=4096)
def scratch(shape: Shape) -> TensorSpec:
    """Makes the spec of a temporary."""
    return TensorSpec(shape, Role.WORKSPACE, batched=False)


def momentum_field(default: float = 0) -> Any:
    """Makes the field of a momentum, and refuses one that is out of range."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        try:
            is_number(0, 1)(instance, attribute, value)
        except InvalidValueError as error:
            hint = "it is the share of the last step that goes into the next: 0 for none (and no buffer), usually 0.9"
            raise InvalidValueError(error.what, got=error.got, expected=error.expected, hint=hint) from None

    return field(default=default, kw_only=True, converter=number_from, validator=check)


def _is_implementation(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    one_of(value, type(instance).implementations, f"{type(instance).__name__}.{attribute.name}")


def implementation_field(default: str) -> Any:
    """Makes the field of the implementation."""
    return field(default=default, kw_only=True, validator=_is_implementation)


def check_nesterov(instance: Any, *, momentum: float, nesterov: bool) -> None:
    """Refuses to look ahead without momentum, as PyTorch does."""
    if nesterov and not momentum:
        raise InvalidValueError(
            f"{type(instance).__name__}.nesterov needs momentum",
            got=f"momentum={shorten(momentum)}",
            expected="a momentum above 0",
            hint="set momentum=0.9, or nesterov=False",
        )


def decay_field(default: float = 0) -> Any:
    """Makes the field of a weight decay."""
    return field(default=default, kw_only=True, converter=number_from, validator=is_number(0, inf))


def steps_field() -> Any:
    """Makes the field that says whether counters of steps count."""
    return field(default=True, kw_only=True, validator=is_bool)


def counter_specs(names: Iterable[str], *, count: bool) -> dict[str, TensorSpec]:
    """Makes the specs of counters, single float32 numbers, if they count."""
    return {name: kept((), FLOAT32) for name in names} if count else {}


@frozen(repr=False)
class Optimizer(ABC):
    """The base of all optimizers. Derive, decorate with ``attrs.frozen``, and state what is kept and what is needed.

    Args:
        implementation: ``"loop"``, ``"foreach"`` or ``"fused"``, as far as the optimizer has them.

    Example:
        >>> from cnnbudget.memory.optimizer_torch import Adam
        >>> Adam().state((64, 3, 7, 7))["exp_avg"].shape
        (64, 3, 7, 7)
        >>> [moment.element_count for moment in Adam(implementation="loop").updates([(10, 10), (10,)])]
        [200, 120]
        >>> [moment.element_count for moment in Adam(implementation="foreach").updates([(10, 10), (10,)])]
        [110]
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop", "foreach", "fused")
    """The implementations that there are."""

    implementation: str = implementation_field("foreach")

    def __repr__(self) -> str:
        return short_repr(self)

    @abstractmethod
    def state(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """States what is kept for a parameter from the second step on.

        Args:
            shape: The parameter's shape.

        Returns:
            Specs by name. A dtype is stated where no precision changes it; otherwise it is that of the role.
        """

    @abstractmethod
    def updates(self, shapes: Sequence[Shape]) -> Iterator[Update]:
        """States the moments of the update step, in order.

        Args:
            shapes: Shapes of the parameters that train, in the order in which the optimizer has them.

        Returns:
            One moment a parameter for a loop; few moments for all of them otherwise.
        """

    def shared_state(self, shapes: Sequence[Shape]) -> Mapping[str, TensorSpec]:
        """States what is kept once for all parameters. Default: nothing."""
        return {}


@frozen(repr=False)
class ElementwiseOptimizer(Optimizer):
    """An optimizer all of whose temporaries have the shape of a parameter. State the names of those that are alive at once.

    Args:
        implementation: ``"loop"``, ``"foreach"`` or ``"fused"``, as far as the optimizer has them.
        weight_decay: Whatever is not 0 adds the parameters to the gradients, in a copy of the gradients. Where an optimizer
            can decouple it (AdamW always does), that is done in place: state 0.
    """

    weight_decay: float = decay_field()

    @property
    @abstractmethod
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The moments of one turn of the loop that can be the worst.

        Each as the temporaries that variables still hold from the turn before, and those of this turn.
        """

    @property
    def foreach(self) -> tuple[str, ...]:
        """The lists of temporaries that are alive at the worst moment; by default one for each that a turn of the loop makes."""
        return max([new for _, new in self.loop], key=len)

    @property
    def decayed(self) -> tuple[str, ...]:
        """The copy of the gradient that weight decay makes, if it does."""
        return ("gradient",) if self.weight_decay else ()

    def updates(self, shapes: Sequence[Shape]) -> Iterator[Update]:
        """States the moments of the update step: one a parameter for a loop, otherwise one for all."""
        shapes = checked_shapes(shapes)
        if self.implementation == "loop":
            before: Shape | None = None
            for number, shape in enumerate(shapes):
                yield Update((number,), self._worst(shape, before))
                before = shape
        elif shapes:
            names = self.foreach if self.implementation == "foreach" else ()
            temporaries = {f"{name}[{number}]": scratch(shape) for name in names for number, shape in enumerate(shapes)}
            yield Update(tuple(range(len(shapes))), temporaries)

    def _worst(self, shape: Shape, before: Shape | None) -> Mapping[str, TensorSpec]:
        size, left = prod(shape), 0 if before is None else prod(before)
        old, new = max(self.loop, key=lambda names: len(names[0]) * left + len(names[1]) * size)
        held = {} if before is None else {f"previous.{name}": scratch(before) for name in old}
        return held | {name: scratch(shape) for name in new}


def checked_shapes(shapes: Sequence[Shape]) -> list[Shape]:
    """Checks the shapes of parameters."""
    return [shape_of(shape, f"the shape of parameter {number}") for number, shape in enumerate(shapes)]


@frozen(repr=False)
class SteppedOptimizer(ElementwiseOptimizer):
    """An optimizer that counts its steps, once for every parameter.

    Args:
        count_steps: Whether the counters count, one float32 number a parameter. They are in the memory of a CPU that trains.
            PyTorch keeps them there also when a GPU trains, unless the implementation is ``"fused"`` (or "capturable"): with
            ``False`` the numbers are those of the GPU. Default: they count.
        weight_decay: Whatever is not 0 copies the gradients.
        implementation: ``"loop"``, ``"foreach"`` or ``"fused"``, as far as the optimizer has them.
    """

    counters: ClassVar[tuple[str, ...]] = ("step",)
    """The parts of the state that are single numbers."""

    count_steps: bool = steps_field()

    @property
    @abstractmethod
    def buffers(self) -> tuple[str, ...]:
        """The parts of the state that have the shape of the parameter."""

    def state(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """States what is kept: counters, and buffers of the parameter's shape."""
        return counter_specs(self.counters, count=self.count_steps) | {name: kept(shape) for name in self.buffers}
