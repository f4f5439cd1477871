"""What the networks of the zoo have in common: how they start, and checks of options that no layer checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnbudget.checks import exact_bool
from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.net import Net

if TYPE_CHECKING:
    from cnnbudget.tensors import Shape

__all__ = ["check_flags", "start"]


def start(input_shape: Shape) -> Net:
    """Starts a network.

    Args:
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        A net without layers.

    Raises:
        InvalidTypeError: If the shape is no tuple or list of ints.
        InvalidValueError: If a size is out of range, or there is none.

    Example:
        >>> start((3, 224, 224))
        Net.input(3, 224, 224)
    """
    if not isinstance(input_shape, (tuple, list)):
        raise InvalidTypeError(
            "input_shape must be a tuple of ints", got=shorten(input_shape), expected="(channels, height, width)"
        )
    return Net.input(*input_shape)


def check_flags(**flags: Any) -> None:
    """Checks options that are on or off.

    Args:
        **flags: What the user gave, by the names of the options.

    Raises:
        InvalidTypeError: If one is no bool.
    """
    for name, value in flags.items():
        exact_bool(value, name)
