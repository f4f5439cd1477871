"""What changed: alignments against brute force, and sums that must come out."""

from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    Add,
    Autograd,
    BatchNorm,
    Conv,
    ElementwiseLayer,
    Flatten,
    Inference,
    InvalidTypeError,
    Linear,
    Net,
    Node,
    ReLU,
    Sigmoid,
    Training,
    diff,
    insert_after,
    remove_node,
    rename,
    replace_layer,
    with_input_shape,
    zoo,
)
from cnnbudget.advice import align as align_module
from cnnbudget.advice.align import align
from cnnbudget.testing import strategies

NET = Net.input(3, 12, 12).then(Conv(8, 3), ReLU(), Conv(8, 3), ReLU(), Flatten(), Linear(10))


def kinds(found: Any) -> list[tuple[str, str]]:
    return [(change.kind, change.name) for change in found if change.kind not in {"same", "input", "other"}]


def check_sums(found: Any) -> None:
    before, after = found.before, found.after
    assert found.peak == after.peak - before.peak == sum(change.peak for change in found)
    counts = [Net.from_network(each.network) for each in (before, after)]
    assert found.parameters == counts[1].parameter_count - counts[0].parameter_count
    assert found.macs == counts[1].mac_count - counts[0].mac_count
    assert [change.before.name for change in found if change.before] == [node.name for node in before.network.nodes]
    assert [change.after.name for change in found if change.after] == [node.name for node in after.network.nodes]


def test_a_network_and_itself() -> None:
    found = NET.network and diff(NET, NET.network)
    assert kinds(found) == []
    assert {change.kind for change in found} == {"input", "same"}
    assert (found.parameters, found.macs, found.peak) == (0, 0, 0)
    assert str(found).startswith("no layer changed; peak ")
    assert str(found).splitlines()[3].split() == ["same", "6", "layers", "0", "0", "0", "B"]
    check_sums(found)


def test_edits_are_found_by_name() -> None:
    network = NET.network
    changed = replace_layer(network, "relu", Sigmoid())
    assert kinds(diff(network, changed)) == [("changed", "relu")]
    longer = insert_after(network, "conv", BatchNorm(), new="norm")
    assert kinds(diff(network, longer)) == [("added", "norm")]
    shorter = remove_node(network, "relu2")
    assert kinds(diff(network, shorter)) == [("removed", "relu2")]
    renamed = rename(network, {"conv": "stem"})
    assert kinds(diff(network, renamed)) == [("renamed", "stem")]
    wider = replace_layer(network, "conv", Conv(16, 3))
    assert kinds(diff(network, wider)) == [("changed", "conv"), ("resized", "relu"), ("resized", "conv2")]
    for other in (changed, longer, shorter, renamed, wider):
        check_sums(diff(network, other))
        check_sums(diff(other, network, Inference(3)))
    assert kinds(diff(network, with_input_shape(network, (3, 14, 14))))[0] == ("resized", "conv")


def test_a_layer_that_shifts_all_names_is_one_that_came() -> None:
    longer = Net.input(3, 12, 12).then(
        Conv(8, 3), ReLU(), Conv(9, 1), ReLU(), Conv(8, 3), ReLU(), Flatten(), Linear(10)
    )
    found = NET.diff(longer)
    assert kinds(found) == [("added", "conv2"), ("added", "relu2"), ("resized", "conv3"), ("renamed", "relu3")]
    (third,) = [change for change in found if change.name == "conv3"]
    assert third.was == "conv2: Conv(8, 3) 8x8x8"
    assert third.becomes == "Conv(8, 3) 8x8x8"
    assert third.parameters == (9 - 8) * 3 * 3 * 8
    check_sums(found)


def test_published_networks() -> None:
    found = diff(zoo.resnet18(), zoo.resnet34(), Training(2, retention=Autograd()))
    # Layers 2, 2, 2, 2 blocks against 3, 4, 6, 3: eight more, of seven nodes each.
    assert len(found.of_kind("added")) == 8 * 7
    assert len(found.of_kind("removed", "changed", "resized", "rewired", "renamed")) == 0
    assert found.parameters == 21797672 - 11689512  # torchvision's published parameters
    check_sums(found)
    back = diff(zoo.resnet34(), zoo.resnet18())
    assert len(back.of_kind("removed")) == 56
    assert "added" not in str(back).splitlines()[0]


def test_other_inputs_and_other_sharing() -> None:
    start = Net.input(4, 8, 8).then(Conv(4, 3, padding=1), Conv(4, 3, padding=1))
    plain = start.network
    nodes = list(plain.nodes)
    parallel = plain.__class__(plain.inputs, [nodes[0], Node("conv2", nodes[1].layer, ["input"])], ["conv2"])
    assert kinds(diff(plain, parallel)) == [("rewired", "conv2")]
    shared = plain.__class__(
        plain.inputs, [nodes[0], Node("conv2", nodes[1].layer, ["conv"], shares="conv")], ["conv2"]
    )
    found = diff(plain, shared)
    assert kinds(found) == [("rewired", "conv2")]
    assert found.parameters == -(4 * 9 + 1) * 4
    both = Net.inputs(a=(3, 8, 8), b=(3, 8, 8)).join("b", merge=Add())
    check_sums(diff(both, NET))
    check_sums(diff(NET, both))


