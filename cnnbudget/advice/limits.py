"""The largest that fits: input size, width, depth, or anything else that an int decides.

The batch has a closed form (:func:`cnnbudget.max_batch`). Here peaks mostly grow, but need not: padding and rounding depend on
remainders, and some sizes make no network at all. So halving finds a candidate, and then every value around it is measured. A
result says which values were; it does not claim more.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.advice.architecture import with_input_sizes
from cnnbudget.advice.batches import largest_batch
from cnnbudget.advice.budget import as_budget
from cnnbudget.advice.measure import demand, itself
from cnnbudget.advice.scopes import repeats, with_repeats
from cnnbudget.advice.width import with_width
from cnnbudget.checks import LARGEST, exact_int
from cnnbudget.errors import CnnBudgetError, InvalidTypeError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Network, check_network
from cnnbudget.layers.activation import ReLU
from cnnbudget.memory.profile import profile
from cnnbudget.memory.scenario import Scenario
from cnnbudget.units import Bytes

if TYPE_CHECKING:
    from typing import SupportsIndex

    from cnnbudget.tensors import Shape

__all__ = ["Limit", "largest", "max_batch", "max_depth", "max_input_size", "max_width"]

MOST_AROUND = 64
"""How many values on each side of a result are measured, for networks of common size."""

_NODES_AROUND = 20_000
_LEAST_AROUND = 4
_GAP = 1024

_PROBE = Network.from_nodes({"input": (1,)}, [("relu", ReLU(), ["input"])], ["relu"])

Number = int | Fraction


@frozen
class Limit:
    """The largest value that fits a budget.

    Args:
        value: The value; 0 if none was found that fits.
        peak: What it needs; ``None`` if none fits.
        successor: The next value that makes a network; ``None`` if there is none within reach.
        successor_peak: What that needs: more than the budget.
        verified: The first and the last of the values that were all measured, one by one. None of them above ``value`` fits.
        monotone: Whether all measured values up to ``value`` fit: ``False`` where a smaller one needs more.
        network: The network; ``None`` if none fits.
    """

    value: Number
    peak: Bytes | None
    successor: Number | None
    successor_peak: Bytes | None
    verified: tuple[Number, Number]
    monotone: bool
    network: Network | None = field(repr=False)
    _wrap: Callable[[Network], Any] = field(default=itself, eq=False, repr=False, alias="wrap")

    @property
    def input_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the inputs of the network; ``()`` if none fits."""
        return () if self.network is None else tuple([source.shape for source in self.network.inputs])

    def apply(self) -> Any:
        """Returns the net (a ``Net`` when a ``Net`` was asked, otherwise a ``Network``).

        Raises:
            InvalidValueError: If none fits.
        """
        if self.network is None:
            raise InvalidValueError("nothing fits", got="a limit of 0", expected="a larger budget")
        return self._wrap(self.network)


