"""The front door: an immutable chain that is rooted at an input, with one line for every question."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from attrs import frozen

from cnnbudget.advice.compare import Comparison, named_networks
from cnnbudget.advice.compare import compare as compare_networks
from cnnbudget.advice.conventions import Conventions, conventions
from cnnbudget.advice.diff import NetworkDiff, diff
from cnnbudget.advice.explain import explain
from cnnbudget.advice.fit import Advice, fit
from cnnbudget.advice.limits import Limit, max_batch, max_depth, max_input_size, max_width
from cnnbudget.advice.scenarios import ScenarioComparison, compare_scenarios
from cnnbudget.advice.sweep import sweep
from cnnbudget.advice.sweep_result import Sweep
from cnnbudget.analysis.costs import CostTable, costs, costs_of
from cnnbudget.analysis.dense import DenseEquivalent, dense_equivalent
from cnnbudget.analysis.receptive import ReceptiveField, receptive_field
from cnnbudget.derivations import Explanation
from cnnbudget.errors import InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.block import Block, Part, Verbs, check_parts
from cnnbudget.graph.build import Checker, Root, build
from cnnbudget.graph.grown import Grown
from cnnbudget.graph.nodes import Input, Network
from cnnbudget.graph.shapes import applications
from cnnbudget.layers.base import Layer
from cnnbudget.memory.order import reorder_network
from cnnbudget.memory.profile import MemoryProfile, profile
from cnnbudget.memory.retention import Autograd
from cnnbudget.memory.scenario import Inference, Scenario, Training
from cnnbudget.render.summary import Summary, summary
from cnnbudget.tensors import Shape, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import SupportsIndex

    from cnnbudget.advice.remedies import Remedy
    from cnnbudget.graph.shapes import Application

__all__ = ["Net", "compare"]

_INFERENCE = Inference()
_TRAINING = Training(32)
_EXPLAINED = Training(retention=Autograd())


@frozen(eq=False, repr=False, init=False)
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
    _applied: tuple[Application, ...]  # by the nodes of the root (if it is a network) and of these parts
    _output: TensorSpec
    _taps: Grown[str, TensorSpec]
    _shared: Grown[tuple[str, int], Application]

    def __init__(self, *_: object, **__: object) -> None:
        raise InvalidTypeError(
            "a net starts with an input",
            got="Net(...)",
            expected="Net.input(3, 224, 224), Net.inputs(left=..., right=...) or Net.from_network(network)",
        )

    @classmethod
    def _of(cls, *state: Any) -> Net:
        net = cls.__new__(cls)
        net.__attrs_init__(*state)
        return net

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
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            raise InvalidTypeError(
                "Net.input() takes one int an axis", got=shorten(shape[0]), hint="unpack it: Net.input(*shape)"
            )
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
        taps = Grown({source.name: source.spec for source in sources})
        return cls._of(sources, None, (), (), sources[0].spec, taps, Grown())

    @classmethod
    def from_network(cls, network: Network) -> Net:
        """Starts a net from a network; what is appended reads its first output, or what :meth:`at` says.

        The names of its nodes are labels, for :meth:`join` and :meth:`at`.

        Args:
            network: The network.

        Returns:
            A net of the same nodes.

        Raises:
            InvalidTypeError: If it is no network.

        Example:
            >>> from cnnbudget import Add, Conv, Net, Upsample, zoo
            >>> net = Net.from_network(zoo.resnet18().network).output("classes").at("layer4.1/relu2")
            >>> net = net.then(Conv(256, 1), Upsample(2)).join("layer3.1/relu2", merge=Add())
            >>> net.output_shape, net.network.outputs
            ((256, 14, 14), ('add', 'linear'))
        """
        if not isinstance(network, Network):
            raise InvalidTypeError("from_network() takes a network", got=shorten(network), expected="a Network")
        applied = applications(network)
        taps = {source.name: source.spec for source in network.inputs}
        taps |= {node.name: one.output for node, one in zip(network.nodes, applied, strict=True)}
        return cls._of(network, None, (), applied, taps[network.outputs[0]], Grown(taps), Grown())

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
            ShapeError: If a layer cannot be applied to what reaches it, or parameters that are shared have other shapes than
                before; the error names the node.
            UnknownNameError: If a label does not exist yet.

        Example:
            >>> from cnnbudget import Conv, Net
            >>> [node.name for node in Net.input(3, 8, 8).then(Conv(4, 3), name="stem").network.nodes]
            ['stem/conv']
        """
        added = check_parts(parts if name is share is None else (Block(*parts, name=name, share=share),), "then()")
        end = Checker(self._output, self._taps, self._shared)
        try:
            end.write(added)
        except Exception:
            # The new parts alone are cheap to check, but their nodes have no names yet: the whole net fails with the place.
            costs(build(self._root, (*self._parts(), *added)))
            raise  # pragma: no cover  # the whole net fails where its end fails
        net = Net._of(self._root, self, added, tuple(end.applied), end.tip, end.taps, end.shared)
        return net._checked() if end.doubtful and not net._is_empty else net  # noqa: SLF001  # its own kind

    def _checked(self) -> Net:
        self.costs()  # which compares what is shared; and the network knows whether a value was lost
        return self

    def _links(self) -> list[Net]:
        links = []
        net: Net | None = self
        while net is not None:
            links.append(net)
            net = net._before  # noqa: SLF001  # its own kind
        return links[::-1]

    def _parts(self) -> tuple[Part, ...]:
        return tuple([part for net in self._links() for part in net._added])  # noqa: SLF001  # its own kind

    def _all_applied(self) -> tuple[Application, ...]:
        return tuple([one for net in self._links() for one in net._applied])  # noqa: SLF001  # its own kind

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
        return costs_of(self.network, self._all_applied())

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
        return max_batch(self.network, budget, scenario)

    def reordered(self, scenario: Scenario = _INFERENCE) -> Net:
        """The net with its nodes in the order that has the least peak, as far as one is found.

        Args:
            scenario: How it runs; one sample in 32 bits unless told. Of a training the order of the forward steps counts.

        Returns:
            A net of the same nodes; its profile in the scenario with ``order="optimal"`` says what is proved about the order.

        Example:
            >>> from cnnbudget import Conv, Inference, Net
            >>> wide = Net.input(8, 4, 4).branch(Block(Conv(32, 1), Conv(1, 1)), Block(Conv(4, 1), Conv(16, 1)))
            >>> [node.name for node in wide.reordered().network.nodes]
            ['conv', 'conv2', 'conv3', 'conv4', 'concat']
        """
        found = self.profile(scenario.evolve(order="optimal"))
        return Net.from_network(reorder_network(self.network, found.lifetimes.schedule))

    def sweep(self, scenario: Scenario, **axes: Any) -> Sweep:
        """Computes memory at every combination of batches, input sizes, precisions, ...; see :func:`cnnbudget.sweep`."""
        return sweep(self.network, scenario, **axes)

    def diff(self, after: Net | Network, scenario: Scenario = _TRAINING) -> NetworkDiff:
        """Finds what changed from this net to another, layer by layer; see :func:`cnnbudget.diff`."""
        return diff(self, after, scenario)

    def conventions(self, *, functions: str | Iterable[str] = ()) -> Conventions:
        """Works out what other tools would print for the net; see :func:`cnnbudget.conventions`."""
        return conventions(self.network, functions=functions)

    def explain(self, name: str | None = None, scenario: Scenario = _EXPLAINED) -> Explanation:
        """Derives every number of a node, or of the whole net, with the numbers substituted; see :func:`cnnbudget.explain`."""
        return explain(self.network, name, scenario)

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
        return _restore, (self._root, self._parts())  # what follows from them is inferred again

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


