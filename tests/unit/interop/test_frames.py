"""Scopes as calls: what they are given, make, return and drop, by hand."""

from cnnbudget import Add, Input, Network, Node
from cnnbudget.interop.frames import Run, Step, plan


def network(*nodes, outputs):
    return Network([Input("x", (1, 4))], [Node(name, Add(), [*reads]) for name, *reads in nodes], outputs)


def test_a_scope_is_one_call():
    found = plan(network(("s/a", "x", "x"), ("s/b", "s/a", "x"), ("c", "s/b", "s/b"), outputs=["c"]))
    assert found.places == {"s/a": ("s", "a"), "s/b": ("s", "b"), "c": ("c",)}
    assert found.runs == {
        (): (
            Run(
                ("x",),
                (
                    Step(("s",), 0, ("x",), ("s/b",), ("x",)),
                    Step(("c",), 0, ("s/b", "s/b"), ("c",), ("s/b",)),
                ),
                ("c",),
            ),
        ),
        ("s",): (
            Run(
                ("x",),
                (
                    Step(("a",), 0, ("x", "x"), ("s/a",), ()),
                    Step(("b",), 0, ("s/a", "x"), ("s/b",), ("s/a", "x")),
                ),
                ("s/b",),
            ),
        ),
    }


def test_a_scope_that_is_left_and_entered_again_has_two_runs():
    found = plan(network(("s/a", "x", "x"), ("t", "s/a", "x"), ("s/b", "t", "s/a"), outputs=["s/b"]))
    first, second = found.runs["s",]
    assert (first.inputs, first.outputs) == (("x",), ("s/a",))
    assert (second.inputs, second.outputs) == (("t", "s/a"), ("s/b",))
    (whole,) = found.runs[()]
    assert [(step.child, step.run, step.inputs, step.outputs, step.drops) for step in whole.steps] == [
        (("s",), 0, ("x",), ("s/a",), ()),
        (("t",), 0, ("s/a", "x"), ("t",), ("x",)),
        (("s",), 1, ("t", "s/a"), ("s/b",), ("t", "s/a")),
    ]


def test_values_that_nobody_reads_are_dropped_at_once_and_outputs_never():
    found = plan(network(("s/a", "x", "x"), ("s/b", "x", "x"), ("c", "x", "x"), outputs=["s/b", "x"]))
    (inner,) = found.runs["s",]
    assert [step.drops for step in inner.steps] == [("s/a",), ("x",)]
    assert inner.outputs == ("s/b",)
    (whole,) = found.runs[()]
    assert [step.drops for step in whole.steps] == [(), ("c",)]
    assert whole.outputs == ("s/b", "x")


def test_flat():
    nodes = network(("s/a", "x", "x"), ("s.t/b", "s/a", "x"), outputs=["s.t/b"])
    found = plan(nodes, flat=True)
    assert found.places == plan(nodes).places == {"s/a": ("s", "a"), "s.t/b": ("s", "t", "b")}
    (whole,) = found.runs[()]
    assert [(step.child, step.drops) for step in whole.steps] == [(("s", "a"), ()), (("s", "t", "b"), ("s/a", "x"))]
    assert found.runs["s",] == found.runs["s", "t"] == ()


def test_names():
    names = ["a", "a/b", "a..b", "self/x", "....", "self"]
    nodes = network(*[(name, "x", "x") for name in names], outputs=names)
    assert [*plan(nodes, reserved=["self"]).places.values()] == [
        *(("a",), ("a2", "b"), ("a2", "b2"), ("self2", "x"), ("_",), ("self3",))
    ]


def test_many_nodes_and_many_scopes():
    nodes, before = [], "x"
    for number in range(20_000):
        nodes.append((f"s{number // 10}.{number % 10 // 5}/n{number}", before, "x"))
        before = nodes[-1][0]
    found = plan(network(*nodes, outputs=[before]))
    assert len(found.runs) == 1 + 2000 + 4000
    assert all(run.inputs in {("x",), (run.inputs[0], "x")} for run in found.runs["s7",])
