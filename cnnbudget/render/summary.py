"""The summary of a network: its table of costs, its totals, and what one prediction needs."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.scenario import Inference
from cnnbudget.tables import plain

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Network

__all__ = ["Summary", "summary"]


@frozen
class Summary:
    """A network at a glance; print it."""

    costs: CostTable = field(repr=False)
    inference: MemoryProfile = field(repr=False)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the cost table."""
        return self.costs.rows()

    def _lines(self) -> list[str]:
        table, peak = self.costs, self.inference.peak
        sources = ", ".join(f"{source.name} {'x'.join(map(str, source.shape))}" for source in table.network.inputs)
        return [
            plain(f"{len(table)} nodes on {sources}"),
            f"parameters {table.parameter_count:,}, buffers {table.buffer_count:,}",
            plain(f"one prediction in FP32: at least {peak} ({peak:,} bytes), reached in {self.inference.peak_step}"),
        ]

    def __str__(self) -> str:
        first, *rest = self._lines()
        return "\n".join([first, str(self.costs), *rest])

    def _repr_html_(self) -> str:
        first, *rest = (f"<p>{html.escape(line)}</p>" for line in self._lines())
        return f"{first}{self.costs._repr_html_()}{''.join(rest)}"  # IPython's protocol has this name


def summary(network: Network) -> Summary:
    """Summarises a network.

    Args:
        network: The network.

    Returns:
        The summary.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> print(Net.input(3, 8, 8).then(Conv(4, 3)).summary())
        1 nodes on input 3x8x8
        node   layer       output  parameters   MACs  activation (FP32, 1 sample)
        -----  ----------  ------  ----------  -----  ---------------------------
        conv   Conv(4, 3)   4x6x6         112  3,888                        576 B
        -----  ----------  ------  ----------  -----  ---------------------------
        total                             112  3,888
        parameters 112, buffers 0
        one prediction in FP32: at least 1.75 KiB (1,792 bytes), reached in forward of conv
    """
    table = costs(network)
    return Summary(table, profile(table, Inference()))