class _Search:
    """Measures values, each once, and looks for the largest that fits."""

    def __init__(self, make: Callable[[int], Any], limit: int, scenario: Scenario, least: int, most: int) -> None:
        self._make, self._limit, self._scenario = make, limit, scenario
        self.least, self.most = least, most
        self.needs: dict[int, Bytes | None] = {}
        self.refusal: CnnBudgetError | None = None
        self._nodes = 1

    def network(self, value: int) -> Network:
        made = self._make(value)
        network = getattr(made, "network", made)  # a Net has one
        check_network(network, "the factory of a limit")
        return network  # type: ignore[no-any-return]  # checked

    def need(self, value: int) -> Bytes | None:
        """What a value needs; ``None`` if it makes no network."""
        if value not in self.needs:
            try:
                network = self.network(value)
                self._nodes = max(self._nodes, len(network))
                self.needs[value] = demand(profile(network, self._scenario))
            except InvalidTypeError:
                raise
            except CnnBudgetError as error:
                self.needs[value], self.refusal = None, error
        return self.needs[value]

    def fits(self, value: int) -> bool:
        need = self.need(value)
        return need is not None and need <= self._limit

    @property
    def around(self) -> int:
        return max(_LEAST_AROUND, min(MOST_AROUND, _NODES_AROUND // self._nodes))

    def near(self, value: int, below: int, above: int) -> int | None:
        """The nearest value that makes a network: first upwards, then downwards, strictly between two bounds."""
        up = range(value, min(above, value + _GAP))
        down = range(value - 1, max(below, value - _GAP), -1)
        return next((found for found in chain(up, down) if self.need(found) is not None), None)

    def halve(self, start: int) -> int:
        """A candidate for the largest value that fits; ``least - 1`` if there seems to be none."""
        low, high = self.least - 1, self.most + 1
        step = start
        while high - low > 1:
            # Double while everything fits, then halve.
            middle = step if low < step < high else (low + high) // 2
            found = self.near(middle, low, high)
            if found is None:
                low, step = middle, 2 * middle if high > self.most else 0  # far and wide no network: too small
            elif self.fits(found):
                low, step = found, 2 * found if high > self.most else 0
            else:
                high, step = found, found // 2 if low < self.least else 0
        return max([value for value in self.needs if self.fits(value)], default=self.least - 1)

    def verify(self, candidate: int) -> tuple[int, int, int]:
        """Measures everything around a candidate, and moves on to a larger value that fits while there is one."""
        last, refused = candidate, False
        # The next value that makes a network may lie far away: look further until one is refused by the budget.
        while last < self.most and last - candidate < (self.around if refused else _GAP):
            last += 1
            if self.fits(last):
                candidate, refused = last, False
            elif self.needs[last] is not None:
                refused = True
        first = max(self.least, candidate - self.around)
        for value in range(first, candidate):
            self.need(value)
        return candidate, first, last


def max_batch(network: Network, budget: SupportsIndex | str, scenario: Scenario) -> int:
    """The largest batch that fits a budget, in closed form; see :meth:`MemoryProfile.max_batch`.

    Where the schedule is planned for the batch (``order="optimal"``, :meth:`Checkpoint.optimal`, :class:`Offload` of large
    values), a search plans for every batch that it tries, and looks at those right behind the result.

    Args:
        network: The network.
        budget: Bytes of one device, or the name of one.
        scenario: How it runs.

    Returns:
        The batch on all devices together; 0 if not even one sample fits.

    Example:
        >>> from cnnbudget import Conv, Net, Training
        >>> max_batch(Net.input(3, 64, 64).then(Conv(4, 3)).network, "RTX 3070", Training())
        49895
    """
    check_network(network, "max_batch()")
    limit = as_budget(budget)
    if not isinstance(scenario, Scenario):
        profile(_PROBE, scenario)  # says what one is
    return largest_batch(network, limit, scenario)


def largest(
    make: Callable[[int], Any],
    budget: SupportsIndex | str,
    scenario: Scenario,
    *,
    start: int = 1,
    least: int = 1,
    most: int = LARGEST,
    wrap: Callable[[Network], Any] = itself,
) -> Limit:
    """The largest int for which a factory makes a network that fits a budget.

    Args:
        make: Makes a network, or a ``Net``, of an int. If it raises an error of the :class:`CnnBudgetError` family, there is no
            network for that int.
        budget: Bytes of one device, or the name of one.
        scenario: How the network runs.
        start: A value to start from, the nearer to the answer the better.
        least: The smallest value.
        most: The largest value.
        wrap: What to make of the network in :meth:`Limit.apply`.

    Returns:
        The limit. It fits, its successor does not, and it says which values around it were measured.

    Raises:
        InvalidTypeError: If the factory is none, or makes something else.
        InvalidValueError: If the budget cannot be read, or the bounds leave nothing.
        CnnBudgetError: The factory's own, if none of the values that were tried makes a network.

    Example:
        >>> from cnnbudget import Conv, Net, Training
        >>> found = largest(lambda maps: Net.input(3, 32, 32).then(Conv(maps, 3)), "1 MiB", Training(8))
        >>> found.value, found.peak, found.successor_peak
        (16, Bytes(1023488), Bytes(1081312))
    """
    if not callable(make):
        raise InvalidTypeError("largest() takes a factory", got=shorten(make), expected="int -> a network")
    limit = as_budget(budget)
    exact_int(least, "largest(): least")
    exact_int(most, "largest(): most", least)
    exact_int(start, "largest(): start", least, most)
    if not isinstance(scenario, Scenario):
        profile(_PROBE, scenario)  # says what one is
    return _limit_of(make, limit, scenario, (start, least, most), Fraction(1), wrap)


def _limit_of(
    make: Callable[[int], Any],
    limit: int,
    scenario: Scenario,
    bounds: tuple[int, int, int],
    unit: Fraction,
    wrap: Callable[[Network], Any],
) -> Limit:
    start, least, most = bounds
    search = _Search(make, limit, scenario, least, most)
    value, first, last = search.verify(search.halve(start))
    if search.refusal is not None and not any(need is not None for need in search.needs.values()):
        raise search.refusal  # not one network: a larger budget is no help
    fitting = value >= least
    successor = next((other for other in range(value + 1, last + 1) if search.need(other) is not None), None)
    smaller = [need for other, need in search.needs.items() if other < value and need is not None]

    def in_units(number: int) -> Number:
        return number if unit == 1 else number * unit

    return Limit(
        in_units(value) if fitting else 0,
        search.need(value) if fitting else None,
        None if successor is None else in_units(successor),
        None if successor is None else search.need(successor),
        (in_units(first), in_units(last)),
        all(need <= limit for need in smaller),
        search.network(value) if fitting else None,
        wrap,
    )


def max_input_size(
    network: Network,
    budget: SupportsIndex | str,
    scenario: Scenario,
    *,
    axis: int | None = None,
    wrap: Callable[[Network], Any] = itself,
) -> Limit:
    """The largest input that fits a budget.

    Args:
        network: The network.
        budget: Bytes of one device, or the name of one.
        scenario: How it runs.
        axis: The spatial axis that changes, 0 for the first; ``None`` scales all in proportion, rounded down.
        wrap: What to make of the network in :meth:`Limit.apply`.

    Returns:
        The limit, as the size of the axis, or of the first axis where all are scaled; :attr:`Limit.input_shapes` says them all.
        Of several inputs all are scaled like the first.

    Raises:
        InvalidValueError: If the first input has no such axis.

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> network = Net.input(3, 32, 64).then(Conv(16, 3, padding="same")).network
        >>> found = max_input_size(network, "1 MB", Inference())
        >>> found.value, found.input_shapes, found.verified
        (81, ((3, 81, 162),), (17, 145))
    """
    check_network(network, "max_input_size()")
    limit, spatial = as_budget(budget), network.inputs[0].shape[1:]
    if not spatial:
        raise InvalidValueError(
            "this input has no spatial axes", got=str(network.inputs[0].shape), expected="(channels, *spatial)"
        )
    if axis is not None:
        exact_int(axis, "max_input_size(): axis", 0, len(spatial) - 1)
    now = spatial[axis or 0]

    def make(size: int) -> Network:
        sizes = {
            source.name: tuple(
                [
                    old * size // now or 1 if axis in {None, number} else old
                    for number, old in enumerate(source.shape[1:])
                ]
            )
            for source in network.inputs
        }
        return with_input_sizes(network, sizes)

    profile(network, scenario)  # whatever is wrong with the network itself is said before the search
    scaled = [old for source in network.inputs for number, old in enumerate(source.shape[1:]) if axis in {None, number}]
    return _limit_of(make, limit, scenario, (now, 1, LARGEST * now // max(scaled)), Fraction(1), wrap)


def max_width(
    network: Network,
    budget: SupportsIndex | str,
    scenario: Scenario,
    *,
    step: int = 32,
    wrap: Callable[[Network], Any] = itself,
) -> Limit:
    """The largest width multiplier that fits a budget; see :func:`cnnbudget.with_width`.

    Args:
        network: The network.
        budget: Bytes of one device, or the name of one.
        scenario: How it runs.
        step: Multipliers are multiples of ``1 / step``.
        wrap: What to make of the network in :meth:`Limit.apply`.

    Returns:
        The limit, with fractions as values.

    Raises:
        InvalidValueError: If no layer can change its width.
        ShapeError: If the network cannot be scaled.

    Example:
        >>> from cnnbudget import Conv, Net, Training
        >>> network = Net.input(3, 32, 32).then(Conv(32, 3), Conv(32, 3)).network
        >>> max_width(network, "10 MiB", Training(32)).value
        Fraction(15, 32)
    """
    check_network(network, "max_width()")
    limit = as_budget(budget)
    exact_int(step, "max_width(): step", 1, 1024)
    profile(with_width(network, 2), scenario)  # as above, and whether it can be scaled at all
    return _limit_of(
        lambda width: with_width(network, Fraction(width, step)),
        limit,
        scenario,
        (step, 1, 1024 * step),
        Fraction(1, step),
        wrap,
    )


def max_depth(
    network: Network,
    budget: SupportsIndex | str,
    scenario: Scenario,
    scope: str,
    *,
    most: int = 10_000,
    wrap: Callable[[Network], Any] = itself,
) -> Limit:
    """The most repeats of a block that fit a budget.

    Args:
        network: The network.
        budget: Bytes of one device, or the name of one.
        scenario: How it runs.
        scope: The common name of the repeats: ``"stage"`` for ``stage.0``, ``stage.1``, ... Copies of the last are appended,
            or the last ones are left out.
        most: The most repeats that are tried.
        wrap: What to make of the network in :meth:`Limit.apply`.

    Returns:
        The limit, as a number of repeats.

    Raises:
        UnknownNameError: If no block is repeated under that name.
        InvalidValueError: If the last repeat is no block.
        ShapeError: If it cannot be repeated, since its output has another shape than its input.

    Example:
        >>> from cnnbudget import Block, Conv, Net, Training
        >>> net = Net.input(8, 32, 32).repeat(Block(Conv(8, 3, padding=1)), 2, name="stage")
        >>> max_depth(net.network, "10 MiB", Training(32), "stage").value
        6
    """
    check_network(network, "max_depth()")
    limit = as_budget(budget)
    now = repeats(network, scope)
    exact_int(most, "max_depth(): most", now)
    profile(with_repeats(network, scope, now + 1), scenario)  # whether it can be repeated at all
    return _limit_of(
        lambda times: with_repeats(network, scope, times), limit, scenario, (now, 1, most), Fraction(1), wrap
    )
