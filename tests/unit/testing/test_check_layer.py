"""check_layer refuses every broken rule by name, and accepts every built-in layer."""

from typing import Any, ClassVar

import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Alias,
    AvgPool,
    BatchNorm,
    ConformanceError,
    Conv,
    Dropout,
    ElementwiseLayer,
    Flatten,
    GlobalAvgPool,
    InvalidTypeError,
    InvalidValueError,
    Layer,
    Linear,
    LocalResponseNorm,
    MaxPool,
    ReLU,
    Role,
    Saved,
    ShapeError,
    Sigmoid,
    Softmax,
    StatelessLayer,
    Tanh,
    TensorSpec,
)
from cnnbudget.testing import check_layer
from cnnbudget.testing.strategies import layers, shapes

BUILT_IN = [
    (Conv(8, 3, padding="same"), (3, 9, 9)),
    (Conv(8, (3, 1), stride=2, padding=((1, 0), (0, 1)), groups=2, bias=False), (4, 9, 9)),
    (Linear(3), (7,)),
    (MaxPool(2, ceil_mode=True), (3, 5)),
    (AvgPool(3, stride=2, padding=1), (3, 5, 5, 5)),
    (GlobalAvgPool(), (3, 5, 5)),
    (GlobalAvgPool(keepdims=True), (3, 5, 5)),
    (Flatten(), (3, 4)),
    (ReLU(), (3,)),
    (ReLU(inplace=True), (3, 4)),
    (Sigmoid(), (3, 4)),
    (Tanh(), (3, 4)),
    (Softmax(axis=-2), (3, 4)),
    (Dropout(), (3, 4)),
    (Dropout(0), (3, 4)),
    (BatchNorm(), (3, 4)),
    (BatchNorm(affine=False, track_running_stats=False), (3, 4)),
    (LocalResponseNorm(), (3, 4, 4)),
]


@pytest.mark.parametrize(("layer", "shape"), BUILT_IN, ids=str)
def test_built_in_layers_conform(layer: Layer, shape: tuple[int, ...]) -> None:
    check_layer(layer, shape)


@given(shapes().flatmap(lambda shape: st.tuples(layers(shape), st.just(shape))))
def test_drawn_layers_conform(case: tuple[Layer, tuple[int, ...]]) -> None:
    check_layer(*case)


@frozen(repr=False)
class Good(ElementwiseLayer):
    """Conforms; each class below breaks one rule."""


@frozen(repr=False)
class HoldsList(ElementwiseLayer):
    sizes: list[int] = field(factory=list)


@frozen(repr=False)
class HoldsLambda(ElementwiseLayer):
    function: Any = field(factory=lambda: lambda x: x)


@frozen(repr=False, eq=False)
class ComparesByIdentity(ElementwiseLayer):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@frozen
class ShowsAddress(ElementwiseLayer):
    def __repr__(self) -> str:
        return f"<ShowsAddress {id(self)}>"


@frozen(repr=False)
class CannotEvolve(ElementwiseLayer):
    size: int = field(default=3, kw_only=True)

    def evolve(self, **changes: Any) -> "CannotEvolve":
        return CannotEvolve(size=self.size + 1)


@frozen(repr=False)
class Thawed(ElementwiseLayer):
    size: int = 3


Thawed.__setattr__ = object.__setattr__  # type: ignore[method-assign, assignment]


class NotDecorated(ElementwiseLayer):
    pass


@frozen(repr=False)
class BadArity(ElementwiseLayer):
    arity: ClassVar[int | None] = 0


@frozen(repr=False)
class BadWord(ElementwiseLayer):
    word: ClassVar[str | None] = "a/b"


@frozen(repr=False)
class InfersNothing(StatelessLayer):
    def infer(self, inputs: Any) -> Any:
        return None


@frozen(repr=False)
class InfersParameter(StatelessLayer):
    def infer(self, inputs: Any) -> Any:
        return TensorSpec((3,), Role.PARAMETER)


