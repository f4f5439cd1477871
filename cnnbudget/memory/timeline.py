"""Live bytes over the steps of a schedule, as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from cnnbudget.dtypes import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from cnnbudget.memory.liveness import Liveness

__all__ = ["Timeline", "timeline"]


@frozen(eq=False)
class Timeline:
    """Live bytes over the steps of a schedule, as numpy arrays (int64; Python ints where those would overflow).

    Args:
        step: Number of each step.
        label: What each step does, for example ``"forward of conv2"``.
        live: Bytes alive at each step.
        by_role: The same for each role that occurs; the roles add up to ``live``.
    """

    step: np.ndarray[Any, Any]
    label: tuple[str, ...]
    live: np.ndarray[Any, Any]
    by_role: Mapping[Role, np.ndarray[Any, Any]]

    def rows(self) -> list[dict[str, Any]]:
        """The timeline as data, as ``pandas.DataFrame`` takes it.

        Returns:
            One dict a step, with ``step``, ``label``, ``live``, and bytes by role under the role's name.
        """
        columns = {role.value: sizes.tolist() for role, sizes in self.by_role.items()}
        rows = zip(self.step.tolist(), self.label, self.live.tolist(), strict=True)
        return [
            {"step": step, "label": label, "live": live, **{role: sizes[step] for role, sizes in columns.items()}}
            for step, label, live in rows
        ]


def timeline(lifetimes: Liveness, batch: int) -> Timeline:
    """Makes the arrays of live bytes.

    Args:
        lifetimes: When each storage is alive.
        batch: Samples in a batch.

    Returns:
        The timeline.
    """
    import numpy as np  # only who asks for arrays pays for numpy

    def array(values: Any) -> np.ndarray[Any, Any]:
        return np.array(values, dtype=np.int64 if max(values) < 2**63 else object)

    schedule = lifetimes.schedule
    occurring = {storage.role for storage in schedule.storages}
    by_role = {role: array(lifetimes.live_bytes_of(frozenset({role}), batch)) for role in Role if role in occurring}
    labels = tuple(map(str, schedule.steps))
    return Timeline(np.arange(len(schedule.steps)), labels, array(lifetimes.live_bytes(batch)), by_role)
