"""The walk, the visitors, the cost table and the sharing of storage."""

from typing import Any

import pytest
from acme_layers import Add, Forgetful
from attrs import frozen

from cnnbudget import (
    FP16,
    Alias,
    BatchNorm,
    CnnBudgetError,
    ConformanceError,
    Conv,
    Dropout,
    ElementwiseLayer,
    Flatten,
    Inference,
    Input,
    InvalidTypeError,
    Linear,
    MaxPool,
    MissingRuleError,
    Net,
    Network,
    Node,
    ReLU,
    Saved,
    ShapeError,
    SharedStorageError,
    Sigmoid,
    StatelessLayer,
    TensorSpec,
    Training,
    Use,
    Visitor,
    costs,
    dense_equivalent,
    profile,
    specs,
    visits,
    walk,
)
from cnnbudget.analysis.storage import sharing


class Kind(Visitor[str]):
    def start(self, source: Input) -> str:
        return "input"

    def visit(self, use: Use[str]) -> str:
        return "other"

    @visits(Conv, Linear)
    def weighted(self, use: Use[str]) -> str:
        assert isinstance(use.layer, (Conv, Linear))
        return "weighted"


class LouderKind(Kind):
    def weighted(self, use: Use[str]) -> str:  # overrides the rule without saying again for what
        return "WEIGHTED"

    @visits(Linear)
    def linear(self, use: Use[str]) -> str:
        return "LINEAR"


@frozen(repr=False)
class Special(Conv):
    pass


def test_rules_follow_classes_and_subclasses_of_visitors() -> None:
    net = Net.input(3, 4).then(Special(2, 1), ReLU(), Flatten(), Linear(1))
    assert [*walk(net.network, Kind()).values()] == ["input", "weighted", "other", "other", "weighted"]
    assert [*walk(net.network, LouderKind()).values()] == ["input", "WEIGHTED", "other", "other", "LINEAR"]


def test_visitors_see_what_was_answered_before() -> None:
    class Sources(Visitor[frozenset[str]]):
        def start(self, source: Input) -> frozenset[str]:
            return frozenset({source.name})

        def visit(self, use: Use[frozenset[str]]) -> frozenset[str]:
            return frozenset().union(*use.results)

    network = Network(
        [Input("x", (3, 4)), Input("y", (3, 4))],
        [Node("a", ReLU(), ["x"]), Node("sum", Add(), ["a", "y"]), Node("b", ReLU(), ["x"])],
        ["sum"],
    )
    answers = walk(network, Sources())
    assert answers["a"] == answers["b"] == {"x"}
    assert answers["sum"] == {"x", "y"}


@pytest.mark.parametrize("bad", [(), (int,), (Conv(3, 1),), (Conv, "Linear")])
def test_visits_takes_classes_of_layers(bad: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidTypeError, match=r"visits\(\) takes classes of layers: got .*@visits\(Conv, Linear\)"):
        visits(*bad)


def test_bad_arguments_of_a_walk() -> None:
    net = Net.input(3, 4).then(ReLU())
    for question in (lambda: walk(net, Kind()), lambda: specs(net), lambda: dense_equivalent(net), lambda: costs(net)):  # type: ignore[arg-type]
        with pytest.raises(InvalidTypeError, match=r"takes a network: got Net\.input.*a Net has \.network"):
            question()
    with pytest.raises(InvalidTypeError, match=r"walk\(\) needs a visitor: got <class .*Kind'>"):
        walk(net.network, Kind)  # type: ignore[arg-type]


def test_errors_name_the_place_once() -> None:
    with pytest.raises(ShapeError) as caught:
        Net.input(3, 8, 8).then(Conv(4, 3), name="stem").then(Linear(10))
    assert caught.value.where == "node 'linear', Linear(10) on (4, 6, 6)"
    assert str(caught.value).count("linear") == 1
    network = Network([Input("x", (3,)), Input("y", (3,))], [Node("a", ReLU(), ["x", "y"])], ["a"])
    with pytest.raises(ShapeError, match=r"ReLU takes 1 input \(at node 'a', ReLU\(\) on \(3,\), \(3,\)\): got 2"):
        specs(network)


@frozen(repr=False)
class Raises(StatelessLayer):
    error: type[Exception]

    def infer(self, inputs: Any) -> Any:
        raise self.error("oh")


@frozen(repr=False)
class Infers(StatelessLayer):
    answer: Any

    def infer(self, inputs: Any) -> Any:
        return self.answer


def test_foreign_errors_keep_their_class_and_get_a_note() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        Net.input(3, 4).then(Raises(ZeroDivisionError))
    # The part is walked alone and then in its place; the place is noted.
    assert caught.value.__notes__[0].startswith("raised by Raises.infer at node 'raises', Raises(")


@pytest.mark.parametrize("answer", [None, (3, 4), TensorSpec(())])
def test_an_answer_that_is_no_spec(answer: Any) -> None:
    with pytest.raises(ConformanceError, match=r"Infers\.infer returned no spec of an output \(at node 'infers'"):
        Net.input(3, 4).then(Infers(answer))


