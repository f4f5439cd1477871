"""Scenarios side by side: every cell is what the profile of its column says."""

from typing import Any

import pytest

from cnnbudget import (
    Autograd,
    CachingAllocator,
    Conv,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Linear,
    Net,
    ReLU,
    Role,
    Training,
    UnknownNameError,
    compare,
)

NET = Net.input(3, 8, 8).then(Conv(4, 3), ReLU())
OTHER = Net.input(16).then(Linear(4))
BASE = Training(4, retention=Autograd())


def test_every_cell_is_what_the_profile_says() -> None:
    scenarios = {"sgd": BASE, "adam": BASE.evolve(optimizer="adam"), "run": Inference(2)}
    table = compare(NET, scenarios=scenarios)
    rows = {row["fact"]: row for row in table.rows()}
    for name, scenario in scenarios.items():
        found = NET.profile(scenario)
        assert table[name].scenario == scenario
        assert rows["peak"][name] == found.peak
        assert rows["step of the peak"][name] == str(found.peak_step)
        assert rows["activation peak"][name] == found.activation_peak
        assert rows["kept for backward"][name] == (found.retained if scenario.trains else None)
        assert (rows["fixed"][name], rows["every sample"][name]) == (found.fixed, found.per_sample)
        shares = [rows[f"at the peak: {role}"][name] for role in Role if f"at the peak: {role}" in rows]
        assert sum(share or 0 for share in shares) == found.peak
    assert rows["scenario"]["run"] == "Inference"
    assert (rows["batch"]["sgd"], rows["batch"]["run"]) == (4, 2)
    assert rows["optimizer"] == {"fact": "optimizer", "sgd": "SGD()", "adam": "Adam()", "run": None}
    assert "reserved" not in rows
    assert [each.scenario for each in table] == list(scenarios.values())
    assert len(table) == 3


def test_allocators_are_shown_where_there_is_one() -> None:
    table = compare(NET, scenarios=[BASE, BASE.evolve(allocator=CachingAllocator())])
    rows = {row["fact"]: row for row in table.rows()}
    assert list(rows["reserved"].values())[1:] == [each.reserved for each in table]
    assert list(rows["allocated"].values())[1:] == [each.allocated for each in table]
    assert rows["allocator"][table.titles[0]] is None


@pytest.mark.parametrize(
    ("scenarios", "titles"),
    [
        ([BASE, BASE.evolve(batch=8)], ("batch=4", "batch=8")),
        ([BASE, BASE.evolve(precision="FP16", devices=2)], ("precision=FP32, devices=1", "precision=FP16, devices=2")),
        ([BASE, BASE.evolve(frozen="conv", batch=2)], ("batch=4, frozen=None", "batch=2, frozen=conv")),
        ([BASE], ("scenario 1",)),
        ([BASE, BASE], ("scenario 1", "scenario 2")),
    ],
)
def test_titles(scenarios: Any, titles: Any) -> None:
    assert compare(NET, scenarios=scenarios).titles == titles


def test_kinds_of_scenarios_are_told_apart() -> None:
    first, second = compare(NET, scenarios=(Inference(4), BASE)).titles
    assert first.startswith("Inference, ")
    assert second.startswith("Training, ")


def test_several_networks() -> None:
    table = compare({"a": NET, "b": OTHER.network}, scenarios=[BASE, BASE.evolve(batch=8)])
    assert table.titles == ("a: batch=4", "a: batch=8", "b: batch=4", "b: batch=8")
    assert table["b: batch=8"].peak == OTHER.profile(BASE.evolve(batch=8)).peak
    assert compare(NET, OTHER, names=["x", "y"], scenarios=[BASE]).titles == ("x: scenario 1", "y: scenario 1")


def test_text_and_html() -> None:
    table = compare(NET, scenarios={"one": BASE, "two": Inference()})
    lines = str(table).splitlines()
    assert lines[0].split() == ["fact", "one", "two"]
    (kept,) = [line for line in lines if line.startswith("kept for backward")]
    assert kept.split()[-1] == "-"
    assert "<table>" in table._repr_html_()


def test_bad_input() -> None:
    with pytest.raises(InvalidValueError, match=r"compare\(\) needs scenarios: got \[\]"):
        compare(NET, scenarios=[])
    with pytest.raises(
        InvalidTypeError, match=r"scenarios must be a list, or a mapping of names to them: got Training"
    ):
        compare(NET, scenarios=BASE)  # type: ignore[call-overload]
    with pytest.raises(InvalidTypeError, match=r"scenarios holds something else: got <class .*Training"):
        compare(NET, scenarios=[Training])  # type: ignore[list-item]
    for names in ({"fact": BASE}, {"": BASE}, {1: BASE}):
        with pytest.raises(InvalidTypeError, match=r"scenarios have names that are no words: got \["):
            compare(NET, scenarios=names)  # type: ignore[call-overload]
    with pytest.raises(InvalidTypeError, match=r"compare\(\) takes a network: got 5"):
        compare(5, scenarios=[BASE])  # type: ignore[call-overload]
    with pytest.raises(UnknownNameError, match=r"no scenario has this name: got 'tow'; did you mean 'two'"):
        compare(NET, scenarios={"two": BASE})["tow"]


def test_two_columns_of_one_title_would_hide_each_other() -> None:
    net = Net.input(3, 8, 8).then(Conv(4, 3))
    with pytest.raises(InvalidValueError, match="two columns have one title"):
        compare({"a: b": net, "a": net}, scenarios={"c": Training(), "b: c": Training(2)})


@pytest.mark.parametrize("beside", [{"inference": Inference(2)}, {"training": Training(2)}])
def test_scenarios_beside_the_two_of_a_plain_comparison_are_refused(beside):
    net = Net.input(3, 8, 8).then(Conv(4, 3))
    with pytest.raises(InvalidTypeError, match=r"^compare\(\) takes either scenarios= or inference= and training="):
        compare(net, scenarios=[Training(1)], **beside)
