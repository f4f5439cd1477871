"""A derivation's text, read and calculated by somebody else, gives the number; and the number is the library's."""

import ast
import re
from fractions import Fraction
from math import ceil, floor, prod
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Autograd, Calculation, Net, Scenario, Training, explain
from cnnbudget.derivations import ceiling, difference, maximum, number, product, total
from cnnbudget.derivations import floor as floored
from cnnbudget.testing import strategies


def calculated(text: str) -> int:
    """Calculates a derivation's text with Python's own parser: exact fractions, and nothing but numbers and brackets."""
    python = re.sub(r"(?<=\d),(?=\d{3})", "", text).replace(" x ", " * ")

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return Fraction(node.value)  # type: ignore[arg-type]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            return {"floor": floor, "ceil": ceil, "max": max}[node.func.id](*map(value, node.args))  # type: ignore[operator]
        assert isinstance(node, ast.BinOp)
        left, right = value(node.left), value(node.right)
        return (
            {ast.Add: left + right, ast.Sub: left - right, ast.Mult: left * right}.get(
                type(node.op)  # type: ignore[arg-type]
            )
            if not isinstance(node.op, ast.Div)
            else left / right
        )

    found = value(ast.parse(python, mode="eval").body)
    assert found == int(found)
    return int(found)


def calculations() -> st.SearchStrategy[Calculation]:
    numbers = st.integers(-9, 5000).map(number)
    positive = st.integers(1, 50).map(number)

    def grow(parts: st.SearchStrategy[Calculation]) -> st.SearchStrategy[Calculation]:
        several = st.lists(parts, min_size=1, max_size=4)
        return (
            several.map(lambda each: total(*each))
            | several.map(lambda each: product(*each))
            | several.map(lambda each: maximum(*each))
            | st.builds(difference, parts, parts)
            | st.builds(floored, parts, positive | st.builds(product, positive, positive))
            | st.builds(ceiling, parts, positive | st.builds(total, positive, positive))
        )

    return st.recursive(numbers, grow, max_leaves=12)


@given(calculations())
def test_the_text_of_any_calculation_gives_its_value(found: Calculation) -> None:
    assert calculated(str(found)) == found.value
    assert found.latex().count("{") == found.latex().count("}")


TRAININGS = st.builds(
    Training,
    st.integers(2, 64),
    retention=st.sampled_from([Autograd()]),
    optimizer=st.sampled_from(["sgd", "adam"]),
    devices=st.integers(1, 3),
)


@given(strategies.networks(), strategies.scenarios() | TRAININGS)
def test_what_is_explained_of_a_node_is_what_the_library_counts(net: Net, scenario: Scenario) -> None:
    profile = net.profile(scenario)
    batch = scenario.device_batch
    shares = 0
    for cost in net.costs():
        found = explain(net.network, cost.name, scenario)
        for derived in found:
            assert calculated(str(derived.calculation)) == derived.value
        spatial = [derived.value for derived in found if derived.quantity.startswith("output ")][
            : len(cost.output_shape)
        ]
        assert tuple(spatial) == cost.output_shape
        assert found["parameters"].value == cost.parameter_count
        assert found["MACs"].value == cost.macs
        if cost.buffer_count:
            assert found["buffers"].value == cost.buffer_count
        own = {derived.quantity: derived.value for derived in found}
        if "output bytes" in own:
            size = prod(cost.output_shape) * batch
            precision = scenario.precision
            widths = {
                precision.default.bits,
                (precision.autocast or precision.default).bits,
            }  # as what it computes with
            assert own["output bytes"] in {size * bits // 8 for bits in widths}
        shares += own["bytes at the peak"]
    inputs = {source.name for source in net.network.inputs}
    others = sum(alive.size for alive in profile.at_peak if alive.node is None or alive.node in inputs)
    assert shares + others == profile.peak


@given(strategies.networks(), strategies.scenarios() | TRAININGS)
def test_what_is_explained_of_a_peak_is_the_peak(net: Net, scenario: Scenario) -> None:
    profile = net.profile(scenario)
    found = profile.explain()
    for derived in found:
        assert calculated(str(derived.calculation)) == derived.value
    assert found["peak"].value == found["peak as a line"].value == profile.peak
    for role, size in profile.by_role.items():
        assert found[f"all of role {role}"].value == size
    for alive in profile.at_peak:
        assert found[alive.name].value == alive.size


@given(strategies.networks(), TRAININGS)
def test_every_number_is_a_calculation_where_there_is_one(net: Net, scenario: Scenario) -> None:
    """Convolutions, pooling and linear layers are derived, not just stated: a wrong rule would be stated."""
    for cost in net.costs():
        name = type(cost.node.layer).__name__
        found = explain(net.network, cost.name, scenario)
        stated = [derived.quantity for derived in found if "states it" in derived.formula]
        assert stated == [] or name not in {"Conv", "MaxPool", "AvgPool", "Linear", "BatchNorm", "ReLU", "Flatten"}
        if name in {"Conv", "Linear"}:
            assert not found["parameters"].calculation.is_number
            assert not found["MACs"].calculation.is_number
