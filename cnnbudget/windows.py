"""Window arithmetic in exact ints: how many positions a sliding window has along each axis, and how much padding is meant.

Convolution, its transpose, pooling and padding share it. Sources: TensorFlow's rule for ``"same"`` (output
``ceil(n / stride)``, the odd pixel of padding at the end), Dumoulin and Visin, "A guide to convolution arithmetic for deep
learning" (2016), relationship 15 for dilation and 14 for transposes, and PyTorch's rules for ``ceil_mode`` (the last window
must start inside the input or the padding before it), output padding, adaptive windows and the limits of padding modes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cnnbudget.checks import axes_from, exact_int, int_from, one_of
from cnnbudget.errors import InvalidValueError, ShapeError, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from attrs import Attribute

    from cnnbudget.checks import Validator

__all__ = [
    "Axes",
    "Padding",
    "Sides",
    "adaptive_windows",
    "effective_kernel",
    "fill",
    "is_padding",
    "is_sides",
    "output_size",
    "padding_from",
    "per_axis",
    "resolve_padding",
    "sides_of",
    "slide",
    "slide_transposed",
]

Axes = int | tuple[int, ...]
"""One int for every spatial axis, or one int per axis."""

Padding = str | int | tuple[int, ...] | tuple[tuple[int, int], ...]
"""``"same"``, ``"valid"``, an int, one int per axis, or one ``(before, after)`` pair per axis."""

Sides = int | tuple[int, ...] | tuple[tuple[int, int], ...]
"""What is added or cut: an int, one int per axis, or one ``(before, after)`` pair per axis."""

_WORDS = ("same", "valid")
_SIDES = "an int, one int per spatial axis, or one (before, after) pair per spatial axis"


def padding_from(
    value: str | SupportsIndex | Sequence[SupportsIndex] | Sequence[Sequence[SupportsIndex]],
) -> Padding:
    """Normalises a padding: lists to tuples, numpy ints to ints; leaves the rest for the validator to refuse."""
    if isinstance(value, str):
        return value
    if isinstance(value, (tuple, list)) and all(isinstance(pair, (tuple, list)) for pair in value):
        return tuple(tuple(map(int_from, pair)) for pair in value)  # type: ignore[return-value]  # pairs, says the validator
    return axes_from(value)  # type: ignore[arg-type]  # no pairs, as just seen


def is_padding(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    """Validates a padding; see :data:`Padding` for what is accepted."""
    what = f"{type(instance).__name__}.{attribute.name}"
    if isinstance(value, str):
        one_of(value, _WORDS, what)
        return
    _check_sides(value, what, 0, f"'same', 'valid', {_SIDES}")


def is_sides(least: int = 0) -> Validator:
    """Makes a validator of :data:`Sides`."""

    def check(instance: Any, attribute: Attribute[Any], value: Any) -> None:
        _check_sides(value, f"{type(instance).__name__}.{attribute.name}", least, _SIDES)

    return check


def _check_sides(value: Any, what: str, least: int, expected: str) -> None:
    if not isinstance(value, tuple):
        exact_int(value, what, least)
        return
    pairs = [pair for pair in value if isinstance(pair, tuple)]
    if not value or len(pairs) not in {0, len(value)} or any(len(pair) != 2 for pair in pairs):
        raise InvalidValueError(f"{what} is not readable", got=shorten(value), expected=expected)
    for axis, sides in enumerate(value):
        for side in sides if isinstance(sides, tuple) else (sides,):
            exact_int(side, f"{what}[{axis}]", least)


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


def per_axis(value: Any, rank: int, what: str) -> tuple[Any, ...]:
    """Spreads a setting over the spatial axes.

    Args:
        value: One value, or a tuple of one per axis.
        rank: The number of spatial axes.
        what: How to call the setting in an error.

    Returns:
        One value per spatial axis.

    Raises:
        ShapeError: If the tuple has another length.

    Example:
        >>> per_axis(3, 2, "Conv.kernel"), per_axis((3, 5), 2, "Conv.kernel")
        ((3, 3), (3, 5))
    """
    if not isinstance(value, tuple):
        return (value,) * rank
    if len(value) != rank:
        raise ShapeError(
            f"{what} does not match the number of spatial axes",
            got=f"{len(value)} values, {shorten(value)}",
            expected=f"one value, or {rank} of them",
        )
    return value


def sides_of(
    layer: str,
    spatial: tuple[int, ...],
    padding: Padding,
    kernel: Axes = 1,
    stride: Axes = 1,
    dilation: Axes = 1,
    *,
    setting: str = "padding",
) -> tuple[tuple[int, int], ...]:
    """Finds how much is added before and after every spatial axis.

    Args:
        layer: Name of the layer's type, for the errors.
        spatial: Sizes of the spatial axes of the input.
        padding: See :data:`Padding`.
        kernel: Window sizes; ``"same"`` depends on them, and on the next two.
        stride: Steps.
        dilation: Distances between the positions of a window.
        setting: Name of the layer's setting, for the errors.

    Returns:
        ``(before, after)`` for every spatial axis.

    Raises:
        ShapeError: If a setting does not match the number of axes.

    Example:
        >>> sides_of("Conv", (75, 50), "same", kernel=3, stride=2)
        ((1, 1), (0, 1))
    """
    rank = len(spatial)
    return tuple(
        resolve_padding(p, n, effective_kernel(k, d), s)
        for n, p, k, s, d in zip(
            spatial,
            per_axis(padding, rank, f"{layer}.{setting}"),
            per_axis(kernel, rank, f"{layer}.kernel"),
            per_axis(stride, rank, f"{layer}.stride"),
            per_axis(dilation, rank, f"{layer}.dilation"),
            strict=True,
        )
    )


def fill(
    layer: str, spatial: tuple[int, ...], sides: tuple[tuple[int, int], ...], mode: str, *, setting: str = "padding"
) -> tuple[int, ...]:
    """Sizes of the spatial axes after something is added before and after them; a negative amount cuts.

    Args:
        layer: Name of the layer's type, for the errors.
        spatial: Sizes of the spatial axes.
        sides: ``(before, after)`` for every one of them.
        mode: ``"reflect"`` can add at most one less than the size, ``"circular"`` at most the size; other modes have no limit.
        setting: Name of the layer's setting, for the errors.

    Returns:
        One size per spatial axis.

    Raises:
        ShapeError: If the mode has not that much to copy from, or nothing is left.

    Example:
        >>> fill("Pad", (4, 4), ((1, 2), (-1, 0)), "reflect")
        (7, 3)
    """
    sizes = []
    for axis, (n, (before, after)) in enumerate(zip(spatial, sides, strict=True)):
        most = {"reflect": n - 1, "circular": n}.get(mode)
        if most is not None and max(before, after) > most:
            raise ShapeError(
                f"{layer}.{setting} is too much for mode {mode!r} along spatial axis {axis}",
                got=f"{(before, after)} on {n}",
                expected=f"at most {most} on each side",
                hint="add less, or use zeros",
            )
        size = n + before + after
        if size < 1:
            raise ShapeError(
                f"{layer}.{setting} leaves nothing of spatial axis {axis}",
                got=f"{(before, after)} on {n}",
                expected="at least one position to stay",
                hint="cut less",
            )
        sizes.append(size)
    return tuple(sizes)


def adaptive_windows(n: int, size: int) -> tuple[tuple[int, int], ...]:
    """The windows of adaptive pooling along one axis: as even as possible, they overlap where the sizes do not divide.

    Window ``i`` is ``floor(i * n / size)`` to ``ceil((i + 1) * n / size)``, as in PyTorch.

    Args:
        n: Size of the axis.
        size: How many windows.

    Returns:
        ``(start, stop)`` of every window.

    Example:
        >>> adaptive_windows(7, 3)
        ((0, 3), (2, 5), (4, 7))
    """
    return tuple((i * n // size, -(-(i + 1) * n // size)) for i in range(size))


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
        per_axis(kernel, rank, f"{layer}.kernel"),
        per_axis(stride, rank, f"{layer}.stride"),
        per_axis(padding, rank, f"{layer}.padding"),
        per_axis(dilation, rank, f"{layer}.dilation"),
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


@lru_cache(maxsize=4096)  # as above
def slide_transposed(
    layer: str,
    spatial: tuple[int, ...],
    kernel: Axes,
    stride: Axes,
    padding: Padding,
    output_padding: Axes,
    dilation: Axes,
) -> tuple[int, ...]:
    """Output sizes of a transposed sliding window over every spatial axis.

    With numbers, ``(n - 1) * stride - before - after + window + output_padding`` (PyTorch). With words, ``n * stride`` for
    ``"same"`` and ``n * stride + max(window - stride, 0)`` for ``"valid"`` (Keras).

    Args:
        layer: Name of the layer's type, for the errors.
        spatial: Sizes of the spatial axes of the input.
        kernel: Window sizes.
        stride: Steps of the window in the output.
        padding: What is cut from the output, as :data:`Padding`.
        output_padding: What is added to its end again.
        dilation: Distances between the positions of a window.

    Returns:
        One size per spatial axis.

    Raises:
        ShapeError: If the settings do not match the number of axes, the output padding is not less than the stride or the
            dilation, or nothing is left.

    Example:
        >>> slide_transposed("ConvTranspose", (7, 7), kernel=3, stride=2, padding=1, output_padding=1, dilation=1)
        (14, 14)
    """
    rank = len(spatial)
    sizes = []
    for axis, n, k, s, p, extra, d in zip(
        range(rank),
        spatial,
        per_axis(kernel, rank, f"{layer}.kernel"),
        per_axis(stride, rank, f"{layer}.stride"),
        per_axis(padding, rank, f"{layer}.padding"),
        per_axis(output_padding, rank, f"{layer}.output_padding"),
        per_axis(dilation, rank, f"{layer}.dilation"),
        strict=True,
    ):
        window = effective_kernel(k, d)
        if extra >= max(s, d):
            raise ShapeError(
                f"{layer}.output_padding must be less than the stride or the dilation along spatial axis {axis}",
                got=f"output padding {extra}, stride {s}, dilation {d}",
                expected=f"at most {max(s, d) - 1}",
                hint="it only chooses between the sizes that a convolution with this stride maps to one",
            )
        if p == "same":
            size = n * s
        elif p == "valid":
            size = n * s + max(window - s, 0)
        else:
            before, after = resolve_padding(p, n, window, s)
            size = (n - 1) * s - before - after + window + extra
        if size < 1:
            raise ShapeError(
                f"{layer}.padding leaves nothing of spatial axis {axis}",
                got=f"padding {p} of an output of {(n - 1) * s + window + extra}",
                expected="at least one position to stay",
                hint="padding is cut from the output here: use less of it",
            )
        sizes.append(size)
    return tuple(sizes)
