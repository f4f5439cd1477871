"""Packings of random small problems against all sequences of storages that fall down."""

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.planning.arena import Lifetime, pack, pack_greedily
from cnnbudget.planning.greedy import FITS, SEQUENCES
from cnnbudget.planning.intervals import live_sizes
from cnnbudget.planning.referee import complaints_about_packing, least_height_by_trying
from cnnbudget.planning.skyline import FOUND, NOTHING, OPEN, RULES, Explorer, Layout


@st.composite
def problems(draw: st.DrawFn, least_size: int = 0) -> list[Lifetime]:
    steps = draw(st.integers(1, 7))
    lifetimes = []
    for _ in range(draw(st.integers(1, 6))):
        birth = draw(st.integers(0, steps - 1))
        lifetimes.append((birth, draw(st.integers(birth + 1, steps)), draw(st.integers(least_size, 9))))
    return lifetimes


def test_no_time_at_all_is_enough_for_the_greedy_plan() -> None:
    # Two storages of 5, of which the later number has to come first, and is born first.
    lifetimes = [(6, 9, 5), (2, 6, 3), (4, 5, 3), (5, 7, 5)]
    assert pack(lifetimes, time_limit=0).height <= pack_greedily(lifetimes).height


def rounded(lifetimes: list[Lifetime], alignment: int) -> list[Lifetime]:
    return [(birth, death, -(-size // alignment) * alignment) for birth, death, size in lifetimes]


@given(problems(), st.integers(1, 4), st.integers(0, 2))
def test_the_packing_is_the_lowest_of_all(lifetimes: list[Lifetime], alignment: int, seed: int) -> None:
    plan = pack(lifetimes, alignment, seed=seed)
    assert complaints_about_packing(lifetimes, plan.offsets, alignment, plan.height) == []
    assert plan.optimal
    assert plan.height == least_height_by_trying(rounded(lifetimes, alignment))


@given(problems(), st.integers(1, 4), st.sampled_from(sorted(SEQUENCES)), st.sampled_from(FITS))
def test_a_greedy_packing_is_valid_and_never_lower(
    lifetimes: list[Lifetime], alignment: int, sequence: str, fit: str
) -> None:
    plan = pack_greedily(lifetimes, alignment, sequence=sequence, fit=fit)
    assert complaints_about_packing(lifetimes, plan.offsets, alignment, plan.height) == []
    births, deaths, sizes = zip(*rounded(lifetimes, alignment), strict=True)
    live = live_sizes(births, deaths, sizes, 7)
    assert plan.lower_bound == max(live) == live[plan.busiest]
    assert plan.height >= pack(lifetimes, alignment).height
    if (sequence, fit) == ("size", "lowest"):  # the one rule that there is always time for
        assert plan.height >= pack(lifetimes, alignment, time_limit=0).height


@given(problems(), st.integers(0, 4))
def test_whether_it_fits_is_right_and_a_search_cut_off_says_so(lifetimes: list[Lifetime], less: int) -> None:
    best = least_height_by_trying(lifetimes)
    capacity = max(best - less, *(size for _, _, size in lifetimes))
    assert pack(lifetimes, capacity=capacity).fits is (capacity >= best)
    cut_off = pack(lifetimes, capacity=capacity, node_limit=1)
    assert cut_off.fits in {None, capacity >= best}
    assert cut_off.lower_bound <= best <= cut_off.height


@given(problems(least_size=1), st.integers(0, RULES - 1), st.integers(1, 9))
def test_every_rule_finds_or_refutes_every_height(lifetimes: list[Lifetime], rule: int, stretch: int) -> None:
    """Of storages that hang together in time; every step is a moment."""
    lifetimes.sort()
    together = lifetimes[:1]
    for lifetime in lifetimes[1:]:
        if lifetime[0] < max(death for _, death, _ in together):
            together.append(lifetime)
    start, lifetimes = together[0][0], together
    moments = [(birth - start, death - start - 1, size) for birth, death, size in lifetimes]
    durations = [death - birth for birth, death, _ in lifetimes]
    best = least_height_by_trying(lifetimes)
    layout = Layout(moments, durations)
    for capacity in range(max(layout.total), best + 2):
        explorer = Explorer(layout, capacity, rule, range(len(moments)))
        found = OPEN
        while found == OPEN:
            found = explorer.go(stretch, fast=False)
        if capacity < best:
            assert found == NOTHING
            assert capacity < explorer.least <= best
        else:
            assert found == FOUND
            ends = [offset + size for offset, (_, _, size) in zip(explorer.offsets, lifetimes, strict=True)]
            assert max(ends) <= capacity
            assert complaints_about_packing(lifetimes, explorer.offsets, 1, max(ends)) == []


@st.composite
def cut_rectangles(draw: st.DrawFn) -> tuple[list[Lifetime], int]:
    """A rectangle of time and space, cut into pieces: they fit into it again, and it is full at every step."""
    height = draw(st.integers(4, 40))
    pieces = [(0, draw(st.integers(4, 40)), height)]
    for _ in range(draw(st.integers(0, 14))):
        birth, death, size = pieces.pop(draw(st.integers(0, len(pieces) - 1)))
        if draw(st.booleans()) and death - birth > 1:
            at = draw(st.integers(birth + 1, death - 1))
            pieces += [(birth, at, size), (at, death, size)]
        elif size > 1:
            low = draw(st.integers(1, size - 1))
            pieces += [(birth, death, low), (birth, death, size - low)]
        else:
            pieces.append((birth, death, size))
    return draw(st.permutations(pieces)), height


@given(cut_rectangles())
def test_a_rectangle_that_was_cut_up_is_put_together_again(cut: tuple[list[Lifetime], int]) -> None:
    lifetimes, height = cut
    plan = pack(lifetimes, fast=False)
    assert plan.height == plan.lower_bound == height
    assert complaints_about_packing(lifetimes, plan.offsets, 1, height) == []
    assert pack(lifetimes, capacity=height, fast=False).fits is True
