"""Speed of the textbook's exercise, of importing, and of very deep networks, as ratios within one run where it can be.

Run: ``python benchmarks/textbook.py``. CPU time, best of several; nothing here is asserted.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from cnnbudget import Conv, Inference, KeepAll, Net, Training, costs, profile
from cnnbudget.zoo import textbook_exercise

if TYPE_CHECKING:
    from collections.abc import Callable

IMPORT = "import time, sys; start = time.process_time(); import {}; print(time.process_time() - start)"


def best(run: Callable[[], object], times: int) -> float:
    """CPU seconds of the fastest of several runs."""
    spent = []
    for _ in range(times):
        start = time.process_time_ns()
        run()
        spent.append(time.process_time_ns() - start)
    return min(spent) / 1e9


def import_seconds(module: str, times: int = 15) -> float:
    """CPU seconds of importing a module in a fresh process, the fastest of several, alternating with nothing else."""
    return min(
        float(subprocess.run([sys.executable, "-c", IMPORT.format(module)], capture_output=True, check=True).stdout)
        for _ in range(times)
    )


def exercise() -> None:
    """Builds, costs and profiles the exercise both ways."""
    net = textbook_exercise()
    assert net.costs().parameter_count == 903_400
    assert net.profile(Inference()).peak == 12_613_600
    assert net.profile(Training(50, retention=KeepAll(gradients=False))).peak == 565_613_600


def deep(count: int) -> tuple[float, float, float]:
    """CPU seconds of the cost table and of the inference and training profiles of so many convolutions, no two alike in a row."""
    network = Net.input(3, 16, 16).then(*[Conv(1 + number % 7, 3, padding=1) for number in range(count)]).network
    start = time.process_time()
    table = costs(network)
    assert table.parameter_count > 0
    counted = time.process_time()
    assert profile(table, Inference()).peak > 0
    inferred = time.process_time()
    assert profile(table, Training(8)).peak > 0
    return counted - start, inferred - counted, time.process_time() - inferred


def main() -> None:
    """Prints the figures."""
    ours, numpys = import_seconds("cnnbudget"), import_seconds("numpy")
    print(f"import cnnbudget {ours * 1e3:.1f} ms, import numpy {numpys * 1e3:.1f} ms: ratio {ours / numpys:.2f}")
    net = import_seconds("cnnbudget.net")
    print(f"with everything that Net needs {net * 1e3:.1f} ms: ratio {net / numpys:.2f}")
    exercise()
    print(f"the exercise, built, costed, profiled both ways: {best(exercise, 300) * 1e3:.3f} ms")
    for count in (1_000, 10_000, 100_000):
        table, inference, training = deep(count)
        print(
            f"{count:>7,} convolutions: cost table {table:.2f} s, inference profile {inference:.2f} s "
            f"({(table + inference) / count * 1e6:.0f} us a layer), training profile {training:.2f} s"
        )


if __name__ == "__main__":
    main()
