"""Cuts of a chain: by hand, in flight, and what is refused. Brute force is in ``tests/properties/test_partitions.py``."""

import pytest

from cnnbudget import InvalidTypeError, InvalidValueError
from cnnbudget.planning.partition import PipelineLayer, cut_chain, in_flight, plan_pipeline


def layers(*sizes, **options):
    return [PipelineLayer(parameter_bytes=size, **options) for size in sizes]


def test_parameters_alone_by_hand():
    plan = plan_pipeline(layers(4, 1, 1, 1, 4), 3, 1)
    assert plan.optimal
    assert (plan.value, plan.device_bytes, plan.starts) == (4, (4, 3, 4), (0, 1, 4))
    assert plan_pipeline(layers(4, 1, 1, 1, 4), 1, 1).value == 11
    assert plan_pipeline(layers(4, 1, 1, 1, 4), 3, 1, parameter_factor=4).value == 16


def test_micro_batches_in_flight():
    # Narayanan et al. (2021): with 1F1B the first of p devices runs p micro-batches forward before its first backward, the
    # last one runs them back one by one; with GPipe everybody holds all.
    assert [in_flight("1f1b", 4, device, 8) for device in range(4)] == [4, 3, 2, 1]
    assert [in_flight("1f1b", 4, device, 2) for device in range(4)] == [2, 2, 2, 1]
    assert [in_flight("gpipe", 4, device, 8) for device in range(4)] == [8] * 4


def simulate_1f1b(devices, microbatches):
    """Runs the schedule clock by clock: the most micro-batches that each device holds."""
    warm = [min(devices - device - 1, microbatches) for device in range(devices)]
    todo = []
    for device in range(devices):
        steps = ["F"] * warm[device]
        for _ in range(microbatches - warm[device]):
            steps += ["F", "B"]
        todo.append(steps + ["B"] * warm[device])
    held, most = [0] * devices, [0] * devices
    forward, backward = [0] * devices, [0] * devices
    while any(todo):
        now_f, now_b = list(forward), list(backward)
        for device in range(devices):
            if not todo[device]:
                continue
            if todo[device][0] == "F" and (device == 0 or now_f[device - 1] > forward[device]):
                todo[device].pop(0)
                forward[device] += 1
                held[device] += 1
            elif todo[device][0] == "B" and (device == devices - 1 or now_b[device + 1] > backward[device]):
                todo[device].pop(0)
                backward[device] += 1
                held[device] -= 1
            most[device] = max(most[device], held[device])
    return most


@pytest.mark.parametrize("devices", range(1, 7))
@pytest.mark.parametrize("microbatches", range(1, 9))
def test_in_flight_is_what_a_run_holds(devices, microbatches):
    expected = [in_flight("1f1b", devices, device, microbatches) for device in range(devices)]
    assert simulate_1f1b(devices, microbatches) == expected


def test_what_is_kept_moves_the_cut():
    # Equal layers of 10 kept bytes, 4 micro-batches: with GPipe the middle, with 1F1B the first device holds twice as many.
    equal = [PipelineLayer(kept_bytes=10)] * 6
    assert plan_pipeline(equal, 2, 4, schedule="gpipe").device_bytes == (120, 120)
    plan = plan_pipeline(equal, 2, 4)
    assert (plan.starts, plan.device_bytes, plan.in_flight) == ((0, 2), (40, 40), (2, 1))


def test_inputs_and_transients_by_hand():
    chain = [
        PipelineLayer(parameter_bytes=1, kept_bytes=10, output_bytes=100, transient_bytes=7),
        PipelineLayer(parameter_bytes=2, kept_bytes=20, output_bytes=200, transient_bytes=5),
    ]
    one = plan_pipeline(chain, 1, 3, schedule="gpipe", input_bytes=1000)
    assert one.value == 3 + 3 * (1000 + 30) + 7
    two = plan_pipeline(chain, 2, 3, schedule="gpipe", input_bytes=1000)
    assert two.device_bytes == (1 + 3 * 1010 + 7, 2 + 3 * 120 + 5)
    assert two.traffic_bytes == 2 * 3 * 100


def test_among_equal_cuts_the_one_that_crosses_least():
    chain = [PipelineLayer(parameter_bytes=size, output_bytes=out) for size, out in [(5, 9), (0, 3), (0, 8), (5, 1)]]

    def without_inputs(part, end):
        return [sum(layer.parameter_bytes for layer in chain[start:end]) for start in range(end)]

    plan = cut_chain(4, 2, without_inputs, [0, 9, 3, 8])
    assert (plan.value, plan.starts, plan.crossing) == (5, (0, 2), 3)


@pytest.mark.parametrize(
    "ask, kind, text",
    [
        (
            lambda: plan_pipeline(layers(1, 2), 3, 1),
            InvalidValueError,
            "more devices than layers: got 3 devices for 2 layers",
        ),
        (lambda: plan_pipeline([], 1, 1), InvalidValueError, "a pipeline has no layers"),
        (lambda: plan_pipeline([3], 1, 1), InvalidTypeError, r"layers\[0\] must be a PipelineLayer: got 3"),
        (lambda: plan_pipeline(layers(1), 1, 0), InvalidValueError, "microbatches is out of range: got 0"),
        (lambda: plan_pipeline(layers(1), 0, 1), InvalidValueError, "devices is out of range: got 0"),
        (
            lambda: plan_pipeline(layers(1), 1, 1, schedule="1f1"),
            InvalidValueError,
            "unknown word: .*did you mean '1f1b'",
        ),
        (lambda: plan_pipeline(layers(1), 1, 1, schedule=3), InvalidTypeError, "schedule must be a word: got 3"),
        (
            lambda: plan_pipeline(layers(1), 1, 1, parameter_factor=0),
            InvalidValueError,
            "parameter_factor is out of range",
        ),
        (lambda: plan_pipeline(layers(2**61), 1, 1), InvalidValueError, "bytes of a pipeline are beyond"),
        (lambda: PipelineLayer(kept_bytes=-1), InvalidValueError, "PipelineLayer.kept_bytes is out of range: got -1"),
        (lambda: PipelineLayer(kept_bytes=2**63), InvalidValueError, "PipelineLayer.kept_bytes is out of range"),
        (lambda: in_flight("gpipe", 2, 2, 1), InvalidValueError, "device is out of range: got 2"),
        (lambda: cut_chain(2, 3, None), InvalidValueError, "more parts than layers: got 3 parts of 2 layers"),
        (lambda: cut_chain(2, 1, lambda part, end: [1]), InvalidValueError, r"weigh\(0, 2\) does not fit: got \(1,\)"),
        (lambda: cut_chain(1, 1, lambda part, end: [2**62]), InvalidValueError, r"weigh\(0, 1\) does not fit"),
        (lambda: cut_chain(1, 1, lambda part, end: [-1]), InvalidValueError, r"weigh\(0, 1\)\[0\] is out of range"),
        (
            lambda: cut_chain(1, 1, lambda part, end: [1], [1, 2]),
            InvalidValueError,
            r"crossing does not fit: got \(1, 2\)",
        ),
        (
            lambda: cut_chain(1, 1, lambda part, end: [1], [-2]),
            InvalidValueError,
            r"crossing\[0\] is out of range: got -2",
        ),
    ],
)
def test_bad_input(ask, kind, text):
    with pytest.raises(kind, match=text):
        ask()
