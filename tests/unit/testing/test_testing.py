"""The package for dependents: what it exports, and what it says when hypothesis is missing."""

import subprocess
import sys

import pytest
from hypothesis import given, settings

import cnnbudget
from cnnbudget import Conv, Inference, MissingExtraError, Net, Repeat
from cnnbudget.testing import strategies


def test_what_it_exports() -> None:
    import cnnbudget.testing as testing

    assert {"check_layer", "check_policy"} <= {*dir(testing)}
    assert testing.__all__ == ["check_layer", "check_policy"]
    with pytest.raises(AttributeError, match=r"module 'cnnbudget\.testing' has no attribute 'check_laier'"):
        testing.check_laier


def test_the_checks_do_not_need_hypothesis() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from cnnbudget import ReLU, KeepAll\n"
        "from cnnbudget.testing import check_layer, check_policy\n"
        "check_layer(ReLU(), (3, 4)); check_policy(KeepAll())\n"
        "try:\n    import cnnbudget.testing.strategies\n"
        "except ImportError as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MissingExtraError" in done.stdout
    assert "pip install cnnbudget[testing]" in done.stdout


def test_the_strategies_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "cnnbudget.testing.strategies")
    with pytest.raises(
        MissingExtraError,
        match=r"cnnbudget\.testing\.strategies needs hypothesis; pip install cnnbudget\[testing\]",
    ):
        __import__("cnnbudget.testing.strategies")
    monkeypatch.undo()
    assert cnnbudget.testing.strategies is strategies


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_networks_have_the_rank_that_was_asked_for(rank: int) -> None:
    @given(strategies.networks(rank))
    @settings(max_examples=20)
    def check(net: Net) -> None:
        (source,) = net.network.inputs
        assert len(source.shape) == rank + 1

    check()


def test_networks_are_of_every_kind() -> None:
    layers: set[str] = set()
    ranks: set[int] = set()
    names: list[str] = []
    parts: set[str] = set()

    @given(strategies.networks(), strategies.networks(views=False, inplace=False))
    @settings(max_examples=500, database=None, derandomize=True)
    def collect(net: Net, plain: Net) -> None:
        ranks.add(len(net.network.inputs[0].shape) - 1)
        layers.update(type(node.layer).__name__ for node in net.network.nodes)
        names.extend(node.name for node in net.network.nodes)
        parts.update(type(part).__name__ for part in net._parts())
        inplace = [getattr(node.layer, "inplace", False) for node in net.network.nodes]
        layers.update({"in place"} if any(inplace) else ())
        for node in plain.network.nodes:
            assert type(node.layer).__name__ not in {"Flatten", "Dropout"}
            assert not getattr(node.layer, "inplace", False)

    collect()
    assert ranks == {1, 2, 3}
    assert layers == {
        *("Conv", "Linear", "MaxPool", "AvgPool", "GlobalAvgPool", "Flatten", "ReLU", "Sigmoid", "Tanh", "Softmax"),
        *("Dropout", "BatchNorm", "LocalResponseNorm", "in place"),
    }
    assert any("/" in name for name in names)
    assert {"Block", "Repeat"} <= parts
    assert Repeat(Conv(3, 1), 2) == Repeat(Conv(3, 1), 2)


@given(strategies.scenarios(training=False), strategies.scenarios(training=True))
def test_scenarios_are_what_was_asked_for(inference: cnnbudget.Scenario, training: cnnbudget.Scenario) -> None:
    assert isinstance(inference, Inference)
    assert isinstance(training, cnnbudget.Training)
