"""The layer: a frozen value that describes an operation by the facts it states.

A layer has no name, no inputs and no state. It states facts about one use of itself, given the specs of its inputs; whatever
asks a question (parameters, memory, receptive field) is a visitor somewhere above and never touches the layers.

``infer`` is the only fact that must be stated. What a layer does not state is *unknown* (``None``), never zero: a question
that needs it says which fact is missing and where. Two facts have a default that never under-counts: ``saved`` (every input
and the output are kept for backward) and ``alias`` (the output has a storage of its own).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from enum import Enum
from functools import cache, lru_cache
from typing import TYPE_CHECKING, ClassVar

from attrs import evolve, frozen

from cnnbudget.checks import short_repr
from cnnbudget.dtypes import DType, Role
from cnnbudget.errors import ConformanceError, ShapeError, shorten
from cnnbudget.tensors import Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Self

__all__ = [
    "Alias",
    "Autocast",
    "ElementwiseLayer",
    "Gradient",
    "Layer",
    "Saved",
    "StatelessLayer",
    "need_rank",
    "scratch",
    "word_of",
]


@frozen
class Saved:
    """Which values a layer keeps for its backward step, besides its extras.

    Args:
        inputs: Positions of the inputs that are kept.
        output: Whether the output is kept.
        parameters: Whether the step needs the layer's weight, which counts where mixed precision has made a copy of it.
    """

    inputs: tuple[int, ...] = ()
    output: bool = False
    parameters: bool = True


@frozen
class Alias:
    """States that the output shares the storage of an input.

    Args:
        input: Position of the input.
        in_place: ``True`` if the layer overwrites the values there, ``False`` if it only looks at them (a view).
    """

    input: int = 0
    in_place: bool = False


class Gradient(Enum):
    """In which storage a layer's backward step leaves the gradient of an input."""

    OWN = "own"
    """In a new one, of the input's size."""

    SAME = "same"
    """It is the output's gradient, as at a sum."""

    VIEW = "view"
    """It is a view of the output's gradient, of the whole in another shape or of a part, as at a concatenation."""

    PART = "part"
    """In one that the layers which look at the other parts of the input fill too (the parts of a split)."""


class Autocast(Enum):
    """What mixed precision does to a layer. Source: PyTorch's lists of operations for ``torch.autocast("cuda")``."""

    LOW = "low"
    """Computes in 16 bits, parameters and inputs included."""

    FULL = "full"
    """Computes in 32 bits, for accuracy."""

    WIDEN = "widen"
    """Reads its inputs as they come and leaves 32 bits, since its parameters have them, as a product with one does."""

    FOLLOW = "follow"
    """Computes in the width of its inputs, the widest where they differ."""


