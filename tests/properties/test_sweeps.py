"""A row of a sweep is the profile of its point: on random networks, in random scenarios."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Autograd, Net, Scenario, ShapeError, Training, profile, sweep, with_input_shape
from cnnbudget.testing import strategies

BATCHES = st.lists(st.integers(1, 5000), min_size=1, max_size=6)


def expected(net: Net, scenario: Scenario) -> dict[str, Any]:
    found = net.profile(scenario)
    return {
        "parameters": net.parameter_count,
        "macs": net.mac_count,
        "peak": found.peak,
        "activation_peak": found.activation_peak,
        "retained": found.retained,
        "peak_step": str(found.peak_step),
        "error": None,
    }


@given(strategies.networks(), strategies.scenarios(), BATCHES)
def test_every_batch_in_closed_form(net: Net, scenario: Scenario, batches: list[int]) -> None:
    rows = net.sweep(scenario, batch=batches).rows()
    assert rows == [{"batch": batch, **expected(net, scenario.evolve(batch=batch))} for batch in batches]


@given(
    strategies.networks(max_parts=4),
    BATCHES,
    st.sampled_from(["sgd", "adam"]),
    st.sampled_from([None, "cross_entropy"]),
)
def test_as_pytorch_trains(net: Net, batches: list[int], optimizer: str, loss: str | None) -> None:
    if len(net.output_shape) != 1 or not net.parameter_count:
        loss = None
    base = Training(retention=Autograd(), optimizer=optimizer, loss=loss)
    rows = net.sweep(base, batch=batches, precision=["FP32", "AMP_BF16"]).rows()
    scenarios = [
        base.evolve(batch=batch, precision=precision) for precision in ("FP32", "AMP_BF16") for batch in batches
    ]
    assert rows == [
        {"precision": str(scenario.precision), "batch": scenario.batch, **expected(net, scenario)}
        for scenario in scenarios
    ]


@given(strategies.networks(rank=2), strategies.scenarios(), st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_sizes_that_fit_and_sizes_that_do_not(net: Net, scenario: Scenario, sizes: list[int]) -> None:
    channels = net.network.inputs[0].shape[0]
    for row, size in zip(sweep(net, scenario, input_size=sizes).rows(), sizes, strict=True):
        try:
            network = with_input_shape(net.network, (channels, size, size))
        except ShapeError as error:
            assert (row["error"], row["peak"]) == (str(error), None)  # noqa: PT017  # either way is right, and says so
        else:
            assert row["error"] is None
            assert row["peak"] == profile(network, scenario).peak


@given(strategies.networks(max_parts=3), strategies.scenarios(), BATCHES)
def test_the_front_has_what_is_best(net: Net, scenario: Scenario, batches: list[int]) -> None:
    found = net.sweep(scenario, batch=batches, precision=["FP32", "FP16"])
    front = found.pareto("peak", maximise="batch").rows()
    assert min(row["peak"] for row in found.rows()) in {row["peak"] for row in front}
    assert max(batches) in {row["batch"] for row in front}
    for row in found.rows():
        beaten = any(each["peak"] <= row["peak"] and each["batch"] >= row["batch"] for each in front)
        assert beaten
