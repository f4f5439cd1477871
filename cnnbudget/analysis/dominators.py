"""Where paths meet: the last value that all paths to a value go through.

For a value that several branches merge into, that is the value at which they part. Dominators of a graph without cycles need one
pass in execution order: a value's dominator is where the dominators' chains of its inputs meet. Jump pointers make a meeting
logarithmic, after Myers, "An applicative random-access stack" (1983).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Dominators"]


class Dominators:
    """The tree of dominators of a growing graph. Value 0 is a root that stands before all inputs.

    Example:
        >>> tree = Dominators()
        >>> source = tree.add([0])
        >>> left, right = tree.add([source]), tree.add([source])
        >>> tree.parent(tree.add([left, right])) == source
        True
    """

    def __init__(self) -> None:
        self._parents = [0]
        self._depths = [0]
        self._jumps = [0]

    def add(self, inputs: Sequence[int]) -> int:
        """Adds a value.

        Args:
            inputs: The values that it is made of, at least one.

        Returns:
            Its number.
        """
        parent = inputs[0]
        for other in inputs[1:]:
            parent = self._meet(parent, other)
        far = self._jumps[parent]
        even = self._depths[parent] - self._depths[far] == self._depths[far] - self._depths[self._jumps[far]]
        self._parents.append(parent)
        self._depths.append(self._depths[parent] + 1)
        self._jumps.append(self._jumps[far] if even else parent)
        return len(self._parents) - 1

    def parent(self, value: int) -> int:
        """The last value that all paths to a value go through; the root if there is none."""
        return self._parents[value]

    def _meet(self, one: int, other: int) -> int:
        if self._depths[one] < self._depths[other]:
            one, other = other, one
        depth = self._depths[other]
        while self._depths[one] > depth:
            one = self._jumps[one] if self._depths[self._jumps[one]] >= depth else self._parents[one]
        while one != other:
            if self._jumps[one] != self._jumps[other]:
                one, other = self._jumps[one], self._jumps[other]
            else:
                one, other = self._parents[one], self._parents[other]
        return one
