"""The network of the textbook's exercise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.errors import InvalidTypeError, shorten
from cnnbudget.layers.conv import Conv
from cnnbudget.net import Net
from cnnbudget.zoo.options import start

if TYPE_CHECKING:
    from cnnbudget.tensors import Shape

__all__ = ["textbook_exercise"]


def textbook_exercise(*, maps: tuple[int, ...] = (100, 200, 400), input_shape: Shape = (3, 200, 300)) -> Net:
    """Three 3x3 convolutions with stride 2 and ``"same"`` padding on an RGB image, as the chapter on CNNs asks about them.

    Args:
        maps: Feature maps of each convolution.
        input_shape: ``(C, H, W)`` of one image.

    Returns:
        The net.

    Example:
        >>> from cnnbudget.zoo import textbook_exercise
        >>> net = textbook_exercise()
        >>> net.parameter_count, net.output_shape
        (903400, (400, 25, 38))
    """
    if not isinstance(maps, (tuple, list)):
        raise InvalidTypeError(
            "maps must be a tuple of ints", got=shorten(maps), expected="for example (100, 200, 400)"
        )
    return start(input_shape).then(*[Conv(count, 3, stride=2, padding="same") for count in maps])
