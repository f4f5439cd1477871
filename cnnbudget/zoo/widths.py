"""Wider and narrower networks: a factor on the feature maps."""

from __future__ import annotations

__all__ = ["scaled"]


def scaled(maps: int, width: float, multiple: int = 1) -> int:
    """Scales a number of feature maps or features, to the nearest multiple and never to nothing.

    Args:
        maps: The number at width 1.
        width: The factor.
        multiple: What the result is a multiple of, for layers in groups.

    Returns:
        The number; ``maps`` itself at width 1, where that is a multiple.

    Example:
        >>> scaled(96, 0.5), scaled(6, 0.75, multiple=2), scaled(1, 0.1)
        (48, 4, 1)
    """
    return multiple * max(1, round(maps * width / multiple))
