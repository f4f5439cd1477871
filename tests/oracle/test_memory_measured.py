"""Bytes of training steps and predictions that PyTorch was watched at, against ours: equal, where no exception is named.

What was measured, and how, is in ``README.rst``. Here *fixed* are parameters, buffers, input and target, which the measured numbers
leave out where they say so.
"""

import gzip
import json
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from cnnbudget import Autograd, FreeAfterUse, Inference, MemoryProfile, Net, Role, Training, zoo
from cnnbudget.memory.schedule import Phase

from .measured_networks import NETWORKS

FOLDER = Path(__file__).parent / "data"
Row = dict[str, Any]


def load(name: str) -> dict[str, Any]:
    return json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))


def rows_of(table: dict[str, Any]) -> list[Row]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


SMALL = rows_of(load("memory_small"))
TORCHVISION = rows_of(load("memory_torchvision"))
VARIANTS = {name: rows_of(table) for name, table in load("memory_variants").items() if name != "source"}
TRACES = load("memory_traces")["traces"]
BY_NAME = {(row["model"], row["batch"]): row for row in SMALL}

# No zoo function: segmentation on MobileNet v3.
NOT_IN_THE_ZOO = {"deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"}

# torchvision runs Inception v3 without its auxiliary head where the maps are too small for it, in evaluation only; the zoo wants
# 17x17 there and refuses the network.
NO_AUXILIARY_HEAD = ("inception_v3", [3, 224, 224]), ("inception_v3", [3, 201, 233])


def net_of(row: Row) -> Net:
    return (
        NETWORKS[row["model"]]() if row["model"] in NETWORKS else getattr(zoo, row["model"])(input_shape=row["input"])
    )


def label(row: Row) -> str:
    return "-".join([row["model"], str(row["batch"]), *map(str, row.get("input", ()))])


MEASURED = [
    *SMALL,
    *(
        row
        for row in TORCHVISION
        if row["model"] not in NOT_IN_THE_ZOO and (row["model"], row["input"]) not in NO_AUXILIARY_HEAD
    ),
]

measured = pytest.mark.parametrize("row", MEASURED, ids=label)


@cache
def cached(model: str, batch: int, shape: tuple[int, ...], scenario: Any) -> MemoryProfile:
    return net_of({"model": model, "input": shape}).profile(scenario)


def of(row: Row, scenario: Any) -> MemoryProfile:
    return cached(row["model"], row["batch"], tuple(row["input"]), scenario)


def training(row: Row, **settings: Any) -> MemoryProfile:
    settings = {"retention": Autograd(), "loss": "cross_entropy", "frames": "eager"} | settings
    return of(row, Training(row["batch"], **settings))


def parameters_of(row: Row) -> int:
    return row["params"] + row["buffers"]


def fixed_of(row: Row) -> int:
    return parameters_of(row) + row["input_bytes"] + row["target_bytes"]


def forward_steps(found: MemoryProfile) -> int:
    """How many steps there are until the loss exists: backward starts from a gradient of one number."""
    schedule = found.lifetimes.schedule
    starts = {number for number, storage in enumerate(schedule.storages) if storage.name.endswith(".loss.grad")}
    return next(number for number, step in enumerate(schedule.steps) if starts & {*step.writes})


def test_the_data_are_whole() -> None:
    assert (len(SMALL), len(TORCHVISION), len(TRACES)) == (48, 125, 16)
    assert {name: len(table) for name, table in VARIANTS.items()} == {
        "autocast_bf16": 32,
        "gradients_of_zeros": 6,
        "two_micro_batches": 12,
        "frozen": 23,
        "checkpoint": 77,
    }
    assert len(MEASURED) == 48 + 123
    assert {row["model"] for row in TORCHVISION} - NOT_IN_THE_ZOO <= set(zoo.__all__)
    assert not NOT_IN_THE_ZOO & set(zoo.__all__)


# Training ------------------------------------------------------------------------------------------------------------


@measured
def test_what_is_kept_for_backward(row: Row) -> None:
    found = training(row)
    assert found.retained == row["saved_all"]
    roles = found.by_role
    assert roles[Role.PARAMETER] == row["params"]
    assert roles.get(Role.BUFFER, 0) == row["buffers"]