@frozen
class Silent(ElementwiseLayer):
    """Does not say what it multiplies."""

    def macs(self, inputs: Any, output: Any) -> None:
        return None


def test_what_is_unknown_stays_unknown() -> None:
    found = NET.diff(NET.then(Silent()))
    assert found.macs is None
    assert found.parameters == 0
    assert [change.macs for change in found.of_kind("added")] == [None]
    assert str(found).splitlines()[-1].split()[1:3] == ["0", "?"]


def test_rows_text_and_html() -> None:
    found = NET.diff(NET.then(ReLU()), Training(4, loss="cross_entropy", optimizer="adam"))
    row = found.rows()[-2] if found.rows()[-1]["change"] == "other" else found.rows()[-1]
    assert row == {
        "change": "added",
        "node": "relu3",
        "before": "",
        "after": "ReLU() 10",
        "parameters": 0,
        "macs": 0,
        "peak": row["peak"],
    }
    assert len(found) == len(found.rows())
    assert "1 added; peak" in str(found)
    assert "<table>" in found._repr_html_()
    assert sum(row["peak"] for row in found.rows()) == found.peak
    wider = NET.diff(replace_layer(NET.network, "linear", Linear(20)))
    assert "+5,130" in str(wider)  # (8 * 8 * 8 + 1) * 10


def test_storages_of_no_layer_have_a_line() -> None:
    net = Net.input(4).then(Linear(200))
    other = Net.input(4).then(Linear(300))
    found = diff(net, other, Training(1, optimizer="adam"))
    (update,) = found.of_kind("other")
    assert update.name == "update"
    assert update.peak == 4 * (300 - 200) * 5  # the largest temporary of the update: all weights and biases once more
    assert "other" in str(found)


def test_bad_input() -> None:
    with pytest.raises(InvalidTypeError, match=r"diff\(\) takes a network: got 5"):
        diff(NET, 5)
    with pytest.raises(InvalidTypeError, match=r"needs a scenario"):
        diff(NET, NET, Training)  # type: ignore[arg-type]


# Alignments ------------------------------------------------------------------------------------------------------------

LAYERS = [ReLU(), Sigmoid(), Conv(1, 1), Conv(2, 1)]
SEQUENCES = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(LAYERS)), max_size=6)


def nodes_of(sequence: list[Any]) -> list[Node]:
    return [Node(name, layer, ["x"]) for name, layer in sequence]


def fewest(before: list[Node], after: list[Node]) -> tuple[int, int]:
    """Edits and changed names of the best alignment, by trying all of them."""

    @lru_cache
    def best(old: int, new: int) -> tuple[int, int]:
        if old == len(before) or new == len(after):
            return (len(before) - old + len(after) - new, 0)
        ways = [best(old + 1, new), best(old, new + 1)]
        found = [(edits + 1, names) for edits, names in ways]
        one, two = before[old], after[new]
        if one.layer == two.layer or one.name == two.name or type(one.layer) is type(two.layer):
            edits, names = best(old + 1, new + 1)
            found.append((edits + (one.layer != two.layer), names + (one.name != two.name)))
        return min(found)

    return best(0, 0)


def cost(pairs: list[Any], before: list[Node], after: list[Node]) -> tuple[int, int]:
    both = [(before[one], after[two]) for one, two in pairs if one is not None and two is not None]
    lonely = len(pairs) - len(both)
    return (
        lonely + sum(one.layer != two.layer for one, two in both),
        sum(one.name != two.name for one, two in both),
    )


def check_order(pairs: list[Any], before: list[Node], after: list[Node]) -> None:
    for side, nodes in enumerate((before, after)):
        numbers = [pair[side] for pair in pairs if pair[side] is not None]
        assert numbers == list(range(len(nodes)))
        assert all(one < two for one, two in pairwise(numbers))


@given(SEQUENCES, SEQUENCES)
def test_no_alignment_has_fewer_edits(first: list[Any], second: list[Any]) -> None:
    before, after = nodes_of(first), nodes_of(second)
    pairs = align(before, after)
    check_order(pairs, before, after)
    assert cost(pairs, before, after) == fewest(before, after)


@given(SEQUENCES, SEQUENCES)
def test_long_networks_are_aligned_by_name(first: list[Any], second: list[Any]) -> None:
    unique = [
        [Node(f"{name}{number}", layer, ["x"]) for number, (name, layer) in enumerate(each)] for each in (first, second)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(align_module, "_MOST", -1)
        pairs = align(*unique)
    check_order(pairs, *unique)
    for one, two in pairs:
        if one is not None and two is not None:
            assert unique[0][one].name == unique[1][two].name


def test_hundred_thousand_layers() -> None:
    many = [Node(f"n{number}", LAYERS[number % 4], ["x"]) for number in range(100_000)]
    changed = [*many[:50_000], Node("new", ReLU(), ["x"]), *many[50_000:-1]]
    pairs = align(many, changed)
    assert pairs.count((None, 50_000)) == 1
    assert pairs[-1] == (99_999, None)


@given(strategies.networks(max_parts=4), strategies.networks(max_parts=4), strategies.scenarios())
def test_the_changes_add_up(before: Net, after: Net, scenario: Any) -> None:
    check_sums(diff(before, after, scenario))
