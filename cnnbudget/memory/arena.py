"""One arena for everything that comes and goes: an offset for every storage, as a compiler for small devices lays memory out.

Parameters and buffers lie outside of it, where they always are (in flash memory, say).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Attribute, field, frozen

from cnnbudget.checks import exact_int, int_from, is_bool, is_int
from cnnbudget.errors import InvalidValueError, shorten
from cnnbudget.memory.allocator import Allocator, AllocatorReport, Ideal
from cnnbudget.planning.arena import Packing, pack, pack_greedily
from cnnbudget.planning.intervals import live_sizes
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Arena", "ArenaReport"]

_MOST_ALIGNMENT = 2**20


@frozen
class ArenaReport(AllocatorReport):
    """What an arena is laid out as.

    Args:
        numbers: Which storages lie in it, by number.
        packing: Their offsets in the same order, the height, and what is proved about it.
    """

    numbers: tuple[int, ...] = field(default=(), repr=False, kw_only=True)
    packing: Packing | None = field(default=None, kw_only=True)

    @property
    def height(self) -> Bytes:
        """Bytes of the arena."""
        return Bytes(0 if self.packing is None else self.packing.height)

    @property
    def load(self) -> Bytes:
        """The most bytes of its storages alive at once, each rounded up to the alignment; no arena is lower."""
        return Bytes(0 if self.packing is None else self.packing.lower_bound)

    @property
    def offsets(self) -> dict[int, int]:
        """The offset of every storage in the arena, by number."""
        return {} if self.packing is None else dict(zip(self.numbers, self.packing.offsets, strict=True))


def _is_alignment(instance: Any, attribute: Attribute[Any], value: Any) -> None:
    exact_int(value, f"{type(instance).__name__}.{attribute.name}", 1, _MOST_ALIGNMENT)
    if value & (value - 1):
        raise InvalidValueError(
            f"{type(instance).__name__}.{attribute.name} is no power of two",
            got=shorten(value),
            expected="1, 2, 4, ...",
        )


@frozen(repr=False)
class Arena(Allocator):
    """An arena of the least height that is found, with proof where there is one.

    Args:
        alignment: Every offset is a multiple of it, in bytes.
        greedy: Whether storages are placed one after the other, the largest first, as TensorFlow Lite Micro does, instead of
            searching for the least height.
        node_limit: How many placements each search below one height may try.
        seed: Breaks ties of the search.

    Example:
        >>> from cnnbudget import Inference, zoo
        >>> found = zoo.mobilenet_v2().profile(Inference(allocator=Arena(alignment=64)))
        >>> found.allocation.height, found.allocation.packing.optimal
        (Bytes(9633792), True)
    """

    alignment: int = field(default=64, converter=int_from, validator=_is_alignment)
    greedy: bool = field(default=False, kw_only=True, validator=is_bool)
    node_limit: int = field(default=100_000, kw_only=True, converter=int_from, validator=is_int(0))
    seed: int = field(default=0, kw_only=True, converter=int_from, validator=is_int(0))

    def replay(
        self,
        births: Sequence[int],
        deaths: Sequence[int],
        sizes: Sequence[int],
        steps: int,
        *,
        first: Sequence[int] = (),
    ) -> ArenaReport:
        """Lays out everything but what is there before the first step.

        Raises:
            InvalidValueError: If the lifetimes contradict themselves.
        """
        ideal = Ideal().replay(births, deaths, sizes, steps, first=first)
        outside = set(first)
        numbers = tuple([number for number in range(len(sizes)) if number not in outside and sizes[number]])
        apart = sum([sizes[number] for number in outside])
        if not numbers:
            return ArenaReport(
                ideal.requested, ideal.requested, ideal.requested, *(ideal.requested_peak,) * 3, ideal.segments
            )
        lives = [(births[number], deaths[number], sizes[number]) for number in numbers]
        packing = (
            pack_greedily(lives, self.alignment)
            if self.greedy
            else pack(lives, self.alignment, node_limit=self.node_limit, seed=self.seed)
        )
        rounded = [-(-size // self.alignment) * self.alignment for _, _, size in lives]
        blocks = live_sizes([life[0] for life in lives], [life[1] for life in lives], rounded, steps)
        allocated = tuple([apart + size for size in blocks])
        reserved = Bytes(apart + packing.height)
        return ArenaReport(
            ideal.requested,
            allocated,
            (reserved,) * steps,
            ideal.requested_peak,
            Bytes(max(allocated)),
            reserved,
            (apart, packing.height) if apart else (packing.height,),
            numbers=numbers,
            packing=packing,
        )
