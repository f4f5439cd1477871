"""Names of nodes, given once, from structure alone: the same construction gives the same names, whatever ran before."""

from __future__ import annotations

__all__ = ["Namer"]


class Namer:
    """Hands out names within one build: ``conv``, then ``conv2``, ``conv3``; after a digit, ``relu6``, then ``relu6_2``.

    The first of a kind has no number, so a network that grows keeps the names of what it had.

    Args:
        taken: Names that are in use already.

    Example:
        >>> namer = Namer(["input"])
        >>> namer.fresh("conv"), namer.fresh("conv"), namer.fresh("stem/conv")
        ('conv', 'conv2', 'stem/conv')
    """

    def __init__(self, taken: tuple[str, ...] | list[str] = ()) -> None:
        self._uses = dict.fromkeys(taken, 1)

    def fresh(self, wanted: str) -> str:
        """A name that nobody has.

        Args:
            wanted: The full name, with its scopes.

        Returns:
            The name itself, or the name with the next free number.
        """
        uses = self._uses
        if wanted not in uses:
            uses[wanted] = 1
            return wanted
        stem, number = f"{wanted}_" if wanted[-1].isdigit() else wanted, uses[wanted] + 1
        while (name := f"{stem}{number}") in uses:
            number += 1
        uses[wanted], uses[name] = number, 1
        return name
