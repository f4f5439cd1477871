"""What users write, as mypy --strict sees it; it runs as a test, too."""

from collections.abc import Callable, Mapping
from typing import assert_type

from attrs import frozen

from cnnbudget import (
    Advice,
    Block,
    Bytes,
    Comparison,
    Conv,
    CostTable,
    Derived,
    ElementwiseLayer,
    Explanation,
    FreeAfterUse,
    Inference,
    Input,
    KeepAll,
    Layer,
    MaxPool,
    MemoryProfile,
    Net,
    Network,
    NetworkDiff,
    Node,
    NodeCost,
    Pivot,
    ReLU,
    Role,
    Scenario,
    ScenarioComparison,
    Step,
    Summary,
    Sweep,
    TensorSpec,
    Training,
    Use,
    Visitor,
    compare,
    costs,
    diff,
    max_batch,
    profile,
    specs,
    sweep,
    visits,
    walk,
)
from cnnbudget.testing import check_layer, check_policy


def test_the_front_door() -> None:
    net = Net.input(3, 32, 32).then(Conv(8, 3, stride=(2, 1), padding=((1, 0), (0, 1))), ReLU(inplace=True))
    assert_type(net, Net)
    assert_type(net.then(MaxPool(2), name="pool").repeat(Block(ReLU()), 2), Net)
    assert_type(net.parameter_count, int)
    assert_type(net.output_shape, tuple[int, ...])
    assert_type(net.network, Network)
    assert_type(net.network["conv"], Node)
    assert_type(net.costs(), CostTable)
    assert_type(net.costs()["conv"], NodeCost)
    assert_type(net.costs()["conv"].macs, int | None)
    assert_type(net.summary(), Summary)
    assert_type(net.profile(Inference()), MemoryProfile)
    assert_type(net.max_batch("8 GiB", Training()), int)
    assert_type(net.fit("8 GiB", Training(batch=8)), Advice)
    assert_type(net == net, bool)


def test_profiles() -> None:
    network = Net.input(3, 32, 32).then(Conv(8, 3)).network
    scenario: Scenario = Training(batch=2, devices=2, retention=KeepAll(gradients=False))
    found = profile(network, scenario)
    assert_type(found.peak, Bytes)
    assert_type(found.peak_step, Step)
    assert_type(found.by_role, Mapping[Role, Bytes])
    assert_type(found.live_bytes, tuple[int, ...])
    assert_type(max_batch(network, 10**9, scenario), int)
    assert_type(costs(network), CostTable)
    assert_type(specs(network), dict[str, TensorSpec])
    assert_type(scenario.evolve(batch=3), Scenario)
    assert_type(Training(batch=2).evolve(batch=3), Training)
    assert_type(Conv(3, 3).evolve(stride=2), Conv)


@frozen
class Swish(ElementwiseLayer):
    """A layer of a user."""

    beta: float = 1.0


class Depth(Visitor[int]):
    """A visitor of a user."""

    def start(self, source: Input) -> int:
        return 0

    def visit(self, use: Use[int]) -> int:
        return max(use.results)

    @visits(Conv, Swish)
    def counted(self, use: Use[int]) -> int:
        assert_type(use.layer, Layer)
        assert_type(use.results, tuple[int, ...])
        return max(use.results) + 1


def test_extensions() -> None:
    answers = walk(Net.input(3, 8).then(Conv(3, 1), Swish(), ReLU()).network, Depth())
    assert_type(answers, dict[str, int])
    assert answers["relu"] == 2
    check_layer(Swish(), (3, 8))
    check_policy(FreeAfterUse())


def test_sweeps_comparisons_and_explanations() -> None:
    net = Net.input(3, 8, 8).then(Conv(4, 3))
    found = net.sweep(Training(), batch=range(1, 9), precision=["FP32", "FP16"])
    assert_type(found, Sweep)
    assert_type(sweep(net, Inference()), Sweep)
    assert_type(found.pareto("peak", maximise="batch"), Sweep)
    assert_type(found.pivot("batch", "precision"), Pivot)
    assert_type(compare(net, net.network), Comparison)
    assert_type(compare({"a": net}, scenarios=[Training(1), Training(2)]), ScenarioComparison)
    assert_type(compare(net, scenarios={"run": Inference()})["run"], MemoryProfile)
    changed = diff(net, net.then(ReLU()).network)
    assert_type(changed, NetworkDiff)
    assert_type([change.peak for change in changed], list[Bytes])
    assert_type(net.explain("conv"), Explanation)
    assert_type(net.profile(Inference()).explain()["peak"], Derived)
    assert_type(net.conventions()["thop", "macs"].value, int)


def test_mistakes_that_a_type_checker_finds() -> None:
    # Each ignore must be needed: mypy --strict reports those that are not.
    mistakes: list[Callable[[], object]] = [
        lambda: Net.input(3, 8).then([ReLU()]),  # type: ignore[arg-type]
        lambda: Net.input(3, 8).then(ReLU),  # type: ignore[arg-type]
        lambda: Net.input(3, 8).then(ReLU()).profile(Inference),  # type: ignore[arg-type]
        lambda: Inference(retention=KeepAll),  # type: ignore[arg-type]
        lambda: Net.input("3"),  # type: ignore[arg-type]
        lambda: Conv(3, 3, 2),  # type: ignore[call-arg]
    ]
    for mistake in mistakes:
        try:
            mistake()
        except TypeError:
            continue
        raise AssertionError(mistake)