@frozen(repr=False)
class Facts(ElementwiseLayer):
    fact: str
    answer: Any

    def parameters(self, inputs: Any) -> Any:
        if self.fact == "raises":
            raise CnnBudgetError("no parameters on a Monday")
        return self.answer if self.fact == "parameters" else {}

    def macs(self, inputs: Any, output: Any) -> Any:
        return self.answer if self.fact == "macs" else 0

    def alias(self, inputs: Any, output: Any, *, training: bool) -> Any:
        return self.answer if self.fact in {"alias", "saved"} else None

    def saved(self, inputs: Any, output: Any) -> Any:
        return None if self.fact == "saved" else Saved()

    def extras(self, inputs: Any, output: Any) -> Any:
        return self.answer if self.fact == "extras" else {}


@pytest.mark.parametrize(
    ("fact", "answer", "text"),
    [
        (
            "parameters",
            {"weight": (3, 0)},
            r"Facts\.parameters returned something else \(at node 'facts', .*a tuple of positive",
        ),
        ("parameters", {"weight": 3}, r"Facts\.parameters returned something else"),
        ("parameters", [("weight", (3,))], r"Facts\.parameters returned something else"),
        ("macs", -1, r"Facts\.macs returned something else .*: got -1, expected an int, zero or more"),
        ("macs", 1.5, r"Facts\.macs returned something else .*: got 1\.5"),
        ("alias", Alias(1), r"Facts\.alias is no input of the layer .*: got Alias\(input=1.*an Alias of input 0 to 0"),
        ("alias", "view", r"Facts\.alias is no input of the layer .*: got 'view'"),
        ("saved", Alias(in_place=True), r"Facts\.saved returned something else .*: got None, expected a Saved"),
        ("extras", [1], r"Facts\.extras returned something else .*: got \[1\], expected a mapping"),
        ("extras", {"mask": 3}, r"Facts\.extras returned something else"),
        ("extras", {3: TensorSpec((3,))}, r"Facts\.extras returned something else"),
    ],
)
def test_wrong_facts_are_loud(fact: str, answer: Any, text: str) -> None:
    with pytest.raises(ConformanceError, match=text):
        Net.input(3, 4).then(Facts(fact, answer)).profile(Training())


def test_errors_of_facts_get_their_place() -> None:
    with pytest.raises(CnnBudgetError, match=r"no parameters on a Monday \(at node 'facts', Facts\('raises', 0\)"):
        Net.input(3, 4).then(Facts("raises", 0)).costs()


def test_a_gap_in_a_built_in_layer_is_our_bug() -> None:
    @frozen(repr=False)
    class Ours(Forgetful):
        pass

    Ours.__module__ = "cnnbudget.layers.ours"
    with pytest.raises(MissingRuleError, match=r"Ours does not state its parameters .*this is a bug in cnnbudget"):
        Net.input(3, 4).then(Ours()).parameter_count
    Ours.__module__ = "cnnbudget_extras.layers"
    with pytest.raises(MissingRuleError, match=r"implement Ours\.parameters\(\)"):
        Net.input(3, 4).then(Ours()).parameter_count


def test_unknown_extras_stop_training_and_not_inference() -> None:
    @frozen(repr=False)
    class NoExtras(ElementwiseLayer):
        def extras(self, inputs: Any, output: Any) -> None:
            return None

    net = Net.input(3, 4).then(NoExtras())
    assert net.profile(Inference()).peak == 2 * 12 * 4
    with pytest.raises(MissingRuleError, match=r"NoExtras does not state its extras .*implement NoExtras\.extras\(\)"):
        net.profile(Training())


def test_unknown_buffers_stop_every_profile() -> None:
    @frozen(repr=False)
    class NoBuffers(ElementwiseLayer):
        def buffers(self, inputs: Any) -> None:
            return None

    net = Net.input(3, 4).then(NoBuffers())
    assert net.parameter_count == 0
    for scenario in (Inference(), Training()):
        with pytest.raises(MissingRuleError, match=r"NoBuffers does not state its buffers .*NoBuffers\.buffers\(\)"):
            net.profile(scenario)


def test_the_cost_table_by_hand() -> None:
    net = Net.input(3, 8, 8).then(Conv(4, 3), BatchNorm(), MaxPool(2), Flatten(), Linear(5, bias=False))
    table = net.costs()
    # conv 4x6x6: 3*3*3*4 weights and 4 biases, 36 positions; pool 4x3x3 = 36; linear 36*5
    assert [(row["node"], row["output"], row["parameters"], row["buffers"], row["macs"]) for row in table.rows()] == [
        ("conv", (4, 6, 6), 108 + 4, 0, 36 * 108),
        ("batch_norm", (4, 6, 6), 4 + 4, 4 + 4, 0),
        ("max_pool", (4, 3, 3), 0, 0, 0),
        ("flatten", (36,), 0, 0, 0),
        ("linear", (5,), 180, 0, 180),
    ]
    assert (table.parameter_count, table.buffer_count, table.mac_count) == (112 + 8 + 180, 8, 36 * 108 + 180)
    assert len(table) == 5
    assert [row["activations"] for row in table.rows()] == [144, 144, 36, 36, 5]
    assert table["conv"].parameters == (("weight", (4, 3, 3, 3)), ("bias", (4,)))
    assert table["conv"].activation_bytes(batch=10) == 5760
    assert table["conv"].activation_bytes(precision=FP16) == 288
    assert table["conv"].footprint.at(2) == 288
    assert table.specs["input"].shape == (3, 8, 8)
    assert "300" in str(table)
    assert "<table" in table._repr_html_()