@frozen(repr=False)
class Layer(ABC):
    """The base of all layers, built in or foreign. Derive, decorate with ``attrs.frozen``, and state what is known.

    Every method takes ``inputs``, the specs of the layer's inputs for one sample, in order; those that need it take
    ``output``, which is what :meth:`infer` returned for them.

    Example:
        >>> from attrs import frozen
        >>> from cnnbudget import ElementwiseLayer
        >>> @frozen
        ... class Swish(ElementwiseLayer):
        ...     "x * sigmoid(x)."
    """

    word: ClassVar[str | None] = None
    """How nodes of this layer are called; ``None`` makes it of the class's name (``MaxPool`` gives ``max_pool``)."""

    arity: ClassVar[int | None] = 1
    """How many inputs the layer takes; ``None`` for one or more."""

    autocast: ClassVar[Autocast] = Autocast.FOLLOW
    """What mixed precision does to the layer."""

    @abstractmethod
    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States the output.

        Args:
            inputs: Specs of the inputs.

        Returns:
            The spec of the output of one sample.

        Raises:
            ShapeError: If the layer cannot be applied to these inputs.
        """

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape] | None:
        """States the shapes of the trainable parameters by name; ``{}`` if there are none, ``None`` if unknown."""
        return None

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape | TensorSpec] | None:
        """States the persistent values that are not trained; ``{}`` if there are none, ``None`` if unknown.

        By shape, or by spec where the width does not follow the precision (a counter).
        """
        return None

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int | None:
        """States the multiply-accumulates of one sample; ``None`` if unknown.

        Counts: the multiplications of convolutions and linear layers. Does not count: bias additions, normalisation,
        pooling, activation functions.
        """
        return None

    def saved(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Saved:
        """States which values are kept for backward. Default: all of them."""
        return Saved(tuple(range(len(inputs))), output=True)

    def saved_when(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...], trains: bool
    ) -> Saved:
        """States which values are kept for backward where not everything before the layer is trained, or it is frozen.

        Called only where something has a gradient. Default: what :meth:`saved` states, whatever is wanted.

        Args:
            inputs: Specs of the inputs.
            output: Spec of the output.
            needs: For each input, whether its gradient is wanted.
            trains: Whether the gradients of the parameters are wanted.
        """
        return self.saved(inputs, output)

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec] | None:
        """States what a training step writes for backward besides the output (mask, index, statistic), by name.

        ``{}`` if there is nothing, ``None`` if unknown. Inference writes none of it, or for the moment only: then it is among
        the :meth:`temporaries` of an inference.
        """
        return None

    def gradients(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> tuple[Gradient, ...]:
        """States in which storage the backward step leaves the gradient of each input.

        Default: in a new one, but in the output's where the output is a view of the whole input, or the input itself.
        """
        alias = self.alias(inputs, output, training=True)
        found = [Gradient.OWN] * len(inputs)
        if alias is not None and not alias.in_place:
            looked_at = inputs[alias.input]
            if looked_at.element_count == output.element_count:
                found[alias.input] = Gradient.SAME if looked_at.shape == output.shape else Gradient.VIEW
        return tuple(found)

    def temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool
    ) -> Mapping[str, TensorSpec]:
        """States what is alive at the fullest moment of the forward step besides inputs, output and extras, by name.

        A layer that a framework composes of several operations has such values on the way. Default: none, so a layer that does
        not state them makes a peak a lower bound.
        """
        return {}

    def backward_temporaries(
        self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, needs: tuple[bool, ...]
    ) -> Mapping[str, TensorSpec]:
        """States what is alive at the fullest moment of the backward step besides gradients and what is kept, by name.

        Args:
            inputs: Specs of the inputs.
            output: Spec of the output.
            needs: For each input, whether its gradient is wanted.
        """
        return {}

    def alias(self, inputs: tuple[TensorSpec, ...], output: TensorSpec, *, training: bool) -> Alias | None:
        """States whether the output shares an input's storage. Default: it has its own."""
        return None

    def workspace(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> TensorSpec | None:
        """States the scratch memory that the kernel itself takes in the forward step; ``None`` if unknown.

        No peak includes it: it depends on the implementation that a framework picks.
        """
        return None

    def __repr__(self) -> str:
        return short_repr(self)

    def evolve(self, **changes: Any) -> Self:
        """Returns a variant with some fields changed.

        Args:
            **changes: Fields and their new values.

        Returns:
            A new layer of the same class.

        Example:
            >>> from cnnbudget import Conv
            >>> Conv(64, 3).evolve(stride=2)
            Conv(64, 3, stride=2)
        """
        return evolve(self, **changes)


@frozen(repr=False)
class StatelessLayer(Layer):
    """A layer without parameters, buffers, extras or multiply-accumulates that are counted."""

    def parameters(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape] | None:
        """States that there are none."""
        return {}

    def buffers(self, inputs: tuple[TensorSpec, ...]) -> Mapping[str, Shape | TensorSpec] | None:
        """States that there are none."""
        return {}

    def macs(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> int | None:
        """States that none are counted."""
        return 0

    def extras(self, inputs: tuple[TensorSpec, ...], output: TensorSpec) -> Mapping[str, TensorSpec] | None:
        """States that there are none."""
        return {}


@frozen(repr=False)
class ElementwiseLayer(StatelessLayer):
    """A stateless layer whose output has the shape of its only input."""

    def infer(self, inputs: tuple[TensorSpec, ...]) -> TensorSpec:
        """States that the output is like the input."""
        (value,) = inputs
        return value


@lru_cache(maxsize=4096)  # networks repeat shapes
def scratch(*shape: int, dtype: DType | None = None) -> TensorSpec:
    """Makes the spec of a temporary of every sample.

    Args:
        *shape: Its shape.
        dtype: A width that no precision changes.

    Example:
        >>> scratch(64, 8, 8).role
        Role.WORKSPACE
    """
    return TensorSpec(shape, Role.WORKSPACE, dtype)


def need_rank(layer: str, value: TensorSpec, *, least: int, most: int | None = None, hint: str | None = None) -> None:
    """Checks how many axes an input has.

    Args:
        layer: Name of the layer's type.
        value: The input.
        least: The fewest axes, channels included.
        most: The most axes; ``None`` for any number.
        hint: What to do.

    Raises:
        ShapeError: If the number of axes is wrong.
    """
    rank = len(value.shape)
    if rank < least or (most is not None and rank > most):
        if least == most == 1:
            expected = "(features,)"
        else:
            spatial = "at least one spatial axis" if least > 1 else "any number of spatial axes"
            expected = f"(channels, *spatial) with {spatial}"
        raise ShapeError(f"{layer} does not take this shape", got=str(value.shape), expected=expected, hint=hint)


@cache
def word_of(layer: type[Layer]) -> str:
    """How nodes of a layer are called: its ``word``, or its class's name in snake case.

    Example:
        >>> from cnnbudget import GlobalAvgPool, ReLU
        >>> word_of(GlobalAvgPool), word_of(ReLU)
        ('global_avg_pool', 'relu')
    """
    if layer.word is not None and (not isinstance(layer.word, str) or not layer.word):
        raise ConformanceError(f"{layer.__name__}.word is no word", got=shorten(layer.word), expected="a str, or None")
    return layer.word or re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", layer.__name__).lower()