@measured
def test_live_bytes_of_a_step_s_phases(row: Row) -> None:
    found = training(row)
    live = [each - fixed_of(row) for each in found.live_bytes]
    count = forward_steps(found)
    # Where the losses of several outputs are added up, the last one and the sum before it are there when their sum is made; a
    # moment later they are not.
    summands = 8 if len(found.network.outputs) > 1 else 0
    assert live[count - 1] - summands == row["live_after_fwd"]
    assert max(live[:count]) == row["peak_fwd_dyn"]
    assert found.steps[-1].phase is Phase.UPDATE  # gradients, the outputs and the loss are left
    assert live[-1] == row["live_after_bwd"]


# Behind a permuted normalisation ConvNeXt's downsampling convolutions read maps that lie channels last. Their weights' gradients
# come out so, and autograd copies each into the parameter's order while the first lies there. Our values have no strides: where
# PyTorch's peak is at such a copy, ours is lower by less than the largest of them.
COPY = "new_empty_strided"
COPIED = {"convnext_tiny", "convnext_small", "convnext_base"}


@measured
@pytest.mark.parametrize("in_place", [False, True], ids=["under a mode", "as it is"])
def test_the_peak_of_training(row: Row, in_place: bool) -> None:
    peak = training(row, retention=Autograd(sums_in_place=in_place)).peak
    name = "true_peak" if in_place else "peak"
    expected = row[f"{name}_train_total"]
    if row[f"{name}_op"] == COPY:
        assert row["model"] in COPIED
        assert 0 < expected - peak < 0.0025 * expected
    else:
        assert peak == expected


@pytest.mark.parametrize("row", SMALL, ids=label)
def test_the_ideal_is_a_bound(row: Row) -> None:
    ideal = training(row, frames="ideal").peak
    assert ideal <= row["true_peak_train_total"]
    # Frames cost a script's variables, and no more than a block's.
    assert ideal > 0.9 * row["true_peak_train_total"]


# The operation that PyTorch was at, where the peak of training is reached. What is done at our step of the peak must be that.
@pytest.mark.parametrize("row", [row for row in SMALL if row["batch"] == 2], ids=label)
def test_where_the_peak_of_training_is(row: Row) -> None:
    found = training(row)
    node = found.peak_step.node
    kind = "loss" if node is None else type(found.network[node].layer).__name__
    operations = {
        "threshold_backward": "ReLU",
        "tanh_backward": "Tanh",
        "silu_backward": "SiLU",
        "hardtanh_backward": "ReLU6",
        "hardswish_backward": "Hardswish",
        "convolution_backward": "Conv",
        "native_batch_norm_backward": "BatchNorm",
        "mul": "LocalResponseNorm",
        "sum": "Multiply",
        "max_pool2d_with_indices_backward": "MaxPool",
        "_log_softmax_backward_data": "loss",
    }
    assert operations[row["true_peak_op"]] == kind


# Prediction ----------------------------------------------------------------------------------------------------------


@measured
def test_the_peak_of_a_prediction_that_frees_after_use(row: Row) -> None:
    found = of(row, Inference(row["batch"], retention=FreeAfterUse(hold_input=True)))
    assert found.peak - parameters_of(row) - row["input_bytes"] == row["infer_peak_fx_dyn"]


@measured
def test_the_peak_of_a_prediction_in_frames(row: Row) -> None:
    found = of(row, Inference(row["batch"], frames="eager"))
    assert found.peak - parameters_of(row) - row["input_bytes"] == row["infer_peak_dyn"]


# Step by step --------------------------------------------------------------------------------------------------------

# In resnet20's blocks with a projection ReLU works in place, and the block's function still has its body's result in a variable;
# the scopes of our names do not say so. No peak is there.
A_VARIABLE = {
    ("resnet20_cifar", "forward of block3/relu2"): 2 * 4 * 32 * 16 * 16,
    ("resnet20_cifar", "forward of block6/relu2"): 2 * 4 * 64 * 8 * 8,
}


