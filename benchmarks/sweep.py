"""Speed of sweeps: a million points of ResNet-50, the same profiles on a pool of processes, ways out, and explanations.

Run: ``python benchmarks/sweep.py``. Seconds of the fastest of several runs, CPU time of this process and time on the clock; nothing
here is asserted. The batch is in closed form, so what costs is the profiles: one for every size, precision and network.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from cnnbudget import Autograd, Inference, Training, diff, sweep, zoo

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = range(64, 64 + 16 * 40, 16)
PRECISIONS = ["FP32", "FP16", "BF16", "AMP_FP16", "AMP_BF16"]


def best(run: Callable[[], object], times: int = 3) -> str:
    """Time of the fastest of several runs."""
    spent = []
    for _ in range(times):
        start, cpu = time.perf_counter(), time.process_time()
        run()
        spent.append((time.process_time() - cpu, time.perf_counter() - start))
    return f"{min(spent)[0]:6.2f} s CPU, {min(clock for _, clock in spent):6.2f} s on the clock"


def main() -> None:
    net = zoo.resnet50()
    for scenario in (Inference(), Training(), Training(retention=Autograd(), optimizer="adam")):
        found = net.sweep(scenario, batch=range(1, 5001), input_size=SIZES, precision=PRECISIONS)
        shape = f"{len(found):,} points, {len(found) // 5000} profiles"
        took = best(
            lambda scenario=scenario: net.sweep(scenario, batch=range(1, 5001), input_size=SIZES, precision=PRECISIONS)
        )
        print(f"{took}  {shape}: {scenario!r}")
    print(f"{best(lambda: found.pareto('peak', maximise=['batch', 'macs']))}  its front of three columns")
    print(f"{best(lambda: found.pareto('peak', 'macs'))}  its front of two columns")
    print(f"{best(found.to_csv, 1)}  its CSV")
    wide = {"width": [0.25, 0.5, 0.75, 1.0, 1.25, 1.5], "input_size": range(96, 289, 8), "precision": ["FP32", "FP16"]}
    training = Training(retention=Autograd(), optimizer="adam")
    print(f"{best(lambda: sweep(zoo.mobilenet_v2, training, **wide))}  300 profiles of MobileNetV2, here")
    for workers in sorted({1, 2, os.cpu_count() or 1}):
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(abs, range(workers)))  # started, and not in the figure
            took = best(lambda pool=pool: sweep(zoo.mobilenet_v2, training, executor=pool, **wide))
        print(f"{took}  the same, {workers} processes")
    first, last = zoo.resnet152(), zoo.densenet201()
    print(f"{best(lambda: diff(first, last))}  what differs between ResNet-152 and DenseNet-201")
    print(f"{best(lambda: net.explain(net.network.nodes[20].name))}  a node of ResNet-50, explained")
    print(f"{best(lambda: str(net.profile(Training(32)).explain()))}  its peak, explained and printed")
    print(f"{best(net.conventions)}  what other tools would print for it")


if __name__ == "__main__":
    main()
