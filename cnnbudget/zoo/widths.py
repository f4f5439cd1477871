"""Wider and narrower networks: a factor on the feature maps."""

from __future__ import annotations

from cnnbudget.checks import number_from
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten

__all__ = ["check_width", "scaled"]

_MOST = 1000


def check_width(width: float) -> float:
    """Checks a factor on feature maps.

    Args:
        width: What the user gave.

    Returns:
        The factor.

    Raises:
        InvalidTypeError: If it is no number.
        InvalidValueError: If it is zero or less, or very large.
    """
    expected, factor = f"a factor above 0, at most {_MOST}", number_from(width)
    if isinstance(factor, bool) or not isinstance(factor, (int, float)):
        raise InvalidTypeError("width must be a number", got=shorten(width), expected=expected)
    if not 0 < factor <= _MOST:
        raise InvalidValueError("width is out of range", got=shorten(width), expected=expected)
    return factor


def scaled(maps: int, width: float, multiple: int = 1) -> int:
    """Scales a number of feature maps or features, to the nearest multiple and never to nothing.

    Args:
        maps: The number at width 1.
        width: The factor.
        multiple: What the result is a multiple of, for layers in groups.

    Returns:
        The number; ``maps`` itself at width 1, where that is a multiple.

    Raises:
        InvalidTypeError: If the factor is no number.
        InvalidValueError: If it is out of range.

    Example:
        >>> scaled(96, 0.5), scaled(6, 0.75, multiple=2), scaled(1, 0.1)
        (48, 4, 1)
    """
    return multiple * max(1, round(maps * check_width(width) / multiple))
