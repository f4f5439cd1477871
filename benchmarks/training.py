"""Speed of a training profile, alone and against PyTorch's ``MemTracker`` under ``FakeTensorMode`` in the same run.

Run: ``python benchmarks/training.py``; with ``torch`` installed it compares, otherwise it prints our figures alone. CPU time, best
of several, imports excluded; nothing here is asserted. Ours is everything from the network on: costs, schedule, lifetimes, and who
is alive at the peak. Theirs is one step of a module that exists already, with SGD's update, after a first step that warms up; a
dispatch mode adds up gradients out of place, and so does the scenario.
"""

from __future__ import annotations

import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

from cnnbudget import Autograd, Training, profile, zoo

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget import Network

BATCH = 32
NETWORKS = ("resnet152", "resnet50", "resnet18")
SCENARIO = Training(
    BATCH, retention=Autograd(sums_in_place=False), loss="cross_entropy", frames="eager", optimizer="sgd"
)


def best(run: Callable[[], object], times: int) -> float:
    """CPU milliseconds of the fastest of several runs."""
    spent = []
    for _ in range(times):
        start = time.process_time_ns()
        run()
        spent.append(time.process_time_ns() - start)
    return min(spent) / 1e6


def whole(network: Network) -> Any:
    """A profile and its witness."""
    found = profile(network, SCENARIO)
    return found.at_peak


def tracker_run(network: Network) -> Callable[[], int] | None:
    """A step under ``MemTracker``, which returns the peak that it has seen; ``None`` where PyTorch is not installed."""
    try:
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.distributed._tools.mem_tracker import MemTracker
    except ImportError:
        return None
    from cnnbudget.interop import to_torch

    mode = FakeTensorMode()
    with mode:
        module = to_torch(network).train()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        inputs = torch.zeros(BATCH, *network.inputs[0].shape)
        target = torch.zeros(BATCH, dtype=torch.int64)

    def step() -> int:
        with mode:
            tracker = MemTracker()
            tracker.track_external(module, optimizer, inputs, target)
            with tracker:
                out = module(inputs)
                loss = torch.nn.functional.cross_entropy(out, target)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            return int(tracker.get_tracker_snapshot("peak")[torch.device("cpu")]["Total"])

    step()
    return step


def main(names: tuple[str, ...] = NETWORKS, times: int = 20) -> None:
    """Prints the figures."""
    warnings.simplefilter("ignore")
    for name in names:
        network = getattr(zoo, name)().network
        ours = best(lambda network=network: whole(network), times)
        found = profile(network, SCENARIO)

        def thousand(network: Network = network) -> object:
            return profile(network, SCENARIO).peaks(range(1, 1001))

        one = best(lambda network=network: profile(network, SCENARIO).peak, times)
        print(f"{name:>10}: profile and witness {ours:7.2f} ms", end="")
        print(f", 1,000 batch sizes {best(thousand, times) - one:+6.2f} ms", end="")
        peer = tracker_run(network)
        if peer is not None:
            theirs = best(peer, 1 if times < 20 else 3)
            print(f", MemTracker {theirs:9.1f} ms: {theirs / ours:6.0f} times as long", end="")
            print(f"; peaks {int(found.peak):,} and {peer():,} bytes", end="")
        print()


if __name__ == "__main__":
    main(*([tuple(sys.argv[1:])] if sys.argv[1:] else []))