@frozen(repr=False)
class InferFails(StatelessLayer):
    def infer(self, inputs: Any) -> Any:
        return {}[inputs[0].shape]


_COUNTER = iter(range(1, 10**9))


@frozen(repr=False)
class InfersAtRandom(StatelessLayer):
    def infer(self, inputs: Any) -> Any:
        return TensorSpec((next(_COUNTER),))


_SEEN: dict[int, tuple[int, ...]] = {}


@frozen(repr=False)
class InfersByIdentity(StatelessLayer):
    """The same answer for the same objects, and another one for equal objects."""

    def infer(self, inputs: Any) -> Any:
        _KEPT.append(inputs)
        return TensorSpec(_SEEN.setdefault(id(inputs[0]), (len(_SEEN) + 1,)))


_KEPT: list[Any] = []  # so that no id is given out twice


@frozen(repr=False)
class Answers(ElementwiseLayer):
    """Answers whatever it is told for one fact."""

    fact: str
    answer: Any

    def _of(self, fact: str, usual: Any) -> Any:
        return self.answer if self.fact == fact else usual

    def parameters(self, inputs: Any) -> Any:
        return self._of("parameters", {})

    def buffers(self, inputs: Any) -> Any:
        return dict(self._of("buffers", ()))

    def macs(self, inputs: Any, output: Any) -> Any:
        return self._of("macs", 0)

    def saved(self, inputs: Any, output: Any) -> Any:
        return self._of("saved", Saved())

    def extras(self, inputs: Any, output: Any) -> Any:
        answer = self._of("extras", ())
        return None if answer is None else dict(answer)

    def alias(self, inputs: Any, output: Any, *, training: bool) -> Any:
        return self._of("alias", None)

    def workspace(self, inputs: Any, output: Any) -> Any:
        return self._of("workspace", None)


@frozen(repr=False)
class NamesTwice(ElementwiseLayer):
    def parameters(self, inputs: Any) -> Any:
        return {"mean": (3,)}

    def extras(self, inputs: Any, output: Any) -> Any:
        return {"mean": TensorSpec((3,), Role.EXTRA)}


@frozen(repr=False)
class BadParameters(ElementwiseLayer):
    """Holds pairs, not a mapping, so that it stays hashable."""

    pairs: tuple[Any, ...]

    def parameters(self, inputs: Any) -> Any:
        return dict(self.pairs)


@frozen(repr=False)
class GrowingView(StatelessLayer):
    def infer(self, inputs: Any) -> Any:
        return TensorSpec((inputs[0].element_count + 1,))

    def alias(self, inputs: Any, output: Any, *, training: bool) -> Any:
        return Alias()


@frozen(repr=False)
class KeepsWhatItOverwrites(ElementwiseLayer):
    def alias(self, inputs: Any, output: Any, *, training: bool) -> Any:
        return Alias(in_place=True)


@frozen(repr=False)
class BareIndexError(StatelessLayer):
    def infer(self, inputs: Any) -> Any:
        return TensorSpec((inputs[0].shape[2], inputs[0].shape[0], inputs[0].shape[1]))


@frozen(repr=False)
class RefusesOtherRanks(BareIndexError):
    def infer(self, inputs: Any) -> Any:
        if len(inputs[0].shape) != 3:
            raise ShapeError("RefusesOtherRanks takes images", got=str(inputs[0].shape))
        return BareIndexError.infer(self, inputs)


@frozen(repr=False)
class WrongOnVectors(ElementwiseLayer):
    def infer(self, inputs: Any) -> Any:
        return inputs[0] if len(inputs[0].shape) > 1 else None


@frozen(repr=False)
class Unpacks(StatelessLayer):
    arity: ClassVar[int | None] = None

    def infer(self, inputs: Any) -> Any:
        left, _ = inputs
        return left


