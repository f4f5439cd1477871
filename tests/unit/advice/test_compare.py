"""Networks side by side."""

from typing import Any

import pytest
from attrs import frozen

from cnnbudget import (
    FP16,
    BatchNorm,
    Block,
    Conv,
    Flatten,
    GlobalAvgPool,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    KeepAll,
    Linear,
    MaxPool,
    Net,
    ReLU,
    StatelessLayer,
    Training,
    UnknownNameError,
)
from cnnbudget.advice.compare import compare

BODY = Block(ReLU(), Conv(8, 3, padding=1), BatchNorm(), ReLU(), Conv(8, 3, padding=1))
START = Net.input(3, 16, 12).then(Conv(8, 3, stride=(2, 1), padding=1))
HEAD = Block(MaxPool(2), Flatten(), Linear(10))
PLAIN = START.then(BODY, HEAD)
RESIDUAL = START.residual(BODY).then(HEAD)


def facts(table: Any, name: str) -> dict[str, Any]:
    return {row["fact"]: row[name] for row in table.rows()}


def test_plain_against_residual() -> None:
    table = compare(PLAIN.network, RESIDUAL.network, names=["plain", "residual"])
    plain, residual = facts(table, "plain"), facts(table, "residual")
    differ = {fact for fact in plain if plain[fact] != residual[fact]}
    assert {"skip connections", "identity skips", "shortest gradient path"} <= differ
    assert "parameters" not in differ
    assert (plain["shortest gradient path"], residual["shortest gradient path"]) == (4, 2)
    assert plain["shortest path without skips"] == residual["shortest path without skips"] == 4
    assert plain["input"] == (3, 16, 12)
    assert plain["receptive field at the end"] == (13, 8)  # 3, 7, 11 and 13; 3, 5, 7 and 8
    assert plain["effective stride at the end"] == (4, 2)
    assert plain["inference peak, batch 1"] == PLAIN.profile(Inference()).peak
    assert plain["training peak, batch 32"] == PLAIN.profile(Training(32, retention=KeepAll())).peak
    assert plain["normalisation: BatchNorm"] == 1
    assert table["plain"].structure.depth == 4
    assert [column.name for column in table] == ["plain", "residual"]
    assert len(table) == 2


def test_text_and_html() -> None:
    table = compare(PLAIN.network, RESIDUAL.network)
    text = str(table)
    assert text.splitlines()[0].split() == ["fact", "network", "1", "network", "2"]
    rows = {line[:37].strip(): line[37:].split() for line in text.splitlines()[2:]}
    assert rows["receptive field at the end"] == ["13x8", "13x8"]
    assert rows["input"] == ["3x16x12", "3x16x12"]
    assert rows["branches of a module"] == ["-", "-"]
    assert rows["share of dense layers"][1] == "%"
    assert "network 2</th>" in table._repr_html_()


def test_four_networks_fit_in_a_hundred_columns() -> None:
    """The widest figures that there are: a VGG-like head, and maps in gibibytes."""
    wide = Net.input(3, 224, 224).then(
        Conv(64, 3, padding=1), Conv(64, 3, padding=1), MaxPool(2), Flatten(), Linear(1000)
    )
    assert wide.mac_count > 10**9
    table = compare(*[wide.network] * 4, names=["LeNet-5", "AlexNet", "GoogLeNet", "ResNet-50 again"])
    assert max(map(len, str(table).splitlines())) <= 100


def test_kinds_that_one_network_lacks_are_zero() -> None:
    table = compare(
        {"a": START.then(BatchNorm(), MaxPool(2)).network, "b": START.then(ReLU(), GlobalAvgPool()).network}
    )
    kinds = {row["fact"]: (row["a"], row["b"]) for row in table.rows() if ":" in row["fact"]}
    assert kinds == {
        "normalisation: BatchNorm": (1, 0),
        "pooling: MaxPool": (1, 0),
        "pooling: GlobalAvgPool": (0, 1),
        "activation: ReLU": (0, 1),
    }
    assert [*kinds] == [
        "normalisation: BatchNorm",
        "pooling: MaxPool",
        "pooling: GlobalAvgPool",
        "activation: ReLU",
    ]


def test_scenarios_may_be_told() -> None:
    inference, training = Inference(4, precision=FP16), Training(8, retention=KeepAll(gradients=False))
    table = compare({"a": PLAIN.network}, inference=inference, training=training)
    assert facts(table, "a")["inference peak, batch 4"] == PLAIN.profile(inference).peak
    assert facts(table, "a")["training peak, batch 8"] == PLAIN.profile(training).peak
    with pytest.raises(InvalidValueError, match=r"inference= is another kind of scenario: got Training.*an Inference"):
        compare(PLAIN.network, inference=training)
    with pytest.raises(InvalidValueError, match=r"training= is another kind of scenario: got Inference.*a Training"):
        compare(PLAIN.network, training=inference)
    with pytest.raises(InvalidTypeError, match=r"needs a scenario"):
        compare(PLAIN.network, training=Training)  # type: ignore[arg-type]


@frozen(repr=False)
class Odd(StatelessLayer):
    def infer(self, inputs: Any) -> Any:
        return inputs[0]


def test_what_is_unknown_and_what_is_not_there() -> None:
    mlp = Net.input(8).then(Linear(4))
    table = compare({"odd": START.then(Odd()).network, "mlp": mlp.network})
    assert facts(table, "odd")["receptive field at the end"] is None
    assert facts(table, "mlp")["receptive field at the end"] == ()
    (line,) = [line for line in str(table).splitlines() if line.startswith("receptive field")]
    assert line.split()[-2:] == ["?", "-"]


def test_several_inputs() -> None:
    net = Net.inputs(image=(3, 8, 8), depth=(1, 8, 8)).join("depth").then(Conv(2, 3))
    table = compare({"two": net.network})
    assert facts(table, "two")["input"] == ((3, 8, 8), (1, 8, 8))
    assert "3x8x8, 1x8x8" in str(table)


def test_names() -> None:
    one = PLAIN.network
    assert [column.name for column in compare(one, one)] == ["network 1", "network 2"]
    with pytest.raises(UnknownNameError, match=r"no network has this name: got 'plane'; did you mean 'plain'\?"):
        compare(one, names=["plain"])["plane"]
    for names in (["a"], ["a", "a"], ["a", "fact"], ["a", ""], []):
        with pytest.raises(
            InvalidValueError, match=r"names do not fit: got .*, expected 2 different ones, none of them empty"
        ):
            compare(one, one, names=names)
    for wrong in ("ab", [1, 2], 5):
        with pytest.raises(InvalidTypeError, match=r"names must be a list of str"):
            compare(one, one, names=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"names must be a list of str"):
        compare({1: one})  # type: ignore[dict-item]
    with pytest.raises(InvalidValueError, match=r"names twice: got a mapping and names="):
        compare({"a": one}, names=["b"])


def test_what_is_no_network() -> None:
    for nothing in ((), ({},)):
        with pytest.raises(InvalidValueError, match=r"compare\(\) needs networks: got none"):
            compare(*nothing)
    for wrong in (PLAIN, {"a": PLAIN}, "resnet50"):
        with pytest.raises(InvalidTypeError, match=r"compare\(\) takes a network: got .*a Net has \.network"):
            compare(wrong)  # type: ignore[arg-type]
