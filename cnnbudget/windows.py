"""Window arithmetic in exact ints: how many positions a sliding window has along each axis, and how much padding is meant.

Convolution and pooling share it. Sources: TensorFlow's rule for ``"same"`` (output ``ceil(n / stride)``, the odd pixel of
padding at the end), Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), relationship 15 for
dilation, and PyTorch's rule for ``ceil_mode`` (the last window must start inside the input or the padding before it).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cnnbudget.checks import axes_from, exact_int, int_from, one_of
from cnnbudget.errors import InvalidValueError, ShapeError, shorten

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = [
    "Axes",
    "Padding",
    "effective_kernel",
    "is_padding",
    "output_size",
    "padding_from",
    "resolve_padding",
    "slide",
]

Axes = int | tuple[int, ...]
"""One int for every spatial axis, or one int per axis."""

Padding = str | int | tuple[int, ...] | tuple[tuple[int, int], ...]
"""``"same"``, ``"valid"``, an int, one int per axis, or one ``(before, after)`` pair per axis."""

_WORDS = ("same", "valid")


def padding_from(value: Any) -> Padding:
    """Normalises a padding: lists to tuples, numpy ints to ints; leaves the rest for the validator to refuse."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)) and all(isinstance(pair, (tuple, list)) for pair in value):
        return tuple(tuple(map(int_from, pair)) for pair in value)  # type: ignore[return-value]  # pairs, says the validator
    return axes_from(value)


def is_padding(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    """Validates a padding; see :data:`Padding` for what is accepted."""
    what = f"{type(instance).__name__}.{attribute.name}"
    if isinstance(value, str):
        one_of(value, _WORDS, what)
        return
    if not isinstance(value, tuple):
        exact_int(value, what, 0)
        return
    pairs = [pair for pair in value if isinstance(pair, tuple)]
    if not value or len(pairs) not in {0, len(value)} or any(len(pair) != 2 for pair in pairs):
        raise InvalidValueError(
            f"{what} is not readable",
            got=shorten(value),
            expected="'same', 'valid', an int, one int per spatial axis, or one (before, after) pair per spatial axis",
        )
    for axis, sides in enumerate(value):
        for side in sides if isinstance(sides, tuple) else (sides,):
            exact_int(side, f"{what}[{axis}]", 0)


def effective_kernel(kernel: int, dilation: int) -> int:
    """Input positions that a dilated window spans: ``dilation * (kernel - 1) + 1``."""
    return dilation * (kernel - 1) + 1


def resolve_padding(padding: str | int | tuple[int, int], n: int, window: int, stride: int) -> tuple[int, int]:
    """Padding before and after along one axis.

    Args:
        padding: ``"same"``, ``"valid"``, an int for both sides, or ``(before, after)``.
        n: Size of the axis.
        window: Positions that the window spans, dilation included.
        stride: Step of the window.

    Returns:
        ``(before, after)`` in positions.

    Example:
        >>> resolve_padding("same", 75, window=3, stride=2), resolve_padding("same", 50, window=3, stride=2)
        ((1, 1), (0, 1))
    """
    if padding == "same":
        total = max((-(-n // stride) - 1) * stride + window - n, 0)
        return total // 2, total - total // 2
    if padding == "valid":
        return 0, 0
    if isinstance(padding, tuple):
        return padding
    return int(padding), int(padding)


def output_size(n: int, window: int, stride: int, before: int, after: int, *, ceil_mode: bool = False) -> int:
    """How many positions a window has along one axis; zero or less when it does not fit.

    Args:
        n: Size of the axis.
        window: Positions that the window spans, dilation included.
        stride: Step of the window.
        before: Padding before the axis.
        after: Padding after it.
        ceil_mode: Whether a last, partly covered window counts when it starts inside the input or the padding before it.

    Returns:
        The number of positions.

    Example:
        >>> output_size(5, 2, 2, 0, 0), output_size(5, 2, 2, 0, 0, ceil_mode=True)
        (2, 3)
    """
    room = n + before + after - window
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= n + before else count


def _axis_values(value: Any, rank: int, what: str) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        return (value,) * rank
    if len(value) != rank:
        raise ShapeError(
            f"{what} does not match the number of spatial axes",
            got=f"{len(value)} values, {shorten(value)}",
            expected=f"one value, or {rank} of them",
        )
    return value


@lru_cache(maxsize=4096)  # networks repeat their blocks, and the answer depends on the arguments alone
def slide(
    layer: str,
    spatial: tuple[int, ...],
    kernel: Axes,
    stride: Axes,
    padding: Padding,
    dilation: Axes = 1,
    *,
    ceil_mode: bool = False,
    half_padding: bool = False,
) -> tuple[int, ...]:
    """Output sizes of a sliding window over every spatial axis.

    Args:
        layer: Name of the layer's type, for the errors.
        spatial: Sizes of the spatial axes of the input.
        kernel: Window sizes.
        stride: Steps.
        padding: See :data:`Padding`.
        dilation: Distances between the positions of a window.
        ceil_mode: See :func:`output_size`.
        half_padding: Whether explicit padding is limited to half of the kernel, as pooling demands: a window that lies
            in the padding alone has nothing to pool. As in PyTorch, dilation does not raise the limit.

    Returns:
        One size per spatial axis.

    Raises:
        ShapeError: If the settings do not match the number of axes, the window does not fit, or the padding is too large.

    Example:
        >>> slide("Conv", (200, 300), kernel=3, stride=2, padding="same")
        (100, 150)
    """
    rank = len(spatial)
    sizes = []
    for axis, n, k, s, p, d in zip(
        range(rank),
        spatial,
        _axis_values(kernel, rank, f"{layer}.kernel"),
        _axis_values(stride, rank, f"{layer}.stride"),
        _axis_values(padding, rank, f"{layer}.padding"),
        _axis_values(dilation, rank, f"{layer}.dilation"),
        strict=True,
    ):
        window = effective_kernel(k, d)
        before, after = resolve_padding(p, n, window, s)
        if half_padding and p != "same" and max(before, after) > k // 2:
            raise ShapeError(
                f"{layer}.padding is more than half of the kernel along spatial axis {axis}",
                got=f"padding {(before, after)}, kernel {k}",
                expected=f"at most {k // 2} on each side",
                hint="a window that lies in the padding alone has nothing to pool: use less padding or a larger kernel",
            )
        size = output_size(n, window, s, before, after, ceil_mode=ceil_mode)
        if size < 1:
            raise ShapeError(
                f"{layer}: the window is larger than the padded input along spatial axis {axis}",
                got=f"window {window} (kernel {k}, dilation {d}) on {n} + {before + after} of padding",
                expected=f"a window of at most {n + before + after}",
                hint="use a smaller kernel or dilation, more padding (padding='same'), or smaller strides before it",
            )
        sizes.append(size)
    return tuple(sizes)
