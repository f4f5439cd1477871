"""Times of the planners of chains: checkpoints, tiles, cuts; and what they found.

Run: ``python benchmarks/chains.py``. Wall time of one run each, imports excluded; nothing here is asserted. ResNet-152 stands for a
chain of its 152 weighted layers, each with what follows it up to the next, its residual edges left out: the sizes are real,
the chain is a stand-in.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cnnbudget import zoo
from cnnbudget.planning.chain import least_checkpoint_bytes, plan_checkpoints, tradeoff
from cnnbudget.planning.partition import PipelineLayer, plan_pipeline
from cnnbudget.planning.segments import at, least_peak_segments, segment_bytes, square_root
from cnnbudget.planning.stages import Chain, Stage, keep_all, replay
from cnnbudget.planning.tile_search import plan_tiles, tile_frontier
from cnnbudget.planning.tiles import Axis, Sliding, SlidingChain

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 2**20


def timed(what: str, run: Callable[[], object], show: Callable[[object], str] = lambda _: "") -> object:
    """Prints how long a run took, and what it found."""
    start = time.perf_counter()
    found = run()
    print(f"{what:<58} {time.perf_counter() - start:7.2f} s  {show(found)}")
    return found


def resnet152() -> Chain:
    """One stage per convolution or linear layer, in fp32, batch 16."""
    stages: list[dict[str, int]] = []
    for cost in zoo.resnet152().costs().nodes:
        size = 4 * 16 * cost.output.element_count
        if cost.macs and "downsample" not in cost.name:
            stages.append({"output_bytes": 0, "kept_bytes": 0, "forward": 0, "residue_bytes": 0})
        stage = stages[-1]
        stage["output_bytes"] = size
        stage["kept_bytes"] += size
        stage["forward"] += cost.macs or 0
        stage["residue_bytes"] += 4 * (cost.parameter_count or 0)
    return Chain([Stage(**stage) for stage in stages], input_bytes=4 * 16 * 3 * 224 * 224)


def mobilenet_v2() -> SlidingChain:
    """Int8, 224 x 224, residual edges left out, depthwise convolutions in place."""
    layers, size, channels = [], 224, 3

    def add(kernel: int, stride: int, filters: int, *, depthwise: bool = False) -> None:
        nonlocal size, channels
        axis = Axis(size, kernel=kernel, stride=stride, before=kernel // 2, after=kernel // 2)
        macs = kernel**2 * filters * (1 if depthwise else channels)
        layers.append(Sliding([axis] * 2, output_bytes=filters, macs=macs, in_place=depthwise))
        size, channels = axis.output, filters

    add(3, 2, 32)
    for expansion, filters, repeats, stride in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]:
        for repeat in range(repeats):
            if expansion > 1:
                add(1, 1, channels * expansion)
            add(3, stride if repeat == 0 else 1, channels, depthwise=True)
            add(1, 1, filters)
    add(1, 1, 1280)
    return SlidingChain(layers)


def main() -> None:
    """Prints the figures."""
    chain = resnet152()
    whole = replay(chain, keep_all(chain)).peak_bytes
    count = len(chain.stages)
    print(f"a chain of {count} stages: {whole / MIB:.1f} MiB with everything kept")
    timed(
        "  least memory, exact",
        lambda: least_checkpoint_bytes(chain),
        lambda least: f"{least / MIB:.1f} MiB",
    )
    segments = timed(
        "  best segments, each recomputed once, exact",
        lambda: least_peak_segments(*segment_bytes(chain)),
        lambda plan: f"{plan.value / MIB:.1f} MiB",
    )
    for name, operations in (("square root", square_root(chain)), ("best segments", at(chain, segments.starts))):
        result = replay(chain, operations)
        extra = result.extra_cost / chain.forward_cost
        print(f"  {name:<56} {result.peak_bytes / MIB:.1f} MiB for {extra:.1%} of a forward pass")
        timed(
            "    the same memory, planned",
            lambda budget=result.peak_bytes: plan_checkpoints(chain, budget),
            lambda plan: f"{plan.value / chain.forward_cost:.1%}, bound {plan.lower_bound / chain.forward_cost:.1%}",
        )
    for slots in (500, 1500):
        for part in (5, 3, 2):
            timed(
                f"  1 / {part} of everything, {slots} slots",
                lambda slots=slots, part=part: plan_checkpoints(chain, whole // part, slots=slots),
                lambda plan: (
                    f"extra {plan.value / chain.forward_cost:.2%}, bound {plan.lower_bound / chain.forward_cost:.2%}, "
                    f"{'optimal' if plan.optimal else f'gap {plan.gap:.1%}'}"
                ),
            )
    timed("  the whole curve, 500 slots", lambda: tradeoff(chain), lambda curve: f"{len(curve.points)} points")
    equal = Chain([Stage(output_bytes=1, kept_bytes=30)] * 25, input_bytes=1)
    timed("25 equal stages, exact", lambda: tradeoff(equal), lambda curve: f"{len(curve.points)} points")

    tiles = mobilenet_v2()
    for what, options in (
        ("tiles, a tenth more work", {"most_extra_macs": tiles.macs // 10, "variants": ["tiles"]}),
        ("tiles, any work", {"variants": ["tiles"]}),
        ("tiles and lines, no more work", {"most_extra_macs": 0}),
        ("tiles and lines, any work", {}),
    ):
        timed(
            f"MobileNetV2, {what}",
            lambda options=options: plan_tiles(tiles, **options),
            lambda plan: (
                f"{plan.value / 1024:.1f} KiB, {plan.cost.variant} {plan.cost.grid} after {plan.cost.split} layers"
            ),
        )
    timed("MobileNetV2, the frontier", lambda: tile_frontier(tiles), lambda front: f"{len(front)} points")

    for number in (152, 1000):
        layers = [PipelineLayer(parameter_bytes=i % 97, kept_bytes=i % 31, output_bytes=i % 7) for i in range(number)]
        timed(
            f"{number} layers cut for 8 devices",
            lambda layers=layers: plan_pipeline(layers, 8, 32),
            lambda plan: f"fullest {plan.value}",
        )


if __name__ == "__main__":
    main()
