"""What may change and what must stay: the ``allow=`` and ``keep=`` of :func:`cnnbudget.fit`."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from attrs import frozen

from cnnbudget.advice.remedies import Remedy
from cnnbudget.errors import InvalidTypeError, InvalidValueError, UnknownNameError, did_you_mean, shorten

if TYPE_CHECKING:
    from cnnbudget.advice.price import Price
    from cnnbudget.graph.nodes import Network
    from cnnbudget.memory.scenario import Scenario

__all__ = ["Wishes", "read_wishes"]

CATEGORIES = ("run-time", "architecture")
NEUTRAL = "accuracy-neutral"
KEEPABLE = ("batch", "input", "output", "precision", "devices", "optimizer", "accumulate", "retention", "frozen")


@frozen
class Wishes:
    """What may change and what must stay.

    Args:
        categories: Words of ``allow=``, without the restriction to what is neutral.
        kinds: Classes of ``allow=``.
        neutral: Whether results and training must stay as they are.
        words: Words of ``keep=``.
        nodes: Nodes whose layers stay.
    """

    categories: frozenset[str]
    kinds: tuple[type[Remedy], ...]
    neutral: bool
    words: frozenset[str]
    nodes: frozenset[str]

    def allows(self, kind: type[Remedy]) -> bool:
        """Whether remedies of a class may be tried at all.

        Args:
            kind: The class.
        """
        if kind.changes & self.words or (self.neutral and kind.severity >= 2):
            return False
        if not self.categories and not self.kinds:
            return True
        return kind.category in self.categories or issubclass(kind, self.kinds)

    def objection(self, before: tuple[Network, Scenario], after: tuple[Network, Scenario], price: Price) -> str | None:
        """What must stay and did not; ``None`` if all is well. Measured, so that it holds for remedies from outside.

        Args:
            before: The network and the scenario before.
            after: Those after.
            price: What it costs.
        """
        if self.neutral and (price.changes_results or price.changes_training):
            return "it is not neutral"
        (network, scenario), (changed, changed_scenario) = before, after
        for word in KEEPABLE:
            if word not in self.words:
                continue
            if word == "input":
                same = [source.shape for source in network.inputs] == [source.shape for source in changed.inputs]
            elif word == "output":
                same = not price.output
            else:
                same = getattr(scenario, word, None) == getattr(changed_scenario, word, None)
            if not same:
                return f"it changes the {word}"
        if self.nodes and network is not changed:
            layers = {node.name: node.layer for node in changed.nodes}
            for name in sorted(self.nodes):
                if layers.get(name) != network[name].layer:
                    return f"it changes {name}"
        return None


def _items(value: Any, what: str, example: str) -> list[Any]:
    if isinstance(value, (str, type)):
        return [value]
    if not isinstance(value, Iterable):
        raise InvalidTypeError(f"fit(): {what} must be a set", got=shorten(value), expected=example)
    return list(value)


def read_wishes(network: Network, allow: Any, keep: Any, kinds: Iterable[type[Remedy]]) -> Wishes:
    """Reads what the user may have said, and refuses what cannot be.

    Args:
        network: The network.
        allow: ``None`` for everything, or words and classes of remedies.
        keep: Words, and names of nodes or patterns of them.
        kinds: All built-in classes of remedies.

    Returns:
        The wishes.

    Raises:
        InvalidValueError: If nothing is allowed, a word is unknown, or two wishes exclude each other.
        UnknownNameError: If neither a word nor a node fits what must stay.
        InvalidTypeError: If something else is given.
    """
    known = list(kinds)
    categories, classes, neutral = _read_allow(allow)
    words, nodes = _read_keep(network, keep)
    wishes = Wishes(frozenset(categories), tuple(classes), neutral, frozenset(words), frozenset(nodes))
    for kind in classes:
        lost = sorted(kind.changes & wishes.words)
        if lost:
            raise InvalidValueError(
                "fit(): allow= and keep= exclude each other",
                got=f"{kind.__name__} changes the {lost[0]}, which is to stay",
            )
        if neutral and kind.severity >= 2:
            raise InvalidValueError(
                "fit(): allow= contradicts itself", got=f"{kind.__name__} is not {NEUTRAL}", expected="one of them"
            )
    if not classes and not any(map(wishes.allows, known)):
        raise InvalidValueError(
            "fit(): no remedy is left",
            got=f"allow={shorten(allow)}, keep={shorten(keep)}",
            expected="something that may change",
        )
    return wishes


def _read_allow(allow: Any) -> tuple[set[str], list[type[Remedy]], bool]:
    categories: set[str] = set()
    classes: list[type[Remedy]] = []
    if allow is None:
        return categories, classes, False
    items = _items(allow, "allow=", "for example {'run-time'} or {SmallerBatch, LargerStride}")
    if not items:
        raise InvalidValueError("fit(): allow= allows nothing", got=shorten(allow), expected="None allows everything")
    for item in items:
        if isinstance(item, type) and issubclass(item, Remedy):
            classes.append(item)
        elif item in CATEGORIES:
            categories.add(item)
        elif item != NEUTRAL:
            known = (*CATEGORIES, NEUTRAL)
            if not isinstance(item, str):
                raise InvalidTypeError(
                    "fit(): allow= holds something else",
                    got=shorten(item),
                    expected=f"{', '.join(map(repr, known))} or classes of remedies",
                )
            raise InvalidValueError(
                "fit(): allow= has an unknown word", got=shorten(item), hint=did_you_mean(item, known)
            )
    return categories, classes, NEUTRAL in items


def _read_keep(network: Network, keep: Any) -> tuple[set[str], set[str]]:
    names = [node.name for node in network.nodes]
    words: set[str] = set()
    nodes: set[str] = set()
    for item in _items(keep, "keep=", "for example {'batch', 'conv2'}"):
        if not isinstance(item, str):
            raise InvalidTypeError(
                "fit(): keep= holds something else",
                got=shorten(item),
                expected=f"{', '.join(map(repr, KEEPABLE))} or names of nodes",
            )
        fitting = [name for name in names if fnmatchcase(name, item)]
        if item in KEEPABLE:
            words.add(item)
        elif fitting:
            nodes.update(fitting)
        else:
            raise UnknownNameError(
                "fit(): keep= names neither a node nor a word",
                got=shorten(item),
                hint=did_you_mean(item, [*KEEPABLE, *names]),
            )
    return words, nodes
