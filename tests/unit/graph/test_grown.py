"""A mapping that grows, whose earlier versions stay."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Add, Conv, Net, ReLU
from cnnbudget.graph.grown import Grown

ENTRIES = st.dictionaries(st.integers(0, 40), st.integers(), max_size=6)


@given(ENTRIES, st.lists(ENTRIES, max_size=30))
def test_it_is_the_dict_of_all_entries_and_so_is_every_earlier_one(first, more):
    versions, expected = [Grown(first)], [first]
    for entries in more:
        versions.append(versions[-1].with_entries(entries))
        expected.append(expected[-1] | entries)
    for version, known in zip(versions, expected, strict=True):
        assert list(version) == list(known)
        assert {key: version.get(key) for key in range(41)} == {key: known.get(key) for key in range(41)}


def test_versions_share_what_they_have():
    versions, held = [Grown({0: 0})], {}
    for number in range(1, 4096):
        versions.append(versions[-1].with_entries({number: number}))
    for version in versions:
        held |= {id(part): len(part) for part in version._parts}
        sizes = [len(part) for part in version._parts]
        assert all(2 * after < before for before, after in itertools.pairwise(sizes))
    assert sum(held.values()) <= 4096 * 12 * 2  # apart they would hold 4096 * 4096 / 2
    assert versions[7].with_entries({}) is versions[7]


def test_a_net_that_grows_by_labels_and_by_shared_layers_stays_small():
    net = Net.input(2, 1, 1)
    for number in range(20_000):
        net = net.then(Conv(2, 1), share=f"word{number}").tap(f"label{number}")
    net = net.join("label0", "label19999", merge=Add()).then(Conv(2, 1), share="word7")
    assert net.network.nodes[-2].inputs == ("conv20000", "conv", "conv20000")
    assert net.network.nodes[-1].shares == "conv8"
    assert net.then(*[Conv(2, 1)] * 20_000, ReLU(), share="many").then(Conv(2, 1), share="many").parameter_count == (
        40_000 * 6
    )
