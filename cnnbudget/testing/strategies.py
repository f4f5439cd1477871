"""Hypothesis strategies for dependents: shapes, layers that can be applied to them, sequential networks, scenarios.

Everything drawn is valid by construction, so that a property states what it is about and needs no ``assume``. Every built-in
layer, and networks with branches, are drawn by :mod:`cnnbudget.testing.graphs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnbudget.dtypes import AMP_BF16, AMP_FP16, BF16, FP16, FP32, INT8, Precision
from cnnbudget.errors import MissingExtraError
from cnnbudget.graph.block import Block, Part, Repeat
from cnnbudget.layers.activation import ReLU, Sigmoid, Softmax, Tanh
from cnnbudget.layers.base import Layer
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.norm import BatchNorm, LocalResponseNorm
from cnnbudget.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from cnnbudget.layers.regularize import Dropout
from cnnbudget.layers.reshape import Flatten
from cnnbudget.memory.optimizer_torch import SGD, Adam
from cnnbudget.memory.retention import Autograd, FreeAfterUse, KeepAll, Retention
from cnnbudget.memory.scenario import Inference, Scenario, Training
from cnnbudget.net import Net
from cnnbudget.tensors import Shape
from cnnbudget.windows import effective_kernel, sides_of

try:
    from hypothesis import strategies
except ImportError as error:
    raise MissingExtraError(
        "cnnbudget.testing.strategies needs hypothesis", hint="pip install cnnbudget[testing]"
    ) from error

st = strategies  # families and graphs import it from here, so that they too name the extra

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

__all__ = ["convolutions", "layers", "networks", "pools", "precisions", "scenarios", "shapes"]


@st.composite
def shapes(draw: DrawFn, rank: int | None = None, *, max_channels: int = 8, max_size: int = 12) -> Shape:
    """Draws shapes of one sample, channels first.

    Args:
        draw: Given by hypothesis.
        rank: Spatial axes; ``None`` for 1 to 3. 0 makes a vector.
        max_channels: The most channels.
        max_size: The largest spatial axis.

    Returns:
        ``(C, *spatial)``.

    Example:
        >>> from hypothesis import given
        >>> @given(shapes(rank=2))
        ... def is_an_image(shape):
        ...     assert len(shape) == 3
        >>> is_an_image()
    """
    axes = draw(st.integers(1, 3)) if rank is None else rank
    return (draw(st.integers(1, max_channels)), *draw(st.tuples(*[st.integers(1, max_size)] * axes)))


def short_form(values: list[int], short: bool) -> int | tuple[int, ...]:  # noqa: FBT001  # drawn: both spellings are legal
    """Writes equal values for all axes as one int, at times: both spellings must mean the same."""
    return values[0] if short and len({*values}) == 1 else tuple(values)


def draw_per_axis(draw: DrawFn, rank: int, one: SearchStrategy[int]) -> list[int]:
    """Draws one value for all axes, as most people write, or one for each."""
    return [draw(one)] * rank if draw(st.booleans()) else [draw(one) for _ in range(rank)]


def fill_modes(spatial: Shape, sides: Sequence[tuple[int, int]], zeros: str) -> SearchStrategy[str]:
    """Draws how a border is filled: with zeros, whatever they are called, or with what there is enough of to copy."""
    spare = min(n - max(pair) for n, pair in zip(spatial, sides, strict=True))
    return st.sampled_from([zeros, "replicate", *["circular"] * (spare >= 0), *["reflect"] * (spare >= 1)])


@st.composite
def convolutions(draw: DrawFn, shape: Shape, *, max_filters: int = 8) -> Conv:
    """Draws convolutions that can be applied to a shape: any stride, dilation, groups, and every spelling and mode of padding.

    Args:
        draw: Given by hypothesis.
        shape: ``(C, *spatial)`` with at least one spatial axis.
        max_filters: The most filters, but for one filter a group.

    Returns:
        A convolution.

    Example:
        >>> from hypothesis import given
        >>> @given(convolutions((4, 9, 9)))
        ... def has_an_output(conv):
        ...     assert min(Net.input(4, 9, 9).then(conv).output_shape) > 0
        >>> has_an_output()
    """
    channels, *spatial = shape
    rank = len(spatial)
    kernel = draw_per_axis(draw, rank, st.integers(1, 5))
    dilation = draw_per_axis(draw, rank, st.integers(1, 3))
    missing = [max(0, effective_kernel(k, d) - n) for k, d, n in zip(kernel, dilation, spatial, strict=True)]
    groups = draw(st.sampled_from([n for n in range(1, channels + 1) if channels % n == 0]))
    spelling = draw(st.sampled_from(["same", "valid", "int", "ints", "pairs"]))
    padding: str | int | tuple[int, ...] | tuple[tuple[int, int], ...]
    if spelling == "same" or (spelling == "valid" and any(missing)):
        padding = "same"
    elif spelling == "valid":
        padding = draw(st.just("valid") | st.just(0))
    elif spelling == "int":
        padding = -(-max(missing) // 2) + draw(st.integers(0, 2))
    elif spelling == "ints":
        padding = tuple(-(-least // 2) + draw(st.integers(0, 2)) for least in missing)
    else:
        first = [draw(st.integers(0, 3)) for _ in spatial]
        last = [max(0, least - before) + draw(st.integers(0, 2)) for before, least in zip(first, missing, strict=True)]
        padding = tuple(zip(first, last, strict=True))
    stride = draw_per_axis(draw, rank, st.integers(1, 3))
    return Conv(
        groups * draw(st.integers(1, max(1, max_filters // groups))),
        short_form(kernel, draw(st.booleans())),
        stride=short_form(stride, draw(st.booleans())),
        padding=padding,
        dilation=short_form(dilation, draw(st.booleans())),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(
            fill_modes(
                tuple(spatial),
                sides_of("Conv", tuple(spatial), padding, tuple(kernel), tuple(stride), tuple(dilation)),
                "zeros",
            )
        ),
    )


@st.composite
def pools(draw: DrawFn, shape: Shape) -> MaxPool | AvgPool:
    """Draws poolings that can be applied to a shape.

    Args:
        draw: Given by hypothesis.
        shape: ``(C, *spatial)`` with at least one spatial axis.

    Returns:
        A max pooling or an average pooling.

    Example:
        >>> from hypothesis import given
        >>> @given(pools((4, 9)))
        ... def keeps_the_channels(pool):
        ...     assert Net.input(4, 9).then(pool).output_shape[0] == 4
        >>> keeps_the_channels()
    """
    spatial = shape[1:]
    dilated = draw(st.booleans())
    kernel = [draw(st.integers(1, min(4, n))) for n in spatial]
    # The window must fit without padding: explicit padding is limited to half of the kernel, which would not always be enough.
    dilation = [
        draw(st.integers(1, min(3, (n - 1) // (k - 1)))) if dilated and k > 1 else 1
        for n, k in zip(spatial, kernel, strict=True)
    ]
    halves = [k // 2 for k in kernel]
    stride = draw(
        st.none() | st.builds(short_form, st.tuples(*[st.integers(1, 3)] * len(spatial)).map(list), st.booleans())
    )
    padding = draw(
        st.sampled_from(["same", "valid"])
        | st.integers(0, min(halves))
        | st.tuples(*(st.integers(0, half) for half in halves))
        | st.tuples(*(st.tuples(st.integers(0, half), st.integers(0, half)) for half in halves))
    )
    ceil_mode = draw(st.booleans())
    size = short_form(kernel, draw(st.booleans()))
    if dilated or draw(st.booleans()):
        dilations = short_form(dilation, draw(st.booleans()))
        return MaxPool(size, stride=stride, padding=padding, ceil_mode=ceil_mode, dilation=dilations)
    include = draw(st.booleans())
    return AvgPool(size, stride=stride, padding=padding, ceil_mode=ceil_mode, count_include_pad=include)


def layers(shape: Shape, *, views: bool = True) -> SearchStrategy[Layer]:
    """Draws the commonest built-in layers that can be applied to a shape; none of them works in place.

    Args:
        shape: ``(C, *spatial)``.
        views: Whether layers are drawn whose output may share its input's storage (``Flatten``, ``Dropout``).

    Returns:
        A strategy.

    Example:
        >>> from hypothesis import given
        >>> @given(layers((3, 8, 8)))
        ... def is_hashable(layer):
        ...     assert hash(layer) == hash(layer.evolve())
        >>> is_hashable()
    """
    rank = len(shape)
    choices: list[SearchStrategy[Layer]] = [
        st.sampled_from([ReLU(), Sigmoid(), Tanh()]),
        st.builds(Softmax, axis=st.integers(-rank, rank - 1)),
        st.builds(BatchNorm, affine=st.booleans(), track_running_stats=st.booleans()),
    ]
    if rank == 1:
        choices.append(st.builds(Linear, st.integers(1, 20), bias=st.booleans()))
    else:
        choices += [
            convolutions(shape),
            pools(shape),
            st.builds(LocalResponseNorm, st.integers(1, 7)),
            st.builds(GlobalAvgPool, keepdims=st.booleans()),
        ]
    if views:
        choices.append(st.builds(Dropout, st.sampled_from([0, 0.25, 0.5, 1])) | st.just(Flatten()))
    return st.one_of(choices)


_NAMES = st.sampled_from(["stem", "stage", "block2", "deep/er"])


@st.composite
def _units(draw: DrawFn, shape: Shape, *, views: bool) -> Part:
    """Draws a block, or a repeated one, that keeps the shape: something with parameters, then layers of one kind each."""
    channels, *spatial = shape
    first: Layer = Conv(channels, draw(st.integers(1, 3)), padding="same") if spatial else Linear(channels)
    rest: list[Layer] = draw(st.lists(st.sampled_from([BatchNorm(), ReLU(), Tanh()]), max_size=2))
    if views and draw(st.booleans()):
        rest.append(Dropout())
    name = draw(st.none() | _NAMES)
    if draw(st.booleans()):
        return Block(first, *rest, name=name)
    return Repeat(Block(first, *rest, name=draw(st.none() | _NAMES)), draw(st.integers(1, 3)), name=name)


@st.composite
def networks(
    draw: DrawFn, rank: int | None = None, *, max_parts: int = 6, views: bool = True, inplace: bool = True
) -> Net:
    """Draws sequential networks of all built-in layers, with blocks, repetitions and names.

    In-place layers are drawn only where they may overwrite their input, in inference and in training.

    Args:
        draw: Given by hypothesis.
        rank: Spatial axes of the input; ``None`` for 1 to 3.
        max_parts: The most parts, each of which is a layer, a block or a repetition.
        views: Whether outputs may be views (``Flatten``, ``Dropout``).
        inplace: Whether layers may work in place.

    Returns:
        A net with at least one layer.

    Example:
        >>> from hypothesis import given
        >>> @given(networks(rank=2), scenarios())
        ... def needs_memory(net, scenario):
        ...     assert net.profile(scenario).peak > 0
        >>> needs_memory()
    """
    shape = draw(shapes(rank))
    net = Net.input(*shape, name=draw(st.sampled_from(["input", "image", "conv"])))
    overwritable = (
        False  # whoever calls the network may keep its input; later: nobody has kept what lies in the last storage
    )
    for _ in range(draw(st.integers(1, max_parts))):
        name = draw(st.none() | _NAMES)
        kind = draw(st.sampled_from(["layer", "layer", "unit", "inplace"]))
        if kind == "inplace" and inplace and overwritable:
            net = net.then(ReLU(inplace=True), name=name)
            overwritable = False
        elif kind == "unit":
            net = net.then(draw(_units(net.output_shape, views=views)), name=name)
            overwritable = False
        else:
            layer = draw(layers(net.output_shape, views=views))
            net = net.then(layer, name=name)
            if isinstance(layer, (ReLU, Sigmoid, Tanh, Softmax)):
                overwritable = False  # it keeps its output for backward
            elif not isinstance(layer, (Flatten, Dropout)):
                overwritable = True
    return net


def precisions() -> SearchStrategy[Precision]:
    """Draws presets of precision in which every value has one width.

    Returns:
        A strategy.

    Example:
        >>> from hypothesis import given
        >>> @given(precisions())
        ... def has_a_name(precision):
        ...     assert str(precision) in {"FP32", "FP16", "BF16"}
        >>> has_a_name()
    """
    return st.sampled_from([FP32, FP16, BF16])


def scenarios(*, training: bool | None = None, max_batch: int = 64, max_devices: int = 4) -> SearchStrategy[Scenario]:
    """Draws scenarios with every built-in policy, and for training with losses, optimizers and frozen layers.

    The allocator is the ideal one, which changes no peak, and the batch is in one part, so that a variant may have any batch.

    Args:
        training: Whether scenarios of training are drawn, or of inference; ``None`` for both.
        max_batch: The largest batch.
        max_devices: The most devices.

    Returns:
        A strategy.

    Example:
        >>> from hypothesis import given
        >>> @given(scenarios(training=True))
        ... def trains(scenario):
        ...     assert scenario.trains
        >>> trains()
    """
    batches, devices = st.integers(1, max_batch), st.integers(1, max_devices)
    frames = st.sampled_from(["ideal", "ideal", "eager"])
    mixed = st.sampled_from([AMP_FP16, AMP_BF16])
    textbook = KeepAll(gradients=False)
    inferences = st.builds(
        Inference,
        batches,
        precision=precisions() | mixed | st.just(INT8),
        devices=devices,
        frames=frames,
        retention=st.sampled_from(
            [FreeAfterUse(), FreeAfterUse(hold_input=True), FreeAfterUse(temporaries=False), textbook]
        ),
    )
    policies: list[Retention] = [KeepAll(), textbook, Autograd(), Autograd(sums_in_place=False)]
    trainings = st.builds(
        Training,
        batches,
        precision=precisions() | mixed,
        devices=devices,
        frames=frames,
        retention=st.sampled_from(policies),
        optimizer=st.sampled_from([SGD(), SGD(momentum=0.9), Adam()]),
        loss=st.sampled_from([None, "cross_entropy", "mse", "bce_with_logits"]),
        frozen=st.sampled_from([None, None, None, "*"]),
        zero_grad=st.sampled_from(["none", "zero"]),
    )
    kinds: dict[bool, SearchStrategy[Scenario]] = {False: inferences, True: trainings}
    return st.one_of(*kinds.values()) if training is None else kinds[training]
