"""Hypothesis strategies for graphs: nested blocks that branch, repeat and share, and whole networks, of every built-in layer.

Like everything in :mod:`cnnbudget.testing.strategies` they are valid by construction: shapes meet at every merge, labels exist
before they are joined, parameters are shared by layers that have the same, and an in-place layer overwrites nothing that
somebody still needs, in inference or in training.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from cnnbudget.graph.block import At, Block, Branch, Join, Output, Part, Repeat, Tap
from cnnbudget.layers.base import Layer
from cnnbudget.layers.conv import Conv
from cnnbudget.layers.linear import Linear
from cnnbudget.layers.merge import Add, Concat, Maximum, Multiply
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.layers.pool import AdaptiveAvgPool, AdaptiveMaxPool, MaxPool
from cnnbudget.layers.reshape import Reshape
from cnnbudget.layers.resize import Upsample
from cnnbudget.layers.scale import Identity
from cnnbudget.net import Net
from cnnbudget.tensors import Shape, TensorSpec
from cnnbudget.testing.families import GROWING, INPLACE, KINDS, all_layers, merges
from cnnbudget.testing.strategies import shapes, st

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import DrawFn

__all__ = ["blocks", "graphs"]

_LARGE = 2000  # to a value of more elements, nothing is appended that makes much of little
_MODEST = tuple(kind for kind in KINDS if kind not in GROWING)
_SCOPES = st.none() | st.sampled_from(["stem", "stage", "block2", "deep/er"])


@frozen
class _Tip:
    """The end of a chain: its shape, whether nobody else needs its storage, and whether a layer made it."""

    shape: Shape
    free: bool = False
    made: bool = False

    def after(self, layer: Layer, *others: Shape) -> _Tip:
        """The end behind a further layer, by what the layer says of itself."""
        inputs = tuple(map(TensorSpec, (self.shape, *others)))
        output = layer.infer(inputs)
        kept = layer.saved(inputs, output)
        own = all(layer.alias(inputs, output, training=training) is None for training in (False, True))
        return _Tip(output.shape, (own or (self.free and not kept.inputs)) and not kept.output, made=True)


class _Writer:
    """Draws the parts of a chain in the order in which they are written out, and knows what may come next."""

    def __init__(self, draw: DrawFn, taps: dict[str, Shape], *, inplace: bool) -> None:
        self.draw = draw
        self.taps = taps
        self.inplace = inplace
        self.words = 0

    def chain(self, tip: _Tip, level: int, most: int) -> tuple[list[Part], _Tip]:
        parts: list[Part] = []
        for _ in range(self.draw(st.integers(1, most))):
            kinds: list[Callable[[_Tip, int], tuple[list[Part], _Tip]]] = [*[self.layer] * 4, self.tap]
            if self.inplace and tip.free:
                kinds += [self.overwriter] * 2
            if self.taps:
                kinds += [self.join] * 2
            if level:
                kinds += [self.block, self.repeat, self.branch, self.branch, self.residual, self.share, self.output]
                kinds += [self.at] * bool(self.taps)
            more, tip = self.draw(st.sampled_from(kinds))(tip, level - 1)
            parts += more
        return parts, tip

    def then(self, tip: _Tip, *layers: Layer) -> tuple[list[Part], _Tip]:
        for layer in layers:
            tip = tip.after(layer)
        return list(layers), tip

    def layer(self, tip: _Tip, _: int) -> tuple[list[Part], _Tip]:
        return self.then(tip, self.draw(all_layers(tip.shape, _MODEST if prod(tip.shape) > _LARGE else KINDS)))

    def overwriter(self, tip: _Tip, _: int) -> tuple[list[Part], _Tip]:
        return self.then(tip, evolve(self.draw(all_layers(tip.shape, INPLACE)), inplace=True))  # type: ignore[call-arg]

    def block(self, tip: _Tip, level: int) -> tuple[list[Part], _Tip]:
        parts, tip = self.chain(tip, level, 3)
        return [Block(*parts, name=self.draw(_SCOPES))], tip

    def to(self, tip: _Tip, shape: Shape) -> tuple[list[Part], _Tip]:
        """Whatever makes one shape of another; nothing where they are equal."""
        rank = len(shape) - 1
        if tip.shape == shape:
            return [], tip
        if len(tip.shape) != len(shape):
            means = (Reshape(1, -1), AdaptiveAvgPool(prod(shape)), Reshape(shape))
            return self.then(tip, *means)
        if not rank:
            return self.then(tip, Linear(shape[0]))
        layers: list[Layer] = []
        if tip.shape[1:] != shape[1:]:
            layers.append(self.draw(st.sampled_from([Upsample(size=shape[1:]), AdaptiveMaxPool(shape[1:])])))
        if tip.shape[0] != shape[0]:
            layers.append(Conv(shape[0], 1, bias=False))
        return self.then(tip, *layers)

    def again(self, tip: _Tip, level: int) -> tuple[Block, _Tip]:
        """A block that keeps the shape, and may be written out several times: it joins only what it has labelled itself."""
        before, self.taps = self.taps, {}
        parts, end = self.chain(evolve(tip, free=False), level, 2)
        more, end = self.to(end, tip.shape)
        self.taps = before | self.taps
        return Block(*parts, *more), end

    def repeat(self, tip: _Tip, level: int) -> tuple[list[Part], _Tip]:
        body, end = self.again(tip, level)
        return [Repeat(body, self.draw(st.integers(1, 3)), name=self.draw(_SCOPES))], end

    def share(self, tip: _Tip, level: int) -> tuple[list[Part], _Tip]:
        self.words += 1
        word = f"shared{self.words}"
        kind = self.draw(st.sampled_from(["twice", "twins", "sizes"]))
        if kind == "sizes" and len(tip.shape) > 1:  # one head on maps of several sizes
            head, smaller = (Conv(tip.shape[0], 3, padding=1), BatchNorm()), MaxPool(1, stride=2)
            _, end = self.then(tip, *head, smaller, *head)
            return [Block(*head, share=word), smaller, Block(*head, share=word)], end
        body, end = self.again(tip, level)
        body = Block(*body.parts, share=word)
        if kind == "twins":
            return [Branch(body, body, merge=Maximum())], end.after(Maximum(), end.shape)
        return [body, body], end

    def branch(self, tip: _Tip, level: int) -> tuple[list[Part], _Tip]:
        start = evolve(tip, free=False)
        parts, end = self.chain(start, level, 2)
        merge, others = self.draw(merges(end.shape))
        ways: list[Part | None] = [Block(*parts)]
        for shape in others:
            if shape == start.shape and self.draw(st.booleans()):
                ways.append(None)
                continue
            parts, way = self.chain(start, level, 2)
            ways.append(Block(*parts, *self.to(way, shape)[0]))
        merge = self.in_place(merge, end)
        return [Branch(*ways, merge=merge)], end.after(merge, *others)

    def residual(self, tip: _Tip, level: int) -> tuple[list[Part], _Tip]:
        start = evolve(tip, free=False)
        parts, end = self.chain(start, level, 3)
        shortcut: Block | None = None
        if self.draw(st.booleans()):
            more, end = self.to(end, tip.shape)
            parts += more
        elif end.shape != tip.shape:
            shortcut = Block(*self.to(start, end.shape)[0])
        merge = self.in_place(Add(), end)
        return [Branch(Block(*parts), shortcut, merge=merge)], end.after(merge, end.shape)

    def in_place(self, merge: Layer, end: _Tip) -> Layer:
        if isinstance(merge, Add) and self.inplace and end.free:
            return Add(inplace=self.draw(st.booleans()))
        return merge

    def tap(self, tip: _Tip, _: int) -> tuple[list[Part], _Tip]:
        label = self.draw(st.sampled_from(["early", "late"]))
        self.taps[label] = tip.shape
        return [Tap(label)], evolve(tip, free=False)

    def join(self, tip: _Tip, _: int) -> tuple[list[Part], _Tip]:
        label = self.draw(st.sampled_from(sorted(self.taps)))
        other = self.taps[label]
        parts, tip = self.to(tip, (tip.shape[0], *other[1:]) if len(tip.shape) == len(other) else other)
        fitting = [Concat(), Add(), Multiply(), Maximum()] if tip.shape == other else [Concat()]
        merge = self.in_place(self.draw(st.sampled_from(fitting)), tip)
        return [*parts, Join(label, merge=merge)], tip.after(merge, other)

    def at(self, tip: _Tip, level: int) -> tuple[list[Part], _Tip]:
        """Goes on from a label, and comes back to where the chain was."""
        self.words += 1
        here, label = f"here{self.words}", self.draw(st.sampled_from(sorted(self.taps)))
        parts, end = self.chain(_Tip(self.taps[label]), level, 2)
        more, end = self.to(end, tip.shape)
        merge = self.in_place(self.draw(st.sampled_from([Concat(), Add(), Multiply(), Maximum()])), end)
        return [Tap(here), At(label), *parts, *more, Join(here, merge=merge)], end.after(merge, tip.shape)

    def output(self, tip: _Tip, level: int) -> tuple[list[Part], _Tip]:
        start = evolve(tip, free=False)
        parts, end = self.chain(start, level, 2) if self.draw(st.booleans()) else ([], start)
        if not end.made:  # an input of the network is no output
            more, end = self.then(end, Identity())
            parts += more
        label = self.draw(st.sampled_from(["side", "aux"]))
        self.taps[label] = end.shape
        return [Output(label, *parts)], start


@st.composite
def blocks(draw: DrawFn, shape: Shape, *, max_parts: int = 5, levels: int = 2, inplace: bool = True) -> Block:
    """Draws nested blocks of every built-in layer that can be applied to a shape.

    They hold named scopes, repetitions, branches, residuals with and without a projection, taps, joins and starts at taps,
    layers that share their parameters, further outputs, and in-place layers; whatever they join they have labelled themselves.
    The labels and the words of sharing of two blocks may be the same.

    Args:
        draw: Given by hypothesis.
        shape: ``(C, *spatial)`` of what the block reads.
        max_parts: The most parts; a part may hold others.
        levels: How deeply parts are nested; 0 makes chains of layers, taps and joins.
        inplace: Whether layers may work in place.

    Returns:
        A block.

    Example:
        >>> from hypothesis import given
        >>> @given(blocks((4, 6, 6)))
        ... def can_be_applied(block):
        ...     assert len(Net.input(4, 6, 6).then(ReLU(), block).network) >= 1
        >>> from cnnbudget import ReLU
        >>> can_be_applied()
    """
    parts, _ = _Writer(draw, {}, inplace=inplace).chain(_Tip(shape), levels, max_parts)
    return Block(*parts, name=draw(_SCOPES))


@st.composite
def graphs(draw: DrawFn, rank: int | None = None, *, max_parts: int = 5, levels: int = 2, inplace: bool = True) -> Net:
    """Draws networks with branches of every built-in layer: what :func:`blocks` draws, behind one input or two.

    Args:
        draw: Given by hypothesis.
        rank: Spatial axes of the inputs; ``None`` for 1 to 3. 0 makes vectors.
        max_parts: The most parts; a part may hold others.
        levels: How deeply parts are nested; 0 makes chains of layers, taps and joins.
        inplace: Whether layers may work in place.

    Returns:
        A net with at least one layer, every node of which is on the way to an output.

    Example:
        >>> from hypothesis import given
        >>> from cnnbudget import Inference
        >>> @given(graphs(rank=2))
        ... def needs_memory(net):
        ...     assert net.profile(Inference()).peak > 0
        >>> needs_memory()
    """
    shape = draw(shapes(rank))
    if draw(st.booleans()):
        name = draw(st.sampled_from(["input", "image", "conv"]))
        net, tip = Net.input(*shape, name=name), _Tip(shape)
        writer = _Writer(draw, {name: shape}, inplace=inplace)
    else:
        merge, (other,) = draw(merges(shape, count=1))
        net, tip = Net.inputs(image=shape, depth=other).join("depth", merge=merge), _Tip(shape).after(merge, other)
        writer = _Writer(draw, {"image": shape, "depth": other}, inplace=inplace)
    parts, tip = writer.chain(tip, levels, max_parts)
    return net.then(*parts) if tip.made else net.then(*parts, Identity())
