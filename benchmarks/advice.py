"""Speed of advice: single remedies, pairs of them, and limits, on ResNet-50.

Run: ``python benchmarks/advice.py``. CPU time; nothing here is asserted.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cnnbudget import Autograd, Training, zoo
from cnnbudget.zoo import resnet50

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

SCENARIO = Training(32, retention=Autograd(), optimizer="adam", loss="cross_entropy")
KEEP = {"batch", "devices", "accumulate", "input", "output"}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of one run, and what it answered."""
    start = time.process_time()
    answer = run()
    return time.process_time() - start, answer


def main() -> None:
    """Prints the figures."""
    net = resnet50()
    peak = net.profile(SCENARIO).peak
    for percent in (80, 50, 20):
        seconds, advice = timed(lambda: net.fit(peak * percent // 100, SCENARIO, combine=1))  # noqa: B023  # run at once
        print(f"ResNet-50, {percent} % of the peak, single remedies: {seconds:.2f} s, {len(advice.options)} options")
    for percent in (25, 10):
        for tries in (None, 6_000):
            seconds, advice = timed(
                lambda: net.fit(peak * percent // 100, SCENARIO, keep=KEEP, combine=2, tries=tries)  # noqa: B023
            )
            found = advice.combinations[0].change if advice.combinations else "nothing"
            print(f"ResNet-50, {percent} %, pairs, tries={tries}: {seconds:.2f} s; {found}; {advice.verdict}")
    for name, run in {
        "largest input": lambda: net.max_input_size("8 GiB", SCENARIO),
        "largest width": lambda: net.max_width("8 GiB", SCENARIO),
        "most repeats": lambda: net.max_depth("8 GiB", SCENARIO, "layer3"),
        "all single remedies of VGG-16": lambda: zoo.vgg16().fit("1 MiB", SCENARIO, combine=1).verdict,
    }.items():
        seconds, found = timed(run)
        print(f"{name}: {seconds:.2f} s, {getattr(found, 'value', found)}")


if __name__ == "__main__":
    main()
