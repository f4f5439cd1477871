"""Offload: what waits for backward goes to the host's memory, and comes back before the backward step that needs it.

A value leaves when its last reader in the forward pass is done, once, and comes back once, however many nodes keep it. Source: Rhu
et al., "vDNN: virtualized deep neural networks for scalable, memory-efficient neural network design" (2016).
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from cnnbudget.checks import is_bool
from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten
from cnnbudget.memory.backward import BackwardPass
from cnnbudget.memory.forward import ForwardPass
from cnnbudget.memory.retention import Autograd, as_training
from cnnbudget.memory.schedule import Phase
from cnnbudget.units import Bytes, parse_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from attrs import Attribute

    from cnnbudget.analysis.costs import CostTable, NodeCost
    from cnnbudget.memory.scenario import Scenario, Training
    from cnnbudget.memory.schedule import Schedule

__all__ = ["Offload"]


def _names(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _is_patterns(instance: Any, attribute: Attribute[Any], value: tuple[Any, ...]) -> None:
    if not value or not all(isinstance(name, str) and name for name in value):
        raise InvalidTypeError(
            f"{type(instance).__name__}.{attribute.name} says whose values leave",
            got=shorten(value),
            expected="a pattern of names such as 'layer1*', or several",
        )


@frozen(repr=False)
class Offload(Autograd):
    """Training that keeps what autograd keeps, and sends the large part of it to the host until backward needs it.

    *Counts*: what comes back, from the step before it is needed until its last reader. *Does not count*: buffers of the
    transfer, and the time that it takes. :attr:`~cnnbudget.MemoryProfile.moved_bytes` says how much goes over the bus.

    Args:
        names: Patterns of the nodes for whose backward steps values leave; a value that several nodes keep leaves once, and all
            of them read what comes back. Without a batch's worth of elements it stays: statistics, copies of weights.
        least: Values of fewer bytes stay, in the scenario's batch; other batches of the same profile send the same values.
        prefetch: Whether a value comes back one backward step early, so that the transfer has something to hide behind.
        sums_in_place: As in :class:`~cnnbudget.Autograd`.

    Example:
        >>> from cnnbudget import Autograd, Training, zoo
        >>> net = zoo.vgg16()
        >>> for policy in (Autograd(), Offload(least="100 MiB"), Offload()):
        ...     found = net.profile(Training(32, retention=policy))
        ...     print(found.peak, found.moved_bytes)
        3.20 GiB 0 B
        2.58 GiB 2.68 GiB
        2.56 GiB 4.37 GiB
    """

    names: tuple[str, ...] = field(default=("*",), converter=_names, validator=_is_patterns)
    least: Bytes = field(default=Bytes(1), kw_only=True, converter=parse_bytes)
    prefetch: bool = field(default=True, kw_only=True, validator=is_bool)

    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        """Makes the schedule of one iteration, with a LOAD step wherever something comes back.

        Raises:
            InvalidValueError: If the scenario searches for an order: a transfer's place in it is no free choice.
            UnknownNameError: If a pattern fits no node; the error guesses which was meant.
        """
        if scenario.order != "given":
            raise InvalidValueError(
                "Offload does not go with order='optimal'", got=repr(scenario.order), expected="order='given'"
            )
        names = [cost.name for cost in table.nodes]
        for pattern in self.names:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UnknownNameError(
                    "Offload.names fits no node", got=shorten(pattern), hint=did_you_mean(pattern, names)
                )
        forward = ForwardPass(table, scenario)
        _OffloadedPass(forward, self, as_training(scenario)).write()
        return forward.builder.build()


class _OffloadedPass(BackwardPass):
    """A backward pass before whose steps what is away comes back."""

    def __init__(self, forward: ForwardPass, policy: Offload, scenario: Training) -> None:
        self._names, self._least, self._prefetch = policy.names, policy.least, policy.prefetch
        self._batch = scenario.device_batch
        self._back: dict[int, int | None] = {}  # what is away; and what has come back in its place
        super().__init__(forward, policy, scenario)
        waiting = [cost for cost in reversed(forward.table.nodes) if self.kept(cost)]
        self._next = dict(zip([cost.name for cost in waiting], waiting[1:], strict=False))

    def retain(self) -> None:
        """Notes what leaves, and what is kept on the device."""
        kept = {cost.name: super(_OffloadedPass, self).kept(cost) for cost in self.forward.table.nodes}
        for name, numbers in kept.items():
            if any(fnmatchcase(name, pattern) for pattern in self._names):
                self._back.update({number: None for number in numbers if self._leaves(number)})
        self.builder.retain([number for numbers in kept.values() for number in numbers if number not in self._back])

    def _leaves(self, number: int) -> bool:
        storage = self.builder.storages[number]
        return bool(storage.per_sample) and storage.byte_count(self._batch) >= self._least

    def kept(self, cost: NodeCost) -> tuple[int, ...]:
        """The storages that wait for a node's backward step: of what was away, what came back."""
        found = []
        for number in super().kept(cost):
            back = self._back.get(number)
            found.append(number if back is None else back)
        return tuple(found)

    def before(self, cost: NodeCost) -> None:
        """Brings back what the step needs, and what the next one will."""
        self._bring(cost)
        if self._prefetch and cost.name in self._next:
            self._bring(self._next[cost.name])

    def _bring(self, cost: NodeCost) -> None:
        away = [number for number in dict.fromkeys(super().kept(cost)) if self._back.get(number, number) is None]
        for number in away:
            storage = self.builder.storages[number]
            self._back[number] = self.builder.add_again(evolve(storage, name=f"{storage.name} again"))
        if away:
            self.builder.step(Phase.LOAD, cost.name, (), [self._back[number] for number in away])  # type: ignore[misc]