def test_a_table_with_unknown_counts_still_prints() -> None:
    table = Net.input(3, 4).then(Forgetful()).costs()
    assert table.nodes[0].parameter_count is None
    assert table.nodes[0].buffer_count is None
    assert table.rows()[0]["macs"] is None
    assert "forgetful" in str(table)


def test_dense_equivalents_by_hand() -> None:
    net = Net.input(2, 4).then(Conv(3, 2), ReLU(), Conv(1, 1, bias=False))
    table = net.dense_equivalent()
    # conv: 2*2*3 + 3 = 15 shared; 3 positions; 8 inputs to 9 outputs and 9 biases. conv2: 3; 3 positions; 9 to 3.
    assert [(row["node"], row["shared"], row["unshared"], row["dense"]) for row in table.rows()] == [
        ("conv", 15, 45, 81),
        ("conv2", 3, 9, 27),
    ]
    assert (table.shared, table.unshared, table.dense) == (18, 54, 108)
    assert "108" in str(table)
    assert "108" in table._repr_html_()


# Sharing ------------------------------------------------------------------------------------------------------------


def owners(net: Net, *, training: bool) -> list[str]:
    return [*sharing(net.costs(), training=training).owners.values()]


def test_views_and_in_place_layers_share() -> None:
    net = Net.input(3, 4).then(Conv(2, 1), ReLU(inplace=True), Flatten(), Dropout(), Linear(2))
    assert owners(net, training=False) == ["input", "conv", "conv", "conv", "conv", "linear"]
    # In training dropout writes values of its own.
    assert owners(net, training=True) == ["input", "conv", "conv", "conv", "dropout", "linear"]
    assert owners(Net.input(3).then(Dropout(0)), training=True) == ["input", "input"]


@frozen(repr=False)
class Growing(StatelessLayer):
    def infer(self, inputs: Any) -> TensorSpec:
        return TensorSpec((inputs[0].element_count + 1,))

    def alias(self, inputs: Any, output: Any, *, training: bool) -> Alias:
        return Alias()


def test_a_view_cannot_grow() -> None:
    with pytest.raises(
        ConformanceError, match=r"Growing\.alias states a view that is larger .*: got 13 elements .* of 12"
    ):
        Net.input(3, 4).then(Growing()).profile(Inference())


def test_in_place_after_a_layer_that_keeps_its_output() -> None:
    net = Net.input(3, 4).then(Sigmoid(), Flatten(), ReLU(inplace=True))
    # In inference nobody needs the sigmoid's values; in training sigmoid computes its gradient from them.
    assert net.profile(Inference()).peak == 2 * 12 * 4
    with pytest.raises(
        SharedStorageError,
        match=r"overwrite a value that is still needed \(at node 'relu', .*\): got value 'sigmoid': "
        r"node 'sigmoid' keeps it for backward, expected nobody .* without inplace=True",
    ):
        net.profile(Training())


def branches(outputs: list[str], *, late: bool) -> Network:
    nodes = [
        Node("a", Conv(3, 1), ["x"]),
        Node("over", ReLU(inplace=True), ["a"]),
        Node("reader", MaxPool(2), ["a"]),
    ]
    return Network([Input("x", (3, 4))], nodes if late else [nodes[0], nodes[2], nodes[1]], outputs)


def test_in_place_before_another_reader() -> None:
    with pytest.raises(SharedStorageError, match=r"\(at node 'over', .*got value 'a': node 'reader' reads it"):
        profile(branches(["reader"], late=True), Inference())
    assert profile(branches(["over", "reader"], late=False), Inference()).peak > 0
    with pytest.raises(SharedStorageError, match=r"got value 'a': node 'reader' keeps it for backward"):
        profile(branches(["over", "reader"], late=False), Training())


def test_in_place_over_an_output() -> None:
    with pytest.raises(SharedStorageError, match=r"got value 'a': it is an output of the network"):
        profile(branches(["a"], late=False), Inference())
    assert profile(branches(["over"], late=False), Inference()).peak > 0


def test_in_place_layers_one_after_another() -> None:
    net = Net.input(3, 4).then(ReLU(inplace=True), ReLU(inplace=True))
    assert net.profile(Inference()).peak == 12 * 4  # everything happens in the input's bytes
    with pytest.raises(SharedStorageError, match=r"at node 'relu2', .*got value 'relu': node 'relu' keeps it"):
        net.profile(Training())