@pytest.mark.parametrize("model", TRACES)
def test_live_bytes_after_every_operation(model: str) -> None:
    """In order, every step of ours is a moment of PyTorch's."""
    row = BY_NAME[model, 2]
    found = training(row)
    count = forward_steps(found)
    trace = [live for _, _, live in TRACES[model]]
    at, steps = 0, 0
    for number, (step, live) in enumerate(zip(found.steps, found.live_bytes, strict=True)):
        # No operation: what is there before the first, the gradients that PyTorch's loss starts from (in an order of its own), and
        # backward steps of sums and views.
        if step.phase in {Phase.LOAD, Phase.UPDATE}:
            continue
        if (step.phase is Phase.LOSS and number >= count) or not step.writes:
            continue
        dynamic = live - fixed_of(row) + A_VARIABLE.get((model, str(step)), 0)
        assert dynamic in trace[at:], step
        at = trace.index(dynamic, at)
        steps += 1
    assert steps > 10
    assert at > 0.9 * len(trace)


# Variants ------------------------------------------------------------------------------------------------------------

# By how many bytes a sample ours keep more and peak higher than a CPU's bfloat16: we follow CUDA's lists, and masks have 32 bits.
# A CPU's dropout has a mask of its input's width: half of ours. On CUDA pow() makes LocalResponseNorm 32 bits wide from its
# input on, which is cast and kept (96x55x55 and 256x27x27 numbers); a CPU casts later, to pool the squares.
CASTS = 4 * (96 * 55 * 55 + 256 * 27 * 27)
MORE_IN_AUTOCAST = {
    "alexnet2012_lrn": (CASTS + 2 * 2 * 4096, CASTS),  # two masks, which are gone at the peak
    "mbconv_se_mini": (2 * 24, 0),
    "wrn_10_4": (2 * (64 * 32 * 32 + 128 * 16 * 16 + 256 * 8 * 8),) * 2,
}


@pytest.mark.parametrize("row", VARIANTS["autocast_bf16"], ids=label)
def test_autocast(row: Row) -> None:
    plain, batch = BY_NAME[row["model"], row["batch"]], row["batch"]
    found = training(plain, precision="AMP_BF16")
    more, higher = MORE_IN_AUTOCAST.get(row["model"], (0, 0))
    assert found.retained - row["saved_all"] == batch * more
    assert found.peak - fixed_of(plain) - row["true_peak_train_dyn"] == batch * higher


@pytest.mark.parametrize("row", VARIANTS["autocast_bf16"], ids=label)
def test_a_prediction_in_autocast(row: Row) -> None:
    plain = BY_NAME[row["model"], row["batch"]]
    predicted = of(plain, Inference(row["batch"], precision="AMP_BF16", frames="eager"))
    assert predicted.peak - parameters_of(plain) - plain["input_bytes"] == row["infer_peak_dyn"]


@pytest.mark.parametrize("row", VARIANTS["gradients_of_zeros"], ids=label)
@pytest.mark.parametrize("in_place", [False, True], ids=["under a mode", "as it is"])
def test_gradients_of_zeros(row: Row, in_place: bool) -> None:
    plain = BY_NAME[row["model"], row["batch"]]
    found = training(plain, zero_grad="zero", retention=Autograd(sums_in_place=in_place))
    live = [each - fixed_of(plain) for each in found.live_bytes]
    count = forward_steps(found)
    assert max(live) == row["true_peak_train_dyn" if in_place else "peak_train_dyn"]
    assert live[count - 1] == row["live_after_fwd"]
    assert max(live[:count]) == row["peak_fwd_dyn"]
    assert live[-1] == row["live_after_bwd"]


@pytest.mark.parametrize("row", [row for row in VARIANTS["two_micro_batches"] if row["pass"] == 2], ids=label)
def test_the_second_of_two_micro_batches(row: Row) -> None:
    plain = BY_NAME[row["model"], row["batch"]]
    parts = plain | {"batch": 2 * row["batch"]}
    found = training(parts, accumulate=2)
    live = [each - fixed_of(plain) for each in found.live_bytes]  # of one part's input and target
    assert found.scenario.device_batch == row["batch"]
    assert max(live) == row["true_peak_train_dyn"]
    assert live[forward_steps(found) - 1] == row["live_after_fwd"]
    assert live[-1] == row["live_after_bwd"]


