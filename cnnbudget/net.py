"""The front door: an immutable chain that is rooted at an input, with one line for every question."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cnnbudget.advice.compare import Comparison
from cnnbudget.advice.compare import compare as compare_networks
from cnnbudget.advice.fit import Advice, fit
from cnnbudget.advice.limits import Limit, max_depth, max_input_size, max_width
from cnnbudget.analysis.costs import CostTable, costs
from cnnbudget.analysis.dense import DenseEquivalent, dense_equivalent
from cnnbudget.analysis.receptive import ReceptiveField, receptive_field
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.block import Block, Part, Verbs, check_parts
from cnnbudget.graph.build import Checker, Root, build
from cnnbudget.graph.nodes import Input, Network
from cnnbudget.graph.shapes import specs
from cnnbudget.layers.base import Layer
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.scenario import Inference, Scenario, Training
from cnnbudget.render.summary import Summary, summary
from cnnbudget.tensors import Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import SupportsIndex

    from cnnbudget.advice.remedies import Remedy

__all__ = ["Net", "compare"]

_INFERENCE = Inference()
_TRAINING = Training(32)


@frozen(eq=False, repr=False)
class Net(Verbs):
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
    _root: Root
    _before: Net | None
    _added: tuple[Part, ...]
    _output: TensorSpec
    _taps: Mapping[str, TensorSpec]

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
        return cls._start((Input(name, shape),))

    @classmethod
    def inputs(cls, **shapes: Shape) -> Net:
        """Starts a net with several inputs: the chain goes on from the first, :meth:`join` reaches all by their names.

        Args:
            **shapes: ``(C, *spatial)`` of each input.

        Returns:
            A net without layers.

        Raises:
            InvalidValueError: If there is no input.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> net = Net.inputs(image=(3, 8, 8), depth=(1, 8, 8)).join("depth").then(Conv(4, 3))
            >>> net.output_shape, net.parameter_count
            ((4, 6, 6), 148)
        """
        if not shapes:
            raise InvalidValueError("a net needs an input", got="no shapes", expected="for example image=(3, 224, 224)")
        return cls._start(tuple(Input(name, shape) for name, shape in shapes.items()))

    @classmethod
    def _start(cls, sources: tuple[Input, ...]) -> Net:
        return cls(sources, None, (), sources[0].spec, {source.name: source.spec for source in sources})

    @classmethod
    def from_network(cls, network: Network) -> Net:
        """Starts a net from a network; what is appended reads its first output.

        Args:
            network: The network.

        Returns:
            A net of the same nodes.

        Raises:
            InvalidTypeError: If it is no network.
        """
        if not isinstance(network, Network):
            raise InvalidTypeError("from_network() takes a network", got=shorten(network), expected="a Network")
        known = specs(network)
        return cls(
            network, None, (), known[network.outputs[0]], {source.name: source.spec for source in network.inputs}
        )

    def then(self, *parts: Part, name: str | None = None, share: str | None = None) -> Net:
        """Appends layers and blocks.

        Args:
            *parts: Layers and blocks, in order.
            name: Opens a scope: their nodes are called ``name/...``.
            share: Their parameters are those of earlier parts appended with the same word.

        Returns:
            A new net.

        Raises:
            InvalidTypeError: If a part is neither layer nor block.
            ShapeError: If a layer cannot be applied to what reaches it; the error names the node.
            UnknownNameError: If a join asks for a label that does not exist yet.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> [node.name for node in Net.input(3, 8, 8).then(Conv(4, 3), name="stem").network.nodes]
            ['stem/conv']
        """
        added = check_parts(parts if name is share is None else (Block(*parts, name=name, share=share),), "then()")
        end = Checker(self._output, self._taps)
        try:
            end.write(added)
        except Exception:
            # The new parts alone are cheap to check, but their nodes have no names yet: the whole net fails with the place.
            specs(build(self._root, (*self._parts(), *added)))
            raise  # pragma: no cover  # the whole net fails where its end fails
        return Net(self._root, self, added, end.tip, end.taps)

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
        return build(self._root, self._parts())

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

    def fit(
        self,
        budget: SupportsIndex | str,
        scenario: Scenario,
        *,
        allow: Any = None,
        keep: Any = (),
        remedies: Iterable[Remedy] = (),
        combine: int = 3,
        tries: int | None = None,
    ) -> Advice:
        """Checks the net against a budget and says what to change; see :func:`cnnbudget.fit`.

        Options that are applied give a :class:`Net`.
        """
        wishes: dict[str, Any] = {"allow": allow, "keep": keep, "remedies": remedies}
        return fit(self.network, budget, scenario, **wishes, combine=combine, tries=tries, wrap=Net.from_network)

    def max_batch(self, budget: SupportsIndex | str, scenario: Scenario) -> int:
        """The largest batch that fits a budget, 0 if none does; see :func:`cnnbudget.max_batch`."""
        return self.profile(scenario).max_batch(budget)

    def max_input_size(self, budget: SupportsIndex | str, scenario: Scenario, *, axis: int | None = None) -> Limit:
        """The largest input that fits a budget; see :func:`cnnbudget.max_input_size`."""
        return max_input_size(self.network, budget, scenario, axis=axis, wrap=Net.from_network)

    def max_width(self, budget: SupportsIndex | str, scenario: Scenario, *, step: int = 32) -> Limit:
        """The largest width multiplier that fits a budget; see :func:`cnnbudget.max_width`."""
        return max_width(self.network, budget, scenario, step=step, wrap=Net.from_network)

    def max_depth(self, budget: SupportsIndex | str, scenario: Scenario, scope: str) -> Limit:
        """The most repeats of a block that fit a budget; see :func:`cnnbudget.max_depth`."""
        return max_depth(self.network, budget, scenario, scope, wrap=Net.from_network)

    def dense_equivalent(self) -> DenseEquivalent:
        """Counts what the convolutions would cost without sharing; see :func:`cnnbudget.dense_equivalent`."""
        return dense_equivalent(self.network)

    def receptive_field(self) -> ReceptiveField:
        """Computes size, stride and padding of the receptive field of every node; see :func:`cnnbudget.receptive_field`."""
        return receptive_field(self.network)

    def __eq__(self, other: object) -> bool:
        return self._value() == other._value() if isinstance(other, Net) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value())

    def _value(self) -> Root:
        return self._root if self._is_empty else self.network

    @property
    def _is_empty(self) -> bool:
        return not isinstance(self._root, Network) and not any(
            isinstance(part, Layer) or part.layer_count for part in self._parts()
        )

    def __reduce__(self) -> tuple[Callable[..., Net], tuple[Any, ...]]:
        return _restore, (self._root, self._parts(), self._output, dict(self._taps))

    def __repr__(self) -> str:
        if isinstance(self._root, Network):
            start = f"Net.from_network({self._root!r})"
        elif len(self._root) > 1:
            start = f"Net.inputs({', '.join(f'{source.name}={source.shape}' for source in self._root)})"
        else:
            (source,) = self._root
            name = "" if source.name == "input" else f", name={source.name!r}"
            start = f"Net.input({', '.join(map(str, source.shape))}{name})"
        parts = self._parts()
        return f"{start}.then({', '.join(map(repr, parts))})" if parts else start

    def __str__(self) -> str:
        return repr(self) if self._is_empty else str(self._costs)

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>" if self._is_empty else self._costs._repr_html_()


def _restore(root: Root, parts: tuple[Part, ...], output: TensorSpec, taps: Mapping[str, TensorSpec]) -> Net:
    return Net(root, None, parts, output, taps)


def compare(
    *nets: Net | Network | Mapping[str, Net | Network],
    names: Sequence[str] | None = None,
    inference: Scenario = _INFERENCE,
    training: Scenario = _TRAINING,
) -> Comparison:
    """Compares networks: depth, parameters, multiply-accumulates, modules, skip connections, receptive field, memory.

    Args:
        *nets: At least one net or network, or one mapping of names to them.
        names: How to call them, in their order.
        inference: How they run; one sample in 32 bits unless told.
        training: How they are trained; a batch of 32 in 32 bits, with everything kept, unless told.

    Returns:
        The comparison, one column a network; its facts are computed from the graphs.

    Raises:
        InvalidTypeError: If something else than nets and networks is given.
        InvalidValueError: If there is none, or names do not fit.
        MissingRuleError: If a layer does not state its parameters, buffers, extras or multiply-accumulates.

    Example:
        >>> from cnnbudget import compare
        >>> from cnnbudget.zoo import lenet5, resnet18
        >>> table = compare({"LeNet-5": lenet5(), "ResNet-18": resnet18()})
        >>> [row for row in table.rows() if row["fact"] == "parameters"]
        [{'fact': 'parameters', 'LeNet-5': 61706, 'ResNet-18': 11689512}]
    """
    if len(nets) == 1 and isinstance(nets[0], Mapping):
        named = {name: _network_of(net) for name, net in nets[0].items()}
        return compare_networks(named, names=names, inference=inference, training=training)
    return compare_networks(*map(_network_of, nets), names=names, inference=inference, training=training)


def _network_of(net: Any) -> Any:
    return net.network if isinstance(net, Net) else net
