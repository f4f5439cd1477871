"""The front door: an immutable chain that is rooted at an input, with one line for every question."""

from __future__ import annotations

import html
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cnnbudget.advice.fit import Advice, fit
from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.analysis.dense import DenseEquivalent, dense_equivalent
from cnnbudget.analysis.walk import infer, specs
from cnnbudget.errors import CnnBudgetError, InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.block import Block, Part, Repeat, build, check_parts, extend
from cnnbudget.graph.nodes import Input, Network
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.render.summary import Summary, summary
from cnnbudget.tensors import Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from cnnbudget.memory.scenario import Scenario

__all__ = ["Net"]


@frozen(eq=False, repr=False)
class Net:
    """A network that is being designed. Every verb returns a new net; the old one stays.

    Start with :meth:`input`, append with :meth:`then` and :meth:`repeat`, ask with the rest. Shapes are inferred as layers are
    appended, so an error comes from the line that caused it.

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> net = Net.input(3, 200, 300).then(
        ...     Conv(100, 3, stride=2, padding="same"),
        ...     Conv(200, 3, stride=2, padding="same"),
        ...     Conv(400, 3, stride=2, padding="same"),
        ... )
        >>> net.parameter_count, net.output_shape
        (903400, (400, 25, 38))
        >>> net.profile(Inference()).peak
        Bytes(12613600)
    """

    # A net remembers what it grew from and what was added, so that appending one layer at a time is linear; whatever is
    # derived is computed once, when it is asked for.
    _root: Input | Network
    _before: Net | None
    _added: tuple[Part, ...]
    _output: TensorSpec

    @classmethod
    def input(cls, *shape: int, name: str = "input") -> Net:
        """Starts a net.

        Args:
            *shape: Channels, then the spatial axes: ``(3, 200, 300)`` is an image, ``(1, 16000)`` audio, ``(1, 64, 64, 64)`` a
                volume, ``(784,)`` a vector.
            name: Name of the input.

        Returns:
            A net without layers.

        Raises:
            InvalidTypeError: If a size is no int.
            InvalidValueError: If a size is out of range, or there is none.
        """
        source = Input(name, shape)
        return cls(source, None, (), source.spec)

    @classmethod
    def from_network(cls, network: Network) -> Net:
        """Starts a net from a network with one output; what is appended reads that output.

        Args:
            network: The network.

        Returns:
            A net of the same nodes.

        Raises:
            InvalidTypeError: If it is no network.
            InvalidValueError: If it has several outputs.
        """
        if not isinstance(network, Network):
            raise InvalidTypeError("from_network() takes a network", got=shorten(network), expected="a Network")
        if len(network.outputs) != 1:
            raise InvalidValueError(
                "a net goes on from one output",
                got=f"{len(network.outputs)} outputs",
                expected="a network with one output",
            )
        return cls(network, None, (), specs(network)[network.outputs[0]])

    def then(self, *parts: Part, name: str | None = None) -> Net:
        """Appends layers and blocks.

        Args:
            *parts: Layers and blocks, in order.
            name: Opens a scope: their nodes are called ``name/...``.

        Returns:
            A new net.

        Raises:
            InvalidTypeError: If a part is neither layer nor block.
            ShapeError: If a layer cannot be applied to what reaches it; the error names the node.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> [node.name for node in Net.input(3, 8, 8).then(Conv(4, 3), name="stem").network.nodes]
            ['stem/conv']
        """
        added = check_parts(parts if name is None else (Block(*parts, name=name),), "then()")
        output = self._output
        try:
            # Not a walk from an Input of this shape: a value inside a net may be larger than an input, and have a dtype.
            for node in build(Input("input", (1,)), added).nodes:
                output = infer(node, (output,))
        except CnnBudgetError:
            # The tail alone is cheap to check, but numbers its nodes from one: ask the whole net for the node's real name.
            specs(extend(self._root, (*self._parts(), *added)))
            raise  # pragma: no cover  # the whole net fails where its tail fails
        return Net(self._root, self, added, output)

    def repeat(self, body: Part, times: int, *, name: str | None = None) -> Net:
        """Appends a layer or block so many times.

        Args:
            body: What is repeated.
            times: How often, at least once.
            name: With a name, every repetition is a scope: ``name.0``, ``name.1``, ...

        Returns:
            A new net.

        Raises:
            ShapeError: If a layer cannot be applied to what reaches it.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> Net.input(8, 16, 16).repeat(Conv(8, 3), 3).output_shape
            (8, 10, 10)
        """
        return self.then(Repeat(body, times, name=name))

    def _parts(self) -> tuple[Part, ...]:
        links = []
        net: Net | None = self
        while net is not None:
            links.append(net._added)  # noqa: SLF001  # its own kind
            net = net._before  # noqa: SLF001
        return tuple([part for added in reversed(links) for part in added])

    @cached_property
    def network(self) -> Network:
        """The network, as flat nodes with their names.

        Raises:
            InvalidValueError: If no layer was appended yet.
        """
        return extend(self._root, self._parts())

    @property
    def output_shape(self) -> Shape:
        """Shape of one sample of the output."""
        return self._output.shape

    @cached_property
    def _costs(self) -> CostTable:
        return costs(self.network)

    @property
    def parameter_count(self) -> int:
        """Trainable parameters."""
        return self._costs.parameter_count

    @property
    def buffer_count(self) -> int:
        """Elements of all buffers (running statistics)."""
        return self._costs.buffer_count

    @property
    def mac_count(self) -> int:
        """Multiply-accumulates of one sample, of convolutions and linear layers; bias additions are not counted."""
        return self._costs.mac_count

    def costs(self) -> CostTable:
        """Computes shapes, parameters, buffers and multiply-accumulates of every node; see :func:`cnnbudget.costs`."""
        return self._costs

    def summary(self) -> Summary:
        """Summarises the net; see :func:`cnnbudget.summary`."""
        return summary(self.network)

    def profile(self, scenario: Scenario) -> MemoryProfile:
        """Computes the memory profile in a scenario; see :func:`cnnbudget.profile`."""
        return profile(self._costs, scenario)

    def fit(self, budget: SupportsIndex | str, scenario: Scenario) -> Advice:
        """Checks the net against a budget and says what to change; see :func:`cnnbudget.fit`.

        Options that are applied give a :class:`Net`.
        """
        return fit(self.network, budget, scenario, wrap=Net.from_network)

    def max_batch(self, budget: SupportsIndex | str, scenario: Scenario) -> int:
        """The largest batch that fits a budget, 0 if none does; see :func:`cnnbudget.max_batch`."""
        return self.profile(scenario).max_batch(budget)

    def dense_equivalent(self) -> DenseEquivalent:
        """Counts what the convolutions would cost without sharing; see :func:`cnnbudget.dense_equivalent`."""
        return dense_equivalent(self.network)

    def __eq__(self, other: object) -> bool:
        return self._value() == other._value() if isinstance(other, Net) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value())

    def _value(self) -> Input | Network:
        return self._root if isinstance(self._root, Input) and not self._parts() else self.network

    def __reduce__(self) -> tuple[Callable[..., Net], tuple[Any, ...]]:
        return _restore, (self._root, self._parts(), self._output)

    def __repr__(self) -> str:
        if isinstance(self._root, Input):
            name = "" if self._root.name == "input" else f", name={self._root.name!r}"
            start = f"Net.input({', '.join(map(str, self._root.shape))}{name})"
        else:
            start = f"Net.from_network({self._root!r})"
        parts = self._parts()
        return f"{start}.then({', '.join(map(repr, parts))})" if parts else start

    def __str__(self) -> str:
        return repr(self) if isinstance(self._value(), Input) else str(self._costs)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>" if isinstance(self._value(), Input) else self._costs._repr_html_()


def _restore(root: Input | Network, parts: tuple[Part, ...], output: TensorSpec) -> Net:
    return Net(root, None, parts, output)
