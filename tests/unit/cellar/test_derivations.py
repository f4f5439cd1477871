"""Calculations: brackets where they are needed, the same value as their text, LaTeX that is LaTeX."""

import pickle

import pytest

from cnnbudget import Derived, Explanation, UnknownNameError
from cnnbudget.derivations import ceiling, difference, floor, maximum, number, product, total


@pytest.mark.parametrize(
    ("found", "value", "text", "latex"),
    [
        (number(1234567), 1234567, "1,234,567", "1{,}234{,}567"),
        (number(-3), -3, "-3", "-3"),
        (total(1, 2, 3), 6, "1 + 2 + 3", "1 + 2 + 3"),
        (total(5, -1), 4, "5 + (-1)", r"5 + \left(-1\right)"),
        (total(7), 7, "7", "7"),
        (product(3, total(1, 2)), 9, "3 x (1 + 2)", r"3 \times \left(1 + 2\right)"),
        (product(3, product(2, 2)), 12, "3 x 2 x 2", r"3 \times 2 \times 2"),
        (product(3, difference(5, 1)), 12, "3 x (5 - 1)", r"3 \times \left(5 - 1\right)"),
        (difference(9, total(1, 2)), 6, "9 - (1 + 2)", r"9 - \left(1 + 2\right)"),
        (difference(9, difference(4, 1)), 6, "9 - (4 - 1)", r"9 - \left(4 - 1\right)"),
        (difference(total(9, 1), 4), 6, "9 + 1 - 4", "9 + 1 - 4"),
        (difference(9, product(2, 3)), 3, "9 - 2 x 3", r"9 - 2 \times 3"),
        (difference(-2, -5), 3, "(-2) - (-5)", r"\left(-2\right) - \left(-5\right)"),
        (total(difference(5, 2), difference(4, 1)), 6, "5 - 2 + 4 - 1", "5 - 2 + 4 - 1"),
        (floor(7, 2), 3, "floor(7 / 2)", r"\left\lfloor \frac{7}{2} \right\rfloor"),
        (floor(-7, 2), -4, "floor((-7) / 2)", r"\left\lfloor \frac{\left(-7\right)}{2} \right\rfloor"),
        (ceiling(7, 2), 4, "ceil(7 / 2)", r"\left\lceil \frac{7}{2} \right\rceil"),
        (floor(total(3, 4), 2), 3, "floor((3 + 4) / 2)", r"\left\lfloor \frac{3 + 4}{2} \right\rfloor"),
        (floor(12, product(2, 3)), 2, "floor(12 / (2 x 3))", r"\left\lfloor \frac{12}{2 \times 3} \right\rfloor"),
        (total(floor(7, 2), 1), 4, "floor(7 / 2) + 1", r"\left\lfloor \frac{7}{2} \right\rfloor + 1"),
        (ceiling(ceiling(50, 4), 2), 7, "ceil(ceil(50 / 4) / 2)", None),
        (maximum(difference(3, 5), 0), 0, "max(3 - 5, 0)", r"\max\left(3 - 5, 0\right)"),
        (product(2, maximum(1, 4)), 8, "2 x max(1, 4)", r"2 \times \max\left(1, 4\right)"),
    ],
)
def test_text_value_and_latex(found, value, text, latex):
    assert (found.value, str(found)) == (value, text)
    if latex is not None:
        assert found.latex() == latex
    assert type(found.value) is int
    assert pickle.loads(pickle.dumps(found)) == found


def test_a_long_sum_is_cut_in_latex_alone():
    found = total(*range(100, 120))
    assert found.latex() == " + ".join(map(str, range(100, 110))) + r" + \cdots + 119"
    assert str(found).count("+") == 19
    assert total(*range(12)).latex().count("+") == 11


def test_a_derivation():
    derived = Derived("conv_1 & 50%", product(2, 3), "a x b", "somebody")
    assert str(derived) == "conv_1 & 50% = 2 x 3 = 6"
    assert derived.latex() == r"\text{conv\_1 \& 50\%} &= 2 \times 3 = 6"
    assert str(Derived("MACs", number(0))) == "MACs = 0"
    assert Derived("a\\b~^", number(0)).latex() == r"\text{a\textbackslash{}b\textasciitilde{}\textasciicircum{}} &= 0"


def test_an_explanation():
    first = Derived("weights", product(3, 1000), "a x b", "somebody")
    long = Derived("sum", total(*range(1000)), "all of them")
    found = Explanation("<conv>", (first, long), ("a note",))
    assert [derived.quantity for derived in found] == ["weights", "sum"]
    assert len(found) == 2
    assert found["weights"] is first
    assert found.rows()[0] == {
        "number": "weights",
        "value": 3000,
        "derivation": "3 x 1,000",
        "rule": "a x b",
        "source": "somebody",
    }
    assert found.rows()[1]["derivation"] == " + ".join(map(str, range(1000)))
    lines = str(found).splitlines()
    assert lines[0] == "<conv>"
    assert lines[3].split() == ["weights", "3", "x", "1,000", "=", "3,000", "a", "x", "b", "somebody"]
    assert max(map(len, lines)) < 130
    assert lines[4].split("  ")[-1] == "all of them"
    assert "998 + 999 = 499,500" in lines[4]
    assert lines[-1] == "a note"
    page = found._repr_html_()
    assert "&lt;conv&gt;" in page
    assert "<p>a note</p>" in page
    assert found.latex().startswith("\\begin{align*}\n\\text{weights} &= 3 \\times 1{,}000 = 3{,}000 \\\\\n\\text{sum}")
    assert found.latex().endswith("\n\\end{align*}")
    with pytest.raises(UnknownNameError, match=r"nothing like this is explained: got 'weight'; did you mean 'weights'"):
        found["weight"]
