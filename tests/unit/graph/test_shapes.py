"""Applications of layers: asked once where blocks repeat, and never mixed up."""

from attrs import field, frozen

from cnnbudget import (
    BOOL,
    INT64,
    Add,
    Concat,
    Conv,
    DType,
    Network,
    Node,
    ReLU,
    Role,
    StatelessLayer,
    TensorSpec,
    costs,
    specs,
)
from cnnbudget.graph.nodes import Input
from cnnbudget.graph.shapes import applications


@frozen
class Compare(StatelessLayer):
    """Says of every value whether it is positive."""

    dtype: DType = field(default=BOOL)

    def infer(self, inputs):
        return TensorSpec(inputs[0].shape, dtype=self.dtype)


def chain(*layers):
    names = ["x", *(f"n{number}" for number in range(len(layers)))]
    nodes = [Node(name, layer, (before,)) for before, name, layer in zip(names, names[1:], layers, strict=False)]
    return Network((Input("x", (8, 6, 6)),), nodes, names[-1:])


def test_the_same_layer_on_the_same_inputs_is_asked_once():
    conv, relu = Conv(8, 3, padding=1), ReLU()
    applied = applications(chain(conv, relu, conv, relu, conv, relu))
    assert applied[2] is applied[4]
    assert applied[3] is applied[5]
    assert len({id(one) for one in applied}) <= 4
    assert [one.output.shape for one in applied] == [(8, 6, 6)] * 6


def test_equal_layers_need_not_be_the_same():
    applied = applications(chain(Conv(8, 3, padding=1), Conv(8, 3, padding=1)))
    assert applied[0] == applied[1]
    assert applied[0] is not applied[1]


def test_outputs_of_other_widths_stay_apart():
    booleans, indices = Compare(), Compare(INT64)
    found = specs(chain(ReLU(), booleans, indices, ReLU()))
    assert [found[f"n{number}"].dtype for number in range(4)] == [None, BOOL, INT64, INT64]
    assert all(spec.role is Role.ACTIVATION for spec in found.values())


def test_a_layer_that_only_exists_while_it_is_used_is_not_mistaken_for_another():
    """Identities are of living objects: an entry holds its layer."""
    for maps in range(1, 200):
        table = costs(chain(Conv(maps, 1), Conv(maps + 1, 1)))
        assert [cost.output_shape[0] for cost in table] == [maps, maps + 1]


def test_merges_are_applied_to_all_of_their_inputs():
    nodes = [
        Node("a", Conv(4, 1), ("x",)),
        Node("b", Conv(4, 1), ("x",)),
        Node("sum", Add(), ("a", "b")),
        Node("both", Concat(), ("a", "sum")),
        Node("all", Concat(), ("a", "b", "sum")),
    ]
    network = Network((Input("x", (8, 6, 6)),), nodes, ("both", "all"))
    assert {name: spec.shape[0] for name, spec in specs(network).items()} == {
        "x": 8,
        "a": 4,
        "b": 4,
        "sum": 4,
        "both": 8,
        "all": 12,
    }
