"""Values and answers that once got through unchecked, each with the clear error that it gets now."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attrs import frozen

from cnnbudget import (
    BF16,
    FLOAT16,
    FLOAT32,
    FP16,
    ConformanceError,
    Conv,
    DataParallel,
    DType,
    ElementwiseLayer,
    Footprint,
    ForwardPass,
    FreeAfterUse,
    HalfPrecision,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    LargerStride,
    Net,
    Network,
    Phase,
    Precision,
    ReLU,
    Remedy,
    RemoveLayer,
    Retention,
    Role,
    Schedule,
    ScheduleBuilder,
    SharedStorageError,
    SmallerBatch,
    Step,
    TensorSpec,
    rename,
    replace_layers,
    swap_head,
)

NET = Net.input(3, 8, 8).then(Conv(4, 3), ReLU())
TABLE = NET.costs()


def test_numpy_batches_do_not_wrap():
    table = Net.input(3, 200, 300).then(Conv(100, 3, stride=2, padding="same")).costs()
    assert table["conv"].activation_bytes(np.int32(50)) == table["conv"].activation_bytes(np.uint8(50)) == 300_000_000
    lifetimes = NET.profile(Inference()).lifetimes
    assert lifetimes.live_bytes(np.int16(30_000)) == lifetimes.live_bytes(30_000)
    assert DataParallel(2).share(np.uint8(5)) == 3
    assert DataParallel(300).largest_batch(np.uint8(200)) == 60_000


class Mistaken(Retention):
    """A policy that makes something wrong of a good schedule."""

    serves_inference = True
    serves_training = False

    def __init__(self, spoil):
        object.__setattr__(self, "spoil", spoil)

    def schedule(self, table, scenario):
        return self.spoil(FreeAfterUse().schedule(table, scenario))


@frozen
class Nothing(Remedy):
    """A remedy that forgets to answer."""

    cure = "nothing"
    reason = "none"
    severity = 3

    def apply(self, network, scenario):
        return None

    def describe(self, network, scenario):
        return "nothing"


@frozen
class Numbered(ElementwiseLayer):
    """A layer whose word is no word."""

    word = 3


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: TABLE["conv"].activation_bytes(-1), InvalidValueError, "batch is out of range: got -1"),
        (lambda: TABLE["conv"].activation_bytes(True), InvalidTypeError, r"batch must be an int: got True \(bool\)"),
        (
            lambda: TABLE["conv"].activation_bytes(1, "fp16"),
            InvalidTypeError,
            "precision must be a Precision: got 'fp16'",
        ),
        (lambda: DataParallel(2).share(1.5), InvalidTypeError, r"batch must be an int: got 1.5 \(float\)"),
        (lambda: FP16["buffer"], InvalidTypeError, "a precision is asked for a role: got 'buffer'"),
        (lambda: Precision(5, FLOAT32), InvalidTypeError, "Precision.name must be a str: got 5"),
        (
            lambda: Precision("x", FLOAT32, [(Role.BUFFER, FLOAT16), (Role.BUFFER, FLOAT32)]),
            InvalidValueError,
            "Precision.dtypes names a role twice",
        ),
        (lambda: DType(5, 8), InvalidTypeError, "DType.name must be a str: got 5"),
        (lambda: Footprint("a"), InvalidTypeError, r"Footprint.fixed must be an int: got 'a' \(str\)"),
        (lambda: TensorSpec((3,), "x"), InvalidTypeError, "TensorSpec.role must be a role: got 'x'"),
        (
            lambda: TensorSpec((3,), dtype="float32"),
            InvalidTypeError,
            "TensorSpec.dtype must be a DType: got 'float32'",
        ),
        (lambda: TensorSpec((3,), batched=1), InvalidTypeError, "TensorSpec.batched must be a bool: got 1"),
        (lambda: LargerStride(5, 2), InvalidTypeError, "LargerStride.node must be a str: got 5"),
        (lambda: RemoveLayer(None), InvalidTypeError, "RemoveLayer.node must be a str: got None"),
        (lambda: Net.input(3).then(Numbered()).network, ConformanceError, "Numbered.word is no word: got 3"),
        (
            lambda: Network.from_nodes([("x", (3,))], [], ["x"]),
            InvalidTypeError,
            r"from_nodes\(\) takes inputs as a mapping",
        ),
        (
            lambda: Network.from_nodes({"x": (3,)}, 5, ["x"]),
            InvalidTypeError,
            r"nodes of from_nodes\(\) must be a list or tuple",
        ),
        (
            lambda: Network.from_nodes({"x": (3,)}, [("a", ReLU())], ["a"]),
            InvalidTypeError,
            r"from_nodes\(\) cannot read a node: got \('a', ReLU\(\)\), expected a Node, or \(name, layer, inputs\)",
        ),
        (lambda: rename(NET.network, 5), InvalidTypeError, r"rename\(\) takes a mapping: got 5"),
        (
            lambda: replace_layers(NET.network, 5, 6),
            InvalidTypeError,
            r"replace_layers\(\) takes two functions: got 5, 6",
        ),
        (lambda: swap_head(NET.network, "relu", 5), InvalidTypeError, r"swap_head\(\) takes layers and blocks: got 5"),
        (lambda: NET.fit(1000, Inference(), remedies=5), InvalidTypeError, "remedies must be remedies: got 5"),
        (
            lambda: NET.fit(1000, Inference(), remedies=SmallerBatch(1)),
            InvalidTypeError,
            r"remedies must be remedies: got SmallerBatch\(batch=1\), expected a list",
        ),
        (
            lambda: NET.fit(1000, Inference()).best_of(5),
            InvalidTypeError,
            r"best_of\(\) takes a class of remedies: got 5",
        ),
        (lambda: ScheduleBuilder(5), InvalidTypeError, "ScheduleBuilder takes a precision: got 5"),
        (lambda: ForwardPass(TABLE, 5), InvalidTypeError, "ForwardPass takes a scenario: got 5"),
        (
            lambda: FreeAfterUse().schedule(TABLE, Inference()).hold([]),
            KeyError,
            r"no storage has this name: got \[\]",
        ),
        (
            lambda: NET.profile(Inference(retention=Mistaken(lambda schedule: None))),
            ConformanceError,
            "a retention policy returned no schedule: got None",
        ),
        (
            lambda: NET.profile(
                Inference(
                    retention=Mistaken(lambda s: Schedule(s.storages, (*s.steps, Step(Phase.LOSS, None, (999,)))))
                )
            ),
            ConformanceError,
            r"a step names a storage that does not exist \(at step 3, loss\): got 999, expected a number from 0 to 4",
        ),
        (
            lambda: NET.profile(
                Inference(retention=Mistaken(lambda s: Schedule(s.storages, s.steps, frozenset({10**6}))))
            ),
            ConformanceError,
            "a schedule holds a storage that does not exist: got 1000000",
        ),
        (
            lambda: (
                Net.input(3, 8, 8)
                .then(ReLU(inplace=True), Conv(2, 3))
                .profile(Inference(retention=FreeAfterUse(hold_input=True)))
            ),
            SharedStorageError,
            "got value 'input': whoever called the network keeps it",
        ),
    ],
)
def test_it_is_refused_clearly(make, error, text):
    with pytest.raises(error, match=text):
        make()


@frozen
class Buffered(ElementwiseLayer):
    """A layer that states its buffers in some way."""

    stated: object

    def buffers(self, inputs):
        return self.stated


def test_buffers_are_stated_by_shape_or_spec():
    spec = TensorSpec((), Role.BUFFER, batched=False)
    net = Net.input(3).then(Buffered({"mean": (3,), "list": [2], "count": spec}))
    assert net.buffer_count == 3 + 2 + 1
    for wrong in ({"mean": 3}, {"mean": (0,)}, [("mean", (3,))], {"mean": "x"}):
        with pytest.raises(ConformanceError, match=r"Buffered\.buffers returned something else"):
            Net.input(3).then(Buffered(wrong)).costs()


def test_a_remedy_that_answers_nothing_is_noted():
    (note,) = [note for note in NET.fit(1000, Inference(), remedies=[Nothing()]).notes if "Nothing" in note]
    assert note.startswith("Nothing() cannot be applied: Nothing.apply returned something else: got None")


def test_the_price_of_16_bits_depends_on_the_format():
    advice = NET.fit(
        1000, Inference(), remedies=[HalfPrecision(BF16), HalfPrecision(Precision("half", DType("posit16", 16)))]
    )
    prices = {
        option.remedy.precision.name: str(option.price)
        for option in advice.options
        if isinstance(option.remedy, HalfPrecision)
    }
    assert prices == {
        "FP16": "rounding to 11 significant bits, range up to 65,504",
        "BF16": "rounding to 8 significant bits, the range of 32 bits",
        "half": "rounding to posit16",
    }


def test_an_option_computes_its_profile_when_asked():
    option = NET.fit(1000, Inference()).options[0]
    assert option.profile().peak == option.peak


def test_a_net_with_labels_alone_is_a_value_and_prints():
    net = Net.input(3, 8, 8).output("aux").tap("here")
    assert net == net.tap("there") != Net.input(3, 8, 9).output("aux")
    assert hash(net) == hash(net.tap("there"))
    assert str(net) == repr(net)
    assert "Net.input" in net._repr_html_()


def test_steps_and_phases_print_as_one_writes_them():
    assert eval(repr(Step(Phase.FORWARD, "conv", (1,), (2,)))) == Step(Phase.FORWARD, "conv", (1,), (2,))


def test_an_exception_of_a_foreign_layer_says_where():
    @frozen
    class Broken(ElementwiseLayer):
        def parameters(self, inputs):
            raise KeyError("weight")

    with pytest.raises(KeyError) as caught:
        Net.input(3, 8, 8).then(Broken()).costs()
    assert caught.value.__notes__ == ["raised by Broken at node 'broken', Broken() on (3, 8, 8)"]


def test_long_chains_in_place_are_linear():
    net = Net.input(3, 8, 8).then(Conv(4, 3)).repeat(ReLU(inplace=True), 20_000)
    assert net.profile(Inference()).activation_peak == 4 * (3 * 64 + 4 * 36)


def test_an_answer_that_cannot_be_written_is_one_line():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with full.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "cnnbudget", "textbook"],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == "cnnbudget: cannot write the answer: No space left on device\n"
