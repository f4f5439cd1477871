"""Execution orders and arenas: how good, how fast, and proved or not.

Run: ``python benchmarks/planning.py``, some minutes; with numba installed the arenas are packed plain and compiled. Wall-clock
seconds of one run each; compiling is done before and not counted. Nothing here is asserted but that plans are what they claim.

The problems are made from the schedules of the library's own policies. An order may run a step as soon as what it reads is there;
the update is taken apart into one a gradient.
"""

from __future__ import annotations

import csv
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbudget import Autograd, FreeAfterUse, Inference, Training, zoo
from cnnbudget.memory.liveness import liveness
from cnnbudget.memory.order import order_problem
from cnnbudget.planning.arena import pack, pack_greedily
from cnnbudget.planning.dag import first_order, peak_of
from cnnbudget.planning.order import least_peak_order
from cnnbudget.planning.referee import complaints_about_order, complaints_about_packing

if TYPE_CHECKING:
    from cnnbudget import Net
    from cnnbudget.memory.schedule import Schedule
    from cnnbudget.planning.arena import Lifetime, Packing
    from cnnbudget.planning.dag import Dag

ROOT = Path(__file__).parents[1]
TRAINED = ("resnet18", "resnet50", "resnet152", "mobilenet_v2", "mobilenet_v3_large", "googlenet", "densenet121")


def arena_problem(schedule: Schedule, batch: int = 1) -> list[Lifetime]:
    """What is not always there, with its life."""
    found = liveness(schedule)
    rows = zip(found.births, found.deaths, schedule.storages, strict=True)
    return [(birth, death, storage.byte_count(batch)) for birth, death, storage in rows if not storage.persistent]


def inference(net: Net) -> Schedule:
    return FreeAfterUse().schedule(net.costs(), Inference())


def training(net: Net) -> Schedule:
    scenario = Training(retention=Autograd(), loss="cross_entropy", order="optimal")
    return scenario.retention.schedule(net.costs(), scenario)


def verdict(*, optimal: bool, gap: float) -> str:
    return "optimal" if optimal else f"gap {gap:.2%}"


def show_order(name: str, dag: Dag) -> None:
    start = time.perf_counter()
    plan = least_peak_order(dag)
    spent = time.perf_counter() - start
    assert complaints_about_order(dag, plan.order, plan.value) == []
    gain = 1 - plan.value / peak_of(dag, first_order(dag))
    cut = plan.certificate.value / plan.value
    print(
        f"{name:>24} {len(dag.touches):>5} steps {spent:7.2f} s  gain {gain:6.2%}  "
        f"{verdict(optimal=plan.optimal, gap=plan.gap):<11} by {plan.method}; min-cut bound {cut:.3f}"
    )


def show_arena(
    name: str, lifetimes: list[Lifetime], alignment: int, capacity: int | None = None, *, wordy: bool = True
) -> bool:
    greedy = pack_greedily(lifetimes, alignment)
    plans: list[Packing] = []
    spent = []
    for fast in (False, True) if find_spec("numba") else (False,):
        start = time.perf_counter()
        plans.append(pack(lifetimes, alignment, capacity, fast=fast))
        spent.append(f"{time.perf_counter() - start:6.2f} s {'compiled' if fast else 'plain'}")
    assert len({plan.offsets for plan in plans}) == 1
    plan = plans[0]
    assert complaints_about_packing(lifetimes, plan.offsets, alignment, plan.height) == []
    if wordy or plan.height < greedy.height or not plan.optimal:
        claim = f"fits {plan.fits}" if capacity is not None else verdict(optimal=plan.optimal, gap=plan.gap)
        print(
            f"{name:>24} {len(lifetimes):>5} storages {', '.join(spent)}  greedy by size +{greedy.height / plan.height - 1:.2%}  "
            f"{claim} by {plan.method}"
        )
    return plan.optimal


def main() -> None:
    """Prints the figures."""
    if find_spec("numba"):
        pack([(0, 1, 1)], fast=True)
        pack([(4, 5, 4), (3, 8, 1), (1, 5, 4), (6, 8, 6), (6, 7, 1), (4, 8, 3), (0, 4, 6)], fast=True)
    sys.path.insert(0, str(ROOT / "tests" / "unit" / "planning"))
    from networks import darts, randomly_wired

    print("Orders: inference of the zoo, where there is something to gain")
    spent, same = 0.0, 0
    for name in zoo.names():
        dag = order_problem(inference(getattr(zoo, name)()), 1)
        start = time.perf_counter()
        plan = least_peak_order(dag)
        slowest = time.perf_counter() - start
        spent = max(spent, slowest)
        if plan.value < peak_of(dag, first_order(dag)) or not plan.optimal:
            show_order(name, dag)
        else:
            same += 1
    print(f"{same} of {len(zoo.names())} have nothing to gain, which is proved; the slowest took {spent:.2f} s")

    print("Orders: searched and random networks")
    show_order("DARTS, 20 cells", darts())
    show_order("the same, concat in place", darts(in_place=True))
    for seed in range(6):
        show_order(f"randomly wired {seed}", randomly_wired(seed))

    print("Orders: training, against all updates at the end")
    for name in TRAINED:
        show_order(name, order_problem(training(getattr(zoo, name)()), 1))

    print("Arenas: inference of the zoo, alignment 64, where greed by size is not enough")
    proved = [show_arena(name, arena_problem(inference(getattr(zoo, name)())), 64, wordy=False) for name in zoo.names()]
    print(f"{sum(proved)} of {len(proved)} are proved optimal")

    for path in sorted((ROOT.parent / "shared" / "oracles" / "minimalloc").glob("*.csv")):
        with path.open(newline="") as file:
            rows = [(int(row["lower"]), int(row["upper"]), int(row["size"])) for row in csv.DictReader(file)]
        show_arena(f"MiniMalloc {path.name[0]}", rows, 1, 1_048_576)


if __name__ == "__main__":
    main()
