"""Order and arena of every network of the zoo, planned, proved, and checked by referees that share no code with the planners."""

import pytest

from cnnbudget import Arena, Autograd, Inference, Training, zoo
from cnnbudget.memory.order import order_problem
from cnnbudget.planning.referee import complaints_about_cut, complaints_about_order, complaints_about_packing

ALIGNMENT = 64


@pytest.mark.parametrize("name", zoo.names())
def test_the_plan_of_a_prediction(name: str) -> None:
    net = getattr(zoo, name)()
    given = net.profile(Inference())
    best = net.profile(Inference(order="optimal", allocator=Arena(ALIGNMENT)))
    dag = order_problem(given.lifetimes.schedule, 1)
    plan = best.order
    assert plan is not None
    assert plan.optimal
    assert complaints_about_order(dag, plan.order, plan.value) == []
    assert complaints_about_cut(dag, plan.certificate) == []
    assert best.peak <= given.peak
    lifetimes = best.lifetimes
    storages = lifetimes.schedule.storages
    packing = best.allocation.packing
    numbers = best.allocation.numbers
    lives = [(lifetimes.births[n], lifetimes.deaths[n], storages[n].byte_count(1)) for n in numbers]
    assert packing.optimal
    assert complaints_about_packing(lives, packing.offsets, ALIGNMENT, packing.height) == []
    assert packing.height >= plan.value


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large"])
def test_training_in_a_better_order_is_within_a_hundredth_of_the_bound(name: str) -> None:
    net = getattr(zoo, name)()
    scenario = Training(1, retention=Autograd(), loss="cross_entropy")
    given, best = net.profile(scenario), net.profile(scenario.evolve(order="optimal"))
    assert best.order is not None
    assert best.order.gap < 0.01
    assert best.peak < given.peak
    schedule = scenario.evolve(order="optimal").retention.schedule(net.costs(), scenario.evolve(order="optimal"))
    dag = order_problem(schedule, 1)
    assert complaints_about_order(dag, best.order.order, best.order.value) == []


def test_gradients_that_go_early_save_a_fifth_of_a_resnet() -> None:
    scenario = Training(2, retention=Autograd(), loss="cross_entropy")
    net = zoo.resnet18()
    given, best = net.profile(scenario), net.profile(scenario.evolve(order="optimal"))
    assert best.peak < 0.8 * given.peak
