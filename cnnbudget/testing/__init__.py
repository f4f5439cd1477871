"""For packages that extend cnnbudget: conformance checks, and hypothesis strategies in ``cnnbudget.testing.strategies``.

The checks need nothing but cnnbudget; only the strategies need hypothesis (``pip install cnnbudget[testing]``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cnnbudget.testing.checks import check_layer as check_layer
    from cnnbudget.testing.policies import check_policy as check_policy

__all__ = ["check_layer", "check_policy"]

_HOMES = {"check_layer": "checks", "check_policy": "policies"}


def __getattr__(name: str) -> object:
    """Loads a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