@pytest.mark.parametrize("row", [row for row in VARIANTS["two_micro_batches"] if row["pass"] == 1], ids=label)
def test_the_first_of_two_micro_batches(row: Row) -> None:
    plain = BY_NAME[row["model"], row["batch"]]
    assert training(plain).peak - fixed_of(plain) == row["true_peak_train_dyn"]


# Which nodes are the modules that did not train. Rows that freeze a part of a layer's parameters cannot be said: frozen= is of
# nodes.
FROZEN = {
    ("conv_bn_relu", "stem (0, 1)"): ("conv", "batch_norm"),
    ("conv_bn_relu", "first two stages (0, 1, 3, 4)"): ("conv", "batch_norm", "conv2", "batch_norm2"),
    ("conv_bn_relu", "middle convolution (3)"): "conv2",
    ("conv_bn_relu", "middle stage (3, 4)"): ("conv2", "batch_norm2"),
    ("conv_bn_relu", "all norms (1, 4, 7)"): "batch_norm*",
    ("conv_bn_relu", "all but the classifier"): ("conv*", "batch_norm*"),
    ("conv_bn_relu", "classifier (11)"): "linear",
    ("plain_relu", "first convolution (0)"): "conv",
    ("plain_relu", "second convolution (3)"): "conv2",
    ("plain_relu", "convolutions (0, 3)"): "conv*",
    ("mbconv_se_mini", "stem (0, 1)"): ("conv", "batch_norm"),
    ("mbconv_se_mini", "stem and first block (0, 1, 3)"): ("conv", "batch_norm", "mb0/*"),
    ("mbconv_se_mini", "second block (4)"): "mb1/*",
    ("mbconv_se_mini", "all but the classifier"): ("conv", "batch_norm", "mb*"),
    ("unet_mini", "encoder (d1, d2, d3)"): ("d1/*", "d2/*", "rest/d3/*"),
    ("unet_mini", "d1"): "d1/*",
    ("unet_mini", "decoder (u2, e2, u1, e1, o)"): ("rest/up*", "rest/conv"),
    ("unet_mini", "u1"): "rest/up1/conv_transpose",
    ("resnet20_cifar", "stem and first stage (0, 1, 3, 4, 5)"): ("conv", "batch_norm", "block[012]/*"),
    ("resnet20_cifar", "all but the classifier"): ("conv", "batch_norm", "block*"),
}
PARTS_OF_LAYERS = {"weights only (biases train)", "second convolution's weight", "classifier's weight"}
WHOLE = [row for row in VARIANTS["frozen"] if row["frozen"] not in PARTS_OF_LAYERS]


def test_every_frozen_row_is_compared() -> None:
    assert {(row["model"], row["frozen"]) for row in WHOLE} == {*FROZEN}
    assert len(WHOLE) == len(VARIANTS["frozen"]) - 3


@pytest.mark.parametrize("row", WHOLE, ids=lambda row: f"{row['model']}: {row['frozen']}")
@pytest.mark.parametrize("in_place", [False, True], ids=["under a mode", "as it is"])
def test_frozen_layers(row: Row, in_place: bool) -> None:
    plain = BY_NAME[row["model"], row["batch"]]
    frozen = FROZEN[row["model"], row["frozen"]]
    found = training(plain, frozen=frozen, retention=Autograd(sums_in_place=in_place))
    names = [frozen] if isinstance(frozen, str) else frozen
    table = [cost for cost in NETWORKS[row["model"]]().costs() if any(fnmatchcase(cost.name, name) for name in names)]
    assert sum(len(cost.parameters) for cost in table) == len(row["frozen_parameters"])
    assert found.retained == row["saved_all"]
    storages = found.lifetimes.schedule.storages
    gradients = sum(each.byte_count(1) for each in storages if each.role is Role.PARAMETER_GRADIENT)
    assert gradients == row["grad_bytes"]
    live = [each - fixed_of(plain) for each in found.live_bytes]
    count = forward_steps(found)
    assert live[count - 1] == row["live_after_fwd"]
    assert max(live[:count]) == row["peak_fwd_dyn"]
    assert max(live) == row["true_peak_train_dyn" if in_place else "peak_train_dyn"]
    assert live[-1] == row["live_after_bwd"]
