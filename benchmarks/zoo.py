"""Speed of building and costing published networks, alone and against ``torchinfo`` on the meta device in the same run.

Run: ``python benchmarks/zoo.py``; with ``torch`` and ``torchinfo`` installed it compares, otherwise it prints our figures alone.
CPU time, best of several, imports excluded; nothing here is asserted. The comparison is one-sided by design: ``torchinfo`` runs
a forward pass of a module that exists already, we build the network from nothing each time.
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbudget import zoo

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORKS = ("resnet152", "densenet201", "resnet50", "mobilenet_v2", "vgg16")


def best(run: Callable[[], object], times: int) -> float:
    """CPU milliseconds of the fastest of several runs."""
    spent = []
    for _ in range(times):
        start = time.process_time_ns()
        run()
        spent.append(time.process_time_ns() - start)
    return min(spent) / 1e6


def torchinfo_run(name: str) -> Callable[[], object] | None:
    """A run of ``torchinfo`` on the same network as a module on the meta device; ``None`` where it is not installed."""
    try:
        import torchinfo
    except ImportError:
        return None
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "live"))
    from interpreter import module_of

    network = getattr(zoo, name)().network
    module = module_of(network, batch=1).eval()
    shape = (1, *network.inputs[0].shape)
    return lambda: torchinfo.summary(module, input_size=shape, device="meta", verbose=0)


def main() -> None:
    """Prints the figures."""
    warnings.simplefilter("ignore")
    for name in NETWORKS:
        make = getattr(zoo, name)
        ours = best(lambda make=make: make().costs().parameter_count, 30)
        line = f"{name:>12}: build {best(make, 30):6.2f} ms, build and cost {ours:6.2f} ms"
        theirs = torchinfo_run(name)
        if theirs is not None:
            peer = best(theirs, 5)
            line += f", torchinfo on meta {peer:8.1f} ms: {peer / ours:.0f} times as long"
        print(line)


if __name__ == "__main__":
    main()
