"""Cuts against all cuts."""

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.planning.partition import PipelineLayer, cut_chain, in_flight, plan_pipeline
from cnnbudget.planning.referee_partition import least_heaviest_by_trying

SIZE = st.integers(0, 50)
LAYERS = st.builds(PipelineLayer, parameter_bytes=SIZE, kept_bytes=SIZE, output_bytes=SIZE, transient_bytes=SIZE)
CHAINS = st.lists(LAYERS, min_size=1, max_size=8)


@given(CHAINS, st.data(), st.integers(1, 6), st.sampled_from(["gpipe", "1f1b"]), st.integers(1, 4), SIZE)
def test_the_best_pipeline_of_all(layers, data, microbatches, schedule, factor, first_input):
    received = [first_input, *(layer.output_bytes for layer in layers[:-1])]
    for devices in range(1, len(layers) + 1):

        def weigh(device, start, end, devices=devices):
            inside = layers[start:end]
            per_batch = received[start] + sum(layer.kept_bytes for layer in inside)
            return (
                factor * sum(layer.parameter_bytes for layer in inside)
                + in_flight(schedule, devices, device, microbatches) * per_batch
                + max(layer.transient_bytes for layer in inside)
            )

        plan = plan_pipeline(
            layers, devices, microbatches, schedule=schedule, parameter_factor=factor, input_bytes=first_input
        )
        best = least_heaviest_by_trying(len(layers), devices, weigh, received)
        assert (plan.value, plan.traffic_bytes) == (best[0], 2 * microbatches * best[1])
        edges = (*plan.starts, len(layers))
        assert plan.device_bytes == tuple(weigh(d, edges[d], edges[d + 1]) for d in range(devices))
        assert plan.value == max(plan.device_bytes)


@given(st.integers(1, 7), st.data())
def test_weights_of_any_kind(count, data):
    parts = data.draw(st.integers(1, count))
    table = {
        (part, start, end): data.draw(SIZE)
        for part in range(parts)
        for end in range(1, count + 1)
        for start in range(end)
    }
    crossing = data.draw(st.lists(SIZE, min_size=count, max_size=count))
    plan = cut_chain(count, parts, lambda part, end: [table[part, start, end] for start in range(end)], crossing)
    best = least_heaviest_by_trying(count, parts, lambda part, start, end: table[part, start, end], crossing)
    assert (plan.value, plan.crossing) == best
    assert plan.weights == tuple(
        table[part, start, end]
        for part, (start, end) in enumerate(zip(plan.starts, (*plan.starts[1:], count), strict=True))
    )


@given(CHAINS, st.integers(1, 6))
def test_1f1b_never_holds_more_than_gpipe(layers, microbatches):
    for devices in range(1, len(layers) + 1):
        assert (
            plan_pipeline(layers, devices, microbatches).value
            <= plan_pipeline(layers, devices, microbatches, schedule="gpipe").value
        )