def _restore(root: Root, parts: tuple[Part, ...]) -> Net:
    net = Net.from_network(root) if isinstance(root, Network) else Net._start(root)  # noqa: SLF001  # its own kind
    return net.then(*parts) if parts else net


@overload
def compare(
    *nets: Net | Network | Mapping[str, Net | Network],
    names: Sequence[str] | None = None,
    inference: Scenario = _INFERENCE,
    training: Scenario = _TRAINING,
    scenarios: None = None,
) -> Comparison: ...


@overload
def compare(
    *nets: Net | Network | Mapping[str, Net | Network],
    names: Sequence[str] | None = None,
    scenarios: Sequence[Scenario] | Mapping[str, Scenario],
) -> ScenarioComparison: ...


def compare(
    *nets: Net | Network | Mapping[str, Net | Network],
    names: Sequence[str] | None = None,
    inference: Scenario = _INFERENCE,
    training: Scenario = _TRAINING,
    scenarios: Sequence[Scenario] | Mapping[str, Scenario] | None = None,
) -> Comparison | ScenarioComparison:
    """Compares networks: depth, parameters, multiply-accumulates, modules, skip connections, receptive field, memory.

    Args:
        *nets: At least one net or network, or one mapping of names to them.
        names: How to call them, in their order.
        inference: How they run; one sample in 32 bits unless told.
        training: How they are trained; a batch of 32 in 32 bits, with everything kept, unless told.
        scenarios: Scenarios to compare instead, as a list or by name: what each does to the memory of every network.

    Returns:
        The comparison, one column a network; its facts are computed from the graphs. With ``scenarios`` a
        :class:`ScenarioComparison`, one column for every network in every scenario.

    Raises:
        InvalidTypeError: If something else than nets and networks is given, or ``scenarios`` beside ``inference`` or ``training``.
        InvalidValueError: If there is none, or names do not fit.
        MissingRuleError: If a layer does not state its parameters, buffers, extras or multiply-accumulates.

    Example:
        >>> from cnnbudget import compare
        >>> from cnnbudget.zoo import lenet5, resnet18
        >>> table = compare({"LeNet-5": lenet5(), "ResNet-18": resnet18()})
        >>> [row for row in table.rows() if row["fact"] == "parameters"]
        [{'fact': 'parameters', 'LeNet-5': 61706, 'ResNet-18': 11689512}]
    """
    given: tuple[Any, ...] = tuple(map(_network_of, nets))
    if scenarios is not None:
        if inference is not _INFERENCE or training is not _TRAINING:
            raise InvalidTypeError(
                "compare() takes either scenarios= or inference= and training=",
                got=shorten((inference, training)),
                hint="put them among the scenarios",
            )
        return compare_scenarios(named_networks(given, names), scenarios)
    return compare_networks(*given, names=names, inference=inference, training=training)


def _network_of(net: Any) -> Any:
    if isinstance(net, Mapping):
        return {name: _network_of(each) for name, each in net.items()}
    return net.network if isinstance(net, Net) else net
