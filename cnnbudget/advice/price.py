"""What a remedy costs the user, measured on the network before and after it."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from attrs import field, frozen

from cnnbudget.memory.schedule import Phase

if TYPE_CHECKING:
    from cnnbudget.analysis.costs import CostTable
    from cnnbudget.memory.profile import MemoryProfile
    from cnnbudget.tensors import Shape

__all__ = ["Price", "known_macs", "known_parameters", "price_of"]

Counts = tuple[int | None, int | None]
"""A number before and after; ``None`` where it is unknown."""


@frozen
class Price:
    """What a remedy, or several together, cost the user.

    *Counts*: parameters, and multiply-accumulates of one sample as :func:`cnnbudget.costs` counts them. *Does not count*: accuracy,
    which only a training can tell; time.

    Args:
        parameters: Trainable parameters before and after.
        macs: Multiply-accumulates of one sample before and after.
        recomputed_macs: Multiply-accumulates of one sample that are done a second time; ``None`` if unknown.
        maps: Spatial sizes of the last maps before and after; ``None`` where there are none.
        output: Shapes of the outputs after, where they are other ones; otherwise ``()``.
        changes_results: Whether a forward pass gives other numbers.
        changes_training: Whether training takes another course.
        warnings: What else.
    """

    parameters: Counts
    macs: Counts
    recomputed_macs: int | None
    maps: tuple[Shape | None, Shape | None]
    output: tuple[Shape, ...] = field(default=())
    changes_results: bool = False
    changes_training: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def parameter_delta(self) -> int | None:
        """By how much the number of parameters changes; ``None`` if unknown."""
        return _delta(self.parameters)

    @property
    def mac_delta(self) -> int | None:
        """By how much the multiply-accumulates of a sample change; ``None`` if unknown."""
        return _delta(self.macs)

    @property
    def loses_resolution(self) -> bool:
        """Whether the last maps have fewer positions than before."""
        before, after = self.maps
        return before is not None and (after is None or prod(after) < prod(before))

    def __str__(self) -> str:
        parts = []
        for word, (before, after) in (("parameters", self.parameters), ("MACs", self.macs)):
            if before and after is not None and after != before:
                parts.append(f"{word} {(after - before) / before:+.0%}")
        if self.recomputed_macs and self.macs[1]:
            parts.append(f"forward MACs again {self.recomputed_macs / self.macs[1]:.0%}")
        if self.output:
            parts.append(f"output {', '.join('x'.join(map(str, shape)) for shape in self.output)}")
        elif self.loses_resolution:
            parts.append(f"last maps {_show(self.maps[0])} -> {_show(self.maps[1])}")
        if not (self.changes_results or self.changes_training):
            parts.insert(0, "same results")
        return ", ".join([*parts, *self.warnings]) or "another network of the same size"


def _show(shape: Shape | None) -> str:
    return "gone" if shape is None else "x".join(map(str, shape))


def _delta(counts: Counts) -> int | None:
    before, after = counts
    return None if before is None or after is None else after - before


def known_macs(table: CostTable) -> int | None:
    """Multiply-accumulates of one sample; ``None`` if a layer does not state them."""
    return None if any(cost.macs is None for cost in table) else table.mac_count


def known_parameters(table: CostTable) -> int | None:
    """Trainable parameters; ``None`` if a layer does not state them."""
    return None if any(cost.parameters is None for cost in table) else table.parameter_count


def _last_maps(table: CostTable) -> Shape | None:
    """Spatial sizes of the last value with several positions on the way back from the first output."""
    name = table.network.outputs[0]
    sources = {source.name for source in table.network.inputs}
    while prod(table.specs[name].spatial) == 1:
        if name in sources:
            return None
        name = table.network[name].inputs[0]
    return table.specs[name].spatial


def _recomputed(table: CostTable, found: MemoryProfile) -> int | None:
    """Multiply-accumulates of one sample in the steps that compute a value again."""
    again = [table[step.node].macs for step in found.steps if step.phase is Phase.RECOMPUTE and step.node is not None]
    return None if None in again else sum(macs for macs in again if macs)


def price_of(
    before: CostTable,
    after: CostTable,
    found: MemoryProfile,
    *,
    changes_results: bool,
    changes_training: bool,
    warnings: tuple[str, ...],
) -> Price:
    """Measures a price.

    Args:
        before: Costs of the network before.
        after: Costs of the network after.
        found: The profile after.
        changes_results: Whether a forward pass gives other numbers.
        changes_training: Whether training takes another course.
        warnings: What else.

    Returns:
        The price.
    """
    old = [before.specs[name].shape for name in before.network.outputs]
    new = [after.specs[name].shape for name in after.network.outputs]
    same = before is after
    return Price(
        (known_parameters(before), known_parameters(after)),
        (known_macs(before), known_macs(after)),
        _recomputed(after, found),
        (None, None) if same else (_last_maps(before), _last_maps(after)),
        () if old == new else tuple(new),
        changes_results,
        changes_training,
        warnings,
    )
