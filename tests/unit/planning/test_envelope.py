"""The upper envelope against looking at every line at every int."""

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget.planning.envelope import upper_envelope

LINES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), min_size=1, max_size=8)


def test_by_hand() -> None:
    # 10 + n, 4 + 2n, 3n: at 5 the steepest reaches 15 = 10 + 5; the middle one has 14 there and is never the highest.
    assert upper_envelope([(10, 1), (4, 2), (0, 3)]) == ((0, 10, 1), (5, 0, 3))
    assert upper_envelope([(7, 0)]) == ((0, 7, 0),)
    assert upper_envelope([(0, 2), (5, 2), (1, 1)]) == ((0, 5, 2),)
    assert upper_envelope([(2**80, 1), (0, 2)]) == ((0, 2**80, 1), (2**80, 0, 2))


@given(LINES)
def test_the_envelope_is_the_maximum_everywhere(lines: list[tuple[int, int]]) -> None:
    found = upper_envelope(lines)
    starts = [start for start, _, _ in found]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert {(fixed, slope) for _, fixed, slope in found} <= set(lines)
    for at in range(80):
        _, fixed, slope = [line for line in found if line[0] <= at][-1]
        assert fixed + slope * at == max(fixed + slope * at for fixed, slope in lines)