_CALLS: list[object] = []


@frozen(repr=False)
class FailsInANetwork(ElementwiseLayer):
    """Answers well when it is asked directly, and fails when a network asks."""

    def extras(self, inputs: Any, output: Any) -> Any:
        _CALLS.append(inputs)
        if len(_CALLS) > 3:
            raise ZeroDivisionError("late")
        return {}


IMAGE = (4, 5, 6)


def test_the_good_ones_are_good() -> None:
    check_layer(Good(), IMAGE)
    check_layer(RefusesOtherRanks(), IMAGE)
    check_layer(Answers("workspace", TensorSpec((3,), Role.WORKSPACE)), IMAGE)
    check_layer(Answers("alias", Alias()), IMAGE)
    check_layer(BadParameters((("weight", (3,)), ("bias", ()))), IMAGE)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Good, r"check_layer takes a layer: got <class .*Good'>, expected an instance; call it: Good\(\.\.\.\)"),
        (
            "conv",
            r"check_layer takes a layer: got 'conv', expected an instance; derive its class from cnnbudget\.Layer",
        ),
        (NotDecorated(), r"NotDecorated is no attrs class of its own; decorate it: @attrs\.frozen class NotDecorated"),
        (BadArity(), r"BadArity\.arity is no number of inputs: got 0, expected an int from 1, or None"),
        (BadWord(), r"BadWord\.word cannot name a node: got 'a/b'"),
        (HoldsList(), r"HoldsList is not hashable \(at HoldsList\(\[\]\) on \(4, 5, 6\)\): got unhashable.*converter"),
        (HoldsLambda(), r"HoldsLambda cannot be pickled .* define the class at the top of a module"),
        (ComparesByIdentity(), r"ComparesByIdentity differs from its pickled copy in ==, hash\(\) or repr\(\)"),
        (ShowsAddress(), r"ShowsAddress differs from its pickled copy"),
        (CannotEvolve(), r"CannotEvolve differs from evolve\(\) without a change"),
        (Thawed(), r"Thawed is not frozen: 'size' can be assigned .*attrs\.frozen"),
        (InfersNothing(), r"InfersNothing\.infer returned no spec of an output .*: got None, expected a TensorSpec"),
        (InfersParameter(), r"InfersParameter\.infer returned no spec of an output .* the role of an activation"),
        (InferFails(), r"InferFails\.infer raised KeyError .*: got \(4, 5, 6\), expected an answer"),
        (Linear(3), r"Linear\.infer raised ShapeError .*Linear does not take this shape"),
        (InfersAtRandom(), r"InfersAtRandom\.infer answers differently when it is asked again"),
        (
            InfersByIdentity(),
            r"InfersByIdentity\.infer answers differently .* from the layer's fields and the inputs alone",
        ),
        (Answers("parameters", None), r"Answers does not state its parameters .* implement Answers\.parameters\(\)"),
        (Answers("macs", None), r"Answers does not state its macs .* derive from StatelessLayer"),
        (Answers("extras", None), r"Answers does not state its extras"),
        (Answers("parameters", 3), r"Answers\.parameters is no mapping .*: got 3, expected a mapping from names"),
        (Answers("macs", 3.5), r"Answers\.macs is no count .*: got 3\.5, expected an int, zero or more"),
        (Answers("macs", -1), r"Answers\.macs is no count .*: got -1"),
        (Answers("macs", True), r"Answers\.macs is no count .*: got True"),
        (BadParameters(((3, (3,)),)), r"BadParameters\.parameters uses a name that cannot be used .*: got 3"),
        (BadParameters((("", (3,)),)), r"uses a name that cannot be used"),
        (
            BadParameters((("weight.grad", (3,)),)),
            r"a name that cannot be used .*got weight\.grad, expected .* not end in grad",
        ),
        (
            BadParameters((("weight", (0,)),)),
            r"BadParameters\.parameters\['weight'\] is no shape .*expected a tuple of pos",
        ),
        (Answers("buffers", (("mean", 5),)), r"Answers\.buffers\['mean'\] is no shape"),
        (NamesTwice(), r"NamesTwice\.extras uses a name that parameters uses .*: got mean"),
        (
            Answers("extras", (("mask", (3,)),)),
            r"Answers\.extras\['mask'\] is no extra .*expected TensorSpec\(shape, Role\.EXTRA",
        ),
        (Answers("extras", (("mask", TensorSpec((3,))),)), r"Answers\.extras\['mask'\] is no extra"),
        (Answers("saved", None), r"Answers\.saved is not legal .*: got None, expected a Saved with different inputs"),
        (Answers("saved", Saved((1,))), r"Answers\.saved is not legal .* from 0 to 0"),
        (Answers("saved", Saved((0, 0))), r"Answers\.saved is not legal"),
        (Answers("saved", Saved((-1,))), r"Answers\.saved is not legal"),
        (Answers("saved", Saved(0)), r"Answers\.saved is not legal"),  # type: ignore[arg-type]
        (Answers("saved", Saved((), 1)), r"Answers\.saved is not legal"),  # type: ignore[arg-type]
        (
            Answers("alias", 0),
            r"Answers\.alias is no input of the layer .*: got 0, expected None, or an Alias of input 0 to 0",
        ),
        (Answers("alias", Alias(1)), r"Answers\.alias is no input of the layer"),
        (Answers("alias", Alias("0")), r"Answers\.alias is no input of the layer"),  # type: ignore[arg-type]
        (GrowingView(), r"GrowingView\.alias states a view that is larger .*: got 121 elements in a storage of 120"),
        (KeepsWhatItOverwrites(), r"KeepsWhatItOverwrites keeps an input for backward that it overwrites"),
        (Answers("workspace", 5), r"Answers\.workspace is no spec .*: got 5, expected None, or a TensorSpec"),
        (
            BareIndexError(),
            r"meets other inputs \(rank 1\) with a bare IndexError .*ShapeError, or an answer; check the inputs",
        ),
        (WrongOnVectors(), r"WrongOnVectors answers wrongly on other inputs \(rank 1\)"),
        (FailsInANetwork(), r"Training\(.*\) of a network with FailsInANetwork raised ZeroDivisionError .*: got late"),
    ],
    ids=str,
)
def test_it_says_what_is_broken(layer: Any, text: str) -> None:
    _CALLS.clear()
    with pytest.raises(ConformanceError, match=text) as caught:
        check_layer(layer, IMAGE)
    assert caught.value.got is not None or caught.value.hint is not None


def test_it_tries_other_numbers_of_inputs() -> None:
    with pytest.raises(ConformanceError, match=r"Unpacks meets other inputs \(one more input\) with a bare ValueError"):
        check_layer(Unpacks(), IMAGE, IMAGE)


def test_the_cause_is_chained() -> None:
    with pytest.raises(ConformanceError) as caught:
        check_layer(InferFails(), IMAGE)
    assert isinstance(caught.value.__context__, KeyError)


def test_the_caller_may_be_wrong_too() -> None:
    with pytest.raises(InvalidValueError, match=r"needs a shape for each input of the layer: got 0 shapes, expected 1"):
        check_layer(Good())
    with pytest.raises(InvalidValueError, match=r"got 2 shapes, expected 1"):
        check_layer(Good(), IMAGE, IMAGE)
    with pytest.raises(InvalidValueError, match=r"got 0 shapes, expected one or more"):
        check_layer(Unpacks())
    with pytest.raises(InvalidTypeError, match=r"input shape 0 must be a tuple of ints: got 5"):
        check_layer(Good(), 5)  # type: ignore[arg-type]
    with pytest.raises(InvalidValueError, match=r"input shape 0, axis 1 is out of range"):
        check_layer(Good(), (3, 0))
