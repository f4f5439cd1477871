"""Speed of building and costing published networks, alone and against ``torchinfo`` on the meta device in the same run.

Run: ``python benchmarks/zoo.py``; with ``torch`` and ``torchinfo`` installed it compares, otherwise it prints our figures alone.
CPU time of one thread, best of several, imports excluded, the two taken in turns; nothing here is asserted but that both count
the same parameters.

What is compared: both build the network from nothing; then we cost every node and add up the parameters, and ``torchinfo``
summarises the module on the meta device and prints nothing. The figure in brackets is ours, with building, against the
summary alone of a module that exists already. One cache of ours lives from run to run: the sizes of windows.
"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING

from cnnbudget import zoo

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORKS = ("resnet152", "densenet201", "mobilenet_v2", "vgg16")


def spent(run: Callable[[], object], times: int) -> float:
    """CPU milliseconds of the fastest of several runs."""
    found = []
    for _ in range(times):
        start = time.process_time_ns()
        run()
        found.append(time.process_time_ns() - start)
    return min(found) / 1e6


def torchinfo_run(name: str) -> tuple[Callable[[], object], Callable[[], object]] | None:
    """Building a module on the meta device, and summarising it; ``None`` where torch or torchinfo is missing."""
    try:
        import torch
        import torchinfo
        from peers import torch_networks
    except ImportError:
        return None
    torch.set_num_threads(1)

    def make() -> torch.nn.Module:
        with torch.device("meta"):
            return getattr(torch_networks, name)().eval()

    module = make()

    def summarise() -> torchinfo.ModelStatistics:
        return torchinfo.summary(module, input_size=(1, 3, 224, 224), device="meta", verbose=0)

    if summarise().total_params != getattr(zoo, name)().parameter_count:
        raise SystemExit(f"{name}: the two networks are not the same")
    return make, summarise


def main() -> None:
    """Prints the figures."""
    warnings.simplefilter("ignore")
    for name in NETWORKS:
        make = getattr(zoo, name)
        theirs = torchinfo_run(name)
        rounds = []
        for _ in range(6):
            built, costed = spent(make, 10), spent(lambda make=make: make().costs().parameter_count, 10)
            rounds.append((built, costed, *([spent(run, 1) for run in theirs] if theirs else [])))
        built, costed, *peer = map(min, zip(*rounds, strict=True))
        line = f"{name:>12}: build {built:5.2f} ms, build and cost {costed:5.2f} ms"
        if peer:
            make_peer, sum_up = peer
            line += (
                f"; module {make_peer:5.1f} ms, torchinfo {sum_up:6.1f} ms: {(make_peer + sum_up) / costed:.0f} times"
            )
            line += f" as long ({sum_up / costed:.0f} without building the module)"
        print(line)


if __name__ == "__main__":
    main()
