"""Optimizers for large batches (LARS, LAMB) and for little memory (Adafactor, Adam8bit), and the lookup by name."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen

from cnnbudget.checks import int_from, is_bool, is_int, one_of
from cnnbudget.dtypes import FLOAT32, UINT8
from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.memory.optimizer import (
    ElementwiseOptimizer,
    Optimizer,
    Update,
    check_nesterov,
    checked_shapes,
    counter_specs,
    decay_field,
    implementation_field,
    kept,
    momentum_field,
    scratch,
    steps_field,
)
from cnnbudget.memory.optimizer_torch import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop
from cnnbudget.tensors import Shape, TensorSpec, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["LAMB", "LARS", "Adafactor", "Adam8bit", "optimizer"]


@frozen(repr=False)
class LARS(ElementwiseOptimizer):
    """SGD with a learning rate for every layer (You et al., 2017, arXiv 1708.03888), by the loop that timm 1.0 has.

    Keeps one buffer with momentum. The gradient is scaled in a copy. *Does not count*: the norms of a layer, single numbers.

    Args:
        momentum: The paper's is 0.9; 0 for none.
        nesterov: Looks ahead, in a second copy; needs momentum.
        weight_decay: The paper's for AlexNet is 0.0005. With 0 timm does not scale at all, and copies nothing.
        implementation: ``"loop"``.

    Raises:
        InvalidValueError: If a momentum is negative or above 1, or ``nesterov`` has none.
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop",)

    implementation: str = implementation_field("loop")
    weight_decay: float = decay_field(0.0005)
    momentum: float = momentum_field(0.9)
    nesterov: bool = field(default=False, kw_only=True, validator=is_bool)

    def __attrs_post_init__(self) -> None:
        check_nesterov(self, momentum=self.momentum, nesterov=self.nesterov)

    def state(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """States the momentum buffer."""
        return {"momentum_buffer": kept(shape)} if self.momentum else {}

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The scaled gradient, and the one that looks ahead."""
        return [((), (*self.decayed, "ahead") if self.nesterov else self.decayed)]


@frozen(repr=False)
class LAMB(ElementwiseOptimizer):
    """Adam with a learning rate for every layer (You et al., 2020, arXiv 1904.00962), by the loop that timm 1.0 has.

    Keeps two buffers. *Does not count*: norms, and the counter of steps, single numbers.

    Args:
        clip: Whether the gradients are clipped by the norm of all of them, in a copy, as timm does unless it is told not to.
        weight_decay: Is added to the update in place: changes no number here.
        implementation: ``"loop"``.
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop",)

    implementation: str = implementation_field("loop")
    weight_decay: float = decay_field(0.01)
    clip: bool = field(default=True, kw_only=True, validator=is_bool)

    def state(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """States the two moments."""
        return {"exp_avg": kept(shape), "exp_avg_sq": kept(shape)}

    @property
    def loop(self) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The clipped gradient, a root and the denominator, while the update of the parameter before is still there."""
        clipped = ("gradient",) if self.clip else ()
        return [(("denominator", "update"), (*clipped, "root", "denominator"))]


@frozen(repr=False)
class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern, 2018, arXiv 1804.04235), as ``torch.optim.Adafactor``: factored second moments, no first.

    The last two axes are factored: a convolution's weight ``(O, I, kh, kw)`` keeps ``O * I * (kh + kw)`` numbers, which saves
    little for small kernels (and nothing for 1 x 1, where it keeps twice the parameter), a linear layer's ``(O, I)`` keeps
    ``O + I``. A vector keeps all its numbers. Its ``"loop"`` is the default on every device.

    Args:
        weight_decay: Is decoupled: changes no number here.
        count_steps: Whether the step counters, a number each, count: PyTorch keeps them on the host.
        implementation: ``"loop"`` or ``"foreach"``.

    Example:
        >>> {name: spec.shape for name, spec in Adafactor(count_steps=False).state((1000, 512)).items()}
        {'row_var': (1000, 1), 'col_var': (1, 512)}
    """

    implementations: ClassVar[tuple[str, ...]] = ("loop", "foreach")

    implementation: str = implementation_field("loop")
    weight_decay: float = decay_field()
    count_steps: bool = steps_field()

    def state(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """States the factors of the second moment, or the moment of a vector."""
        shape = shape_of(shape)
        step = counter_specs(("step",), count=self.count_steps)
        if len(shape) < 2:  # a vector
            return step | {"variance": kept(shape)}
        return step | {"row_var": kept(_rows(shape)), "col_var": kept(_columns(shape))}

    def updates(self, shapes: Sequence[Shape]) -> Iterator[Update]:
        """States the moments of the update step: one a parameter for a loop; all with factors and all without, otherwise."""
        shapes = checked_shapes(shapes)
        return _factored_loop(shapes) if self.implementation == "loop" else _factored_lists(shapes)


def _rows(shape: Shape) -> Shape:
    return (*shape[:-1], 1)


def _columns(shape: Shape) -> Shape:
    return (*shape[:-2], 1, shape[-1])


def _mean(shape: Shape) -> Shape:
    return (*shape[:-2], 1, 1)


def _factored_loop(shapes: Sequence[Shape]) -> Iterator[Update]:
    """One moment a parameter. Variables outlive a turn, and those of a matrix also the turns of vectors that follow."""
    held: dict[str, Shape] = {}
    for number, shape in enumerate(shapes):
        factored = len(shape) >= 2
        made = {"row_mean": _rows(shape), "col_mean": _columns(shape)} if factored else {"square": shape}
        moments = [held | {"norm": ()}]
        for variable, size in made.items():  # a new value is there before the variable lets the old one go
            moments.append(held | {f"next.{variable}": size})
            held = held | {variable: size}
        moments.append(held | {"next.estimate": shape} | ({"mean": _mean(shape)} if factored else {}))
        held = held | {"estimate": shape}
        moments.append(held | {"norm": ()})
        worst = max(moments, key=lambda moment: sum(map(prod, moment.values())))
        yield Update((number,), {name: scratch(size) for name, size in worst.items()})


def _factored_lists(shapes: Sequence[Shape]) -> Iterator[Update]:
    """One moment for matrices and one for vectors, in the order in which they come; the first's estimates are still there."""
    groups: dict[bool, list[int]] = {}
    for number, shape in enumerate(shapes):
        groups.setdefault(len(shape) >= 2, []).append(number)
    left: dict[str, TensorSpec] = {}
    for factored, numbers in groups.items():
        estimates = {f"estimate[{number}]": scratch(shapes[number]) for number in numbers}
        if factored:
            others = {f"mean[{number}]": scratch(_mean(shapes[number])) for number in numbers}
        else:
            others = {} if left else {"norm": scratch(())}
        yield Update(tuple(numbers), left | estimates | others)
        left = estimates


@frozen(repr=False)
class Adam8bit(Optimizer):
    """Adam with block-wise quantised state (Dettmers et al., 2022, arXiv 2110.02861), as bitsandbytes has it.

    Both moments have a byte a number, and every block of them a float32 scale; a parameter with fewer numbers than
    ``smallest`` keeps float32 moments. Two code books of 256 float32 numbers are there once. The steps are counted on the host,
    and the update is one kernel without temporaries.

    Args:
        block: Numbers that share a scale: 256 from bitsandbytes 0.45 on, 2048 before.
        smallest: The fewest numbers that are quantised (``min_8bit_size``; bitsandbytes quantises none below 4096).
        implementation: ``"fused"``.

    Example:
        >>> {name: str(spec.dtype) for name, spec in Adam8bit().state((64, 64)).items()}
        {'state1': 'uint8', 'state2': 'uint8', 'absmax1': 'float32', 'absmax2': 'float32'}
    """

    implementations: ClassVar[tuple[str, ...]] = ("fused",)

    implementation: str = implementation_field("fused")
    block: int = field(default=256, kw_only=True, converter=int_from, validator=is_int())
    smallest: int = field(default=4096, kw_only=True, converter=int_from, validator=is_int(4096))

    def state(self, shape: Shape) -> Mapping[str, TensorSpec]:
        """States the moments, and their scales."""
        count = prod(shape_of(shape))
        if count < self.smallest:
            return {"state1": kept(shape, FLOAT32), "state2": kept(shape, FLOAT32)}
        scales = kept((-(-count // self.block),), FLOAT32)
        return {"state1": kept(shape, UINT8), "state2": kept(shape, UINT8), "absmax1": scales, "absmax2": scales}

    def shared_state(self, shapes: Sequence[Shape]) -> Mapping[str, TensorSpec]:
        """States the code books, if anything is quantised."""
        if all(prod(shape) < self.smallest for shape in checked_shapes(shapes)):
            return {}
        return {"qmap1": kept((256,), FLOAT32), "qmap2": kept((256,), FLOAT32)}

    def updates(self, shapes: Sequence[Shape]) -> Iterator[Update]:
        """States that there are no temporaries: one parameter after the other."""
        return (Update((number,), {}) for number, _ in enumerate(checked_shapes(shapes)))


_KNOWN: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in (
        SGD,
        Adam,
        AdamW,
        Adamax,
        NAdam,
        RAdam,
        RMSprop,
        Adagrad,
        Adadelta,
        Adafactor,
        Adam8bit,
        LAMB,
        LARS,
    )
}


def optimizer(word: Optimizer | str) -> Optimizer:
    """Finds an optimizer, with its defaults, by name; upper and lower case are equal.

    Args:
        word: A name such as ``"adam"``; an optimizer is returned as it is.

    Returns:
        The optimizer.

    Raises:
        InvalidValueError: For an unknown name; the error guesses which was meant.
        InvalidTypeError: For anything that is neither a name nor an optimizer.

    Example:
        >>> optimizer("adam"), optimizer("SGD")
        (Adam(), SGD())
    """
    if isinstance(word, Optimizer):
        return word
    if not isinstance(word, str):
        called = isinstance(word, type) and issubclass(word, Optimizer)
        raise InvalidTypeError(
            "an optimizer is needed",
            got=shorten(word),
            expected="for example SGD(momentum=0.9), Adam() or 'adam'",
            hint=f"call it: {word.__name__}(...)" if called else None,
        )
    return _KNOWN[one_of(word.lower(), _KNOWN, "the optimizer")]()
