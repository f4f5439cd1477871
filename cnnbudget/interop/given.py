"""What writers are given: a network, or a net that has one."""

from __future__ import annotations

from typing import Any, Protocol

from cnnbudget.graph.nodes import Network, check_network

__all__ = ["HasNetwork", "network_of"]


class HasNetwork(Protocol):
    """A net, or whatever else has a network."""

    @property
    def network(self) -> Network:
        """The network."""


def network_of(given: Any, what: str) -> Network:
    """Takes a network, or that of a net.

    Args:
        given: What the user gave.
        what: Which function, for the error.

    Returns:
        The network.

    Raises:
        InvalidTypeError: If it is neither.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3))
        >>> network_of(net, "to_json()") is network_of(net.network, "to_json()") is net.network
        True
    """
    network = given if isinstance(given, Network) else getattr(given, "network", given)
    check_network(network, what)
    assert isinstance(network, Network)  # noqa: S101  # for the type checker
    return network
