"""Sweeps: every row is the profile of its point, whoever computed it; what fails says so in its row."""

import os
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, ClassVar, Self

import numpy as np
import pytest
from attrs import evolve, frozen

from cnnbudget import (
    FP16,
    FP32,
    INT4,
    Add,
    Autograd,
    CachingAllocator,
    Checkpoint,
    Conv,
    DataParallel,
    ElementwiseLayer,
    Flatten,
    GlobalAvgPool,
    Inference,
    Input,
    InvalidTypeError,
    InvalidValueError,
    Layer,
    Linear,
    MaxPool,
    MissingExtraError,
    Net,
    Network,
    Node,
    Offload,
    Precision,
    ReLU,
    Role,
    Scenario,
    TensorSpec,
    Training,
    UnknownNameError,
    profile,
    sweep,
    with_input_shape,
    with_width,
    zoo,
)
from cnnbudget.advice.points import takes

NET = Net.input(3, 16, 16).then(Conv(8, 3), ReLU(), MaxPool(2), Conv(8, 3), GlobalAvgPool(), Linear(10))
TINY = Net.input(3, 8, 8).then(Conv(4, 3, bias=False))


def make(width: int = 8, input_shape: tuple[int, ...] = (3, 16, 16)) -> Net:
    return Net.input(*input_shape).then(Conv(width, 3), ReLU(), Flatten(), Linear(2))


def fails(width: int) -> Net:
    if width == 2:
        raise RuntimeError("no such width")
    return make(width)


def numbers(found: Any) -> dict[str, Any]:
    """What a row must say, of one profile."""
    return {
        "peak": int(found.peak),
        "activation_peak": int(found.activation_peak),
        "retained": int(found.retained),
        "peak_step": str(found.peak_step),
        "error": None,
    }


def test_by_hand() -> None:
    found = sweep(TINY, Inference(), batch=[1, 10], precision=["FP32", FP16])
    # input 3*8*8 and output 4*6*6 are alive with the weights 4*3*3*3: (192 + 144) * batch + 108 elements
    assert found.rows() == [
        {
            "precision": precision,
            "batch": batch,
            "parameters": 108,
            "macs": 6 * 6 * 108,
            "peak": width * ((192 + 144) * batch + 108),
            "activation_peak": width * (192 + 144) * batch,
            "retained": 0,
            "peak_step": "forward of conv",
            "error": None,
        }
        for precision, width in (("FP32", 4), ("FP16", 2))
        for batch in (1, 10)
    ]
    assert found["peak"].dtype == np.int64
    assert found.axes == ("precision", "batch")
    assert len(found) == 4


def test_every_row_is_the_profile_of_its_point() -> None:
    base = Training(2, retention=Autograd())
    found = NET.sweep(
        base, batch=range(1, 40, 3), input_size=[9, (12, 20)], optimizer=["sgd", "adam"], precision=["FP32", "AMP_FP16"]
    )
    rows = iter(found.rows())
    for size, shape in (("9", (3, 9, 9)), ("12x20", (3, 12, 20))):
        network = with_input_shape(NET.network, shape)
        for optimizer in ("sgd", "adam"):
            for precision in ("FP32", "AMP_FP16"):
                for batch in range(1, 40, 3):
                    row = next(rows)
                    scenario = Training(batch, retention=Autograd(), optimizer=optimizer, precision=precision)
                    expected = numbers(profile(network, scenario))
                    assert {name: row[name] for name in expected} == expected
                    told = (str(row["input_size"]), row["optimizer"], row["precision"], row["batch"])
                    assert told == (size, optimizer, precision, batch)
    assert next(rows, None) is None


def test_the_batch_of_the_scenario_unless_told() -> None:
    assert NET.sweep(Training(7))["batch"].tolist() == [7]
    assert NET.sweep(Training(7), batch=3)["batch"].tolist() == [3]
    assert (
        NET.sweep(Training(7), batch=np.array([3, 2], dtype=np.uint8)).rows()
        == NET.sweep(Training(), batch=[3, 2]).rows()
    )


def test_a_factory_is_called_with_the_options() -> None:
    found = sweep(make, Inference(2), width=[4, 6], input_size=[8, 10])
    expected = [make(width, (3, size, size)).profile(Inference(2)).peak for width in (4, 6) for size in (8, 10)]
    assert found["peak"].tolist() == expected
    assert found["width"].tolist() == [4, 4, 6, 6]
    assert found["parameters"].tolist() == [
        make(width, (3, size, size)).parameter_count for width in (4, 6) for size in (8, 10)
    ]
    shapes = sweep(make, Inference(2), input_shape=[(1, 8, 8), (3, 5, 9)])
    assert shapes["input_shape"].tolist() == ["1x8x8", "3x5x9"]
    assert shapes["peak"].tolist() == [make(8, shape).profile(Inference(2)).peak for shape in ((1, 8, 8), (3, 5, 9))]


def test_the_width_of_a_net_is_a_multiplier() -> None:
    net = Net.input(3, 8, 8).then(Conv(16, 3), ReLU(), Conv(8, 1, bias=False))

    def factory(deep: bool) -> Net:
        assert deep
        return net

    widths = [0.5, 1, 2, -1, "much"]
    found = net.sweep(Inference(), width=widths, input_size=[8, 12])
    # 3 x 3 x 3 weights and a bias a map, and 8 maps of 1 x 1 windows
    assert found["parameters"].tolist() == [*[maps * 28 + 8 * maps for maps in (8, 8, 16, 16, 32, 32)], *[None] * 4]
    assert [row["width"] for row in found.rows()] == [0.5, 0.5, 1, 1, 2, 2, -1, -1, "much", "much"]
    assert (
        sweep(factory, Inference(), deep=True, width=widths, input_size=[8, 12])["peak"].tolist()
        == found["peak"].tolist()
    )
    assert net.sweep(Inference(), width=2, input_size=12)["peak"][0] == with_width(net.network, 2).nodes[
        0
    ].layer.filters * (10 * 10 * 2 * 4) + 4 * (32 * 28 + 8 * 32)


def test_a_factory_without_an_input_shape_is_given_other_inputs() -> None:
    found = sweep(lambda width: NET if width else NET.network, Inference(), width=[0, 1], input_size=[12])
    peak = profile(with_input_shape(NET.network, (3, 12, 12)), Inference()).peak
    assert found["peak"].tolist() == [peak, peak]


def test_a_factory_whose_shape_has_no_default_is_asked() -> None:
    def anything(**options: Any) -> Net:
        return make(**options)

    def needs(*, input_shape: Any = None) -> Net:
        return make(input_shape=input_shape or (2, 16, 16))

    assert (
        sweep(anything, Inference(), input_size=12).rows()[0]["peak"]
        == make(input_shape=(3, 12, 12)).profile(Inference()).peak
    )
    assert (
        sweep(needs, Inference(), input_size=12).rows()[0]["peak"]
        == make(input_shape=(2, 12, 12)).profile(Inference()).peak
    )


def test_what_has_no_signature_takes_anything() -> None:
    assert takes(min, "anything")
    found = sweep(dict, Inference(), width=[1])
    assert found["error"].tolist() == [
        "sweep(): the factory returned no network: got {'width': 1}, expected a Net or a Network"
    ]


def test_what_fails_loses_nothing_else() -> None:
    found = sweep(fails, Inference(), width=[1, 2, 3], batch=[1, 2], precision=["FP32", "fp23"])
    rows = found.rows()
    assert [row["error"] for row in rows if row["precision"] == "FP32"] == [
        None,
        None,
        "RuntimeError: no such width",
        "RuntimeError: no such width",
        None,
        None,
    ]
    wrong = {row["error"] for row in rows if row["precision"] == "fp23"}
    assert [text.startswith("no precision has this name: got 'fp23'; did you mean 'FP") for text in wrong] == [True]
    assert {row["peak"] for row in rows if row["error"]} == {None}
    assert {row["parameters"] for row in rows if row["error"]} == {None}
    good = [row for row in rows if row["error"] is None]
    assert [row["peak"] for row in good] == [
        make(width).profile(Inference(batch)).peak for width in (1, 3) for batch in (1, 2)
    ]
    assert isinstance(found["peak"], np.ma.MaskedArray)
    assert len(found.failed) == 8
    assert "12 points, 8 of them failed" in str(found)


def test_a_size_that_does_not_fit() -> None:
    found = NET.sweep(Inference(), input_size=[16, 2, (8, 8, 8), 0, "large", 2.5])
    errors = found["error"].tolist()
    assert errors[0] is None
    assert "the window is larger than the padded input" in errors[1]
    assert (
        errors[2]
        == "sweep(): input_size does not fit the input: got (8, 8, 8), expected an int, or 2 ints for an input of (3, 16, 16)"
    )
    assert "out of range" in errors[3]
    assert all(errors[1:])
    flat = Net.input(8).then(Linear(2)).sweep(Inference(), input_size=[4])
    assert flat["error"].tolist() == [
        "sweep(): input_size does not fit the input: got 4, expected no input_size, because an input of (8,) has no spatial axes"
    ]


def test_several_inputs() -> None:
    same = Net.inputs(a=(3, 8, 8), b=(3, 8, 8)).join("b", merge=Add()).then(Conv(2, 3))
    assert same.sweep(Inference(), input_size=[8, 10])["peak"].tolist() == [
        same.profile(Inference()).peak,
        profile(with_input_shape(same.network, {"a": (3, 10, 10), "b": (3, 10, 10)}), Inference()).peak,
    ]
    nodes = [
        Node("pool", GlobalAvgPool(), ["a"]),
        Node("pool2", GlobalAvgPool(), ["b"]),
        Node("add", Add(), ["pool", "pool2"]),
    ]
    differ = Network([Input("a", (3, 8, 8)), Input("b", (3, 4, 4))], nodes, ["add"])
    assert sweep(differ, Inference(), input_size=[8])["error"].tolist() == [
        (
            "sweep(): input_size needs inputs of one size: got a (3, 8, 8), b (3, 4, 4), expected one size of the spatial axes; "
            "sweep a function of input_shape instead"
        )
    ]


@frozen
class Silent(ElementwiseLayer):
    """Does not say what it multiplies."""

    def macs(self, inputs: Any, output: Any) -> None:
        return None


def test_unknown_macs_are_missing_and_fail_nothing() -> None:
    found = Net.input(3, 4, 4).then(Silent()).sweep(Inference(), batch=[1, 2])
    assert [row["macs"] for row in found.rows()] == [None, None]
    assert [row["error"] for row in found.rows()] == [None, None]
    assert found["peak"].tolist() == [2 * 48 * 4, 2 * 2 * 48 * 4]


# Batches ---------------------------------------------------------------------------------------------------------------


def test_devices_and_parts_share_a_batch() -> None:
    found = NET.sweep(Training(8, accumulate=3), batch=range(1, 30), devices=[1, 2])
    for row in found.rows():
        if row["batch"] < 3 * row["devices"] - (row["devices"] - 1):
            assert "more parts than samples" in row["error"]
            assert row["peak"] is None
        else:
            scenario = Training(row["batch"], accumulate=3, devices=row["devices"])
            expected = numbers(NET.profile(scenario))
            assert {name: row[name] for name in expected} == expected


@frozen
class Greedy(DataParallel):
    """The first device takes all but one sample of every other; it needs two at least."""

    def share(self, batch: int) -> int:
        if batch < self.count:
            raise InvalidValueError("a device is idle")
        return batch - self.count + 1


def test_devices_of_another_kind_are_asked_batch_by_batch() -> None:
    found = NET.sweep(Training(8, devices=Greedy(3)), batch=[2, 3, 9])
    assert found["error"].tolist() == ["a device is idle", None, None]
    assert found.rows()[2]["peak"] == NET.profile(Training(7)).peak


def test_where_two_steps_have_the_peak_the_first_is_told() -> None:
    # Two convolutions whose lines meet at some batch: found by looking at all of them.
    net = Net.input(4, 9, 9).then(Conv(1, 3), Conv(30, 3), Flatten(), Linear(40))
    scenario = Training(1)
    found = net.sweep(scenario, batch=range(1, 200))
    assert found["peak_step"].tolist() == [str(net.profile(Training(batch)).peak_step) for batch in range(1, 200)]


def test_lines_that_meet_at_a_batch() -> None:
    """Steps of 10 + 1n and 0 + 6n bytes are equal at n = 2: the earlier step is told there, whichever line it is on."""
    from cnnbudget.advice.points import Design, Task, run_task

    @frozen(repr=False)
    class TwoSteps(Autograd):
        swapped: bool = False

        @property
        def serves_inference(self) -> bool:
            return True

        def schedule(self, table: Any, scenario: Any) -> Any:
            from cnnbudget import Phase, ScheduleBuilder

            builder = ScheduleBuilder(scenario.precision)
            flat = [builder.add_fixed("ten", (10,), Role.WORKSPACE), builder.add("one", TensorSpec((1,)))]
            steep = [builder.add("six", TensorSpec((6,)))]
            order = [("flat", flat), ("steep", steep)]
            for name, numbers in reversed(order) if self.swapped else order:
                builder.step(Phase.FORWARD, name, writes=numbers)
            return builder.build()

    for swapped, at_two in ((False, "forward of flat"), (True, "forward of steep")):
        scenario = Inference(retention=TwoSteps(swapped=swapped))
        found = TINY.sweep(scenario, batch=[1, 2, 3])
        assert found["peak"].tolist() == [44, 48, 72]
        assert found["peak_step"].tolist() == ["forward of flat", at_two, "forward of steep"]
        (finding,) = run_task(Task(Design(TINY.network), (scenario,)))
        assert finding.ties == (() if swapped else ((2, "forward of flat"),))


def test_formats_below_a_byte_round_up_one_by_one() -> None:
    tiny = Precision("tiny", INT4, {Role.BUFFER: FP32.default})
    odd = Net.input(1, 3, 3).then(Conv(1, 2), Conv(1, 2))
    for scenario in (
        Inference(precision=tiny),
        Inference(precision=Precision("P", FP32.default, {Role.ACTIVATION: INT4})),
    ):
        found = odd.sweep(scenario, batch=[1, 2, 3, 3])
        profiles = [odd.profile(scenario.evolve(batch=batch)) for batch in (1, 2, 3, 3)]
        assert found["peak"].tolist() == [each.peak for each in profiles]
        assert found["peak_step"].tolist() == [str(each.peak_step) for each in profiles]


@frozen
class Bits(ElementwiseLayer):
    """Makes an output of four bits, which nobody can know beforehand."""

    def infer(self, inputs: Any) -> TensorSpec:
        return TensorSpec(inputs[0].shape, dtype=INT4)


def alone(net: Net, scenario: Scenario) -> tuple[Any, ...]:
    try:
        found = net.profile(scenario)
    except InvalidValueError as error:
        return (str(error), None, None, None, None)
    return (None, found.peak, found.activation_peak, found.retained, str(found.peak_step))


@pytest.mark.parametrize("executor", [None, "threads"])
def test_a_width_that_a_layer_states_is_found_out(executor: str | None) -> None:
    odd = Net.input(1, 3, 3).then(Bits())
    with ThreadPoolExecutor(2) as pool:
        found = odd.sweep(Inference(), batch=[1, 2], executor=pool if executor else None)
    assert found["peak"].tolist() == [36 + 5, 72 + 9]  # nine elements of four bits are five bytes, eighteen are nine


@pytest.mark.parametrize("executor", [None, "threads"])
@pytest.mark.parametrize(
    "scenario",
    [
        Training(retention=Autograd(), optimizer="adam", order="optimal", precision="AMP_FP16"),
        Training(retention=Checkpoint.optimal("200 KB")),
        Training(retention=Offload(least=10_000)),
    ],
)
def test_what_is_planned_for_a_batch_is_planned_for_every_batch(scenario: Training, executor: str | None) -> None:
    net = Net.input(3, 16, 16).then(*[Conv(4, 3, padding=1), ReLU()] * 4, Flatten(), Linear(10))
    batches = [1, 2, 3, 4, 8, 40]
    if executor is None:
        found = net.sweep(scenario, batch=batches)
    else:
        with ThreadPoolExecutor(2) as pool:
            found = net.sweep(scenario, batch=batches, executor=pool)
    names = ("error", "peak", "activation_peak", "retained", "peak_step")
    rows = [tuple([row[name] for name in names]) for row in found.rows()]
    assert rows == [alone(net, scenario.evolve(batch=batch)) for batch in batches]
    if isinstance(scenario.retention, Checkpoint):  # 200 kB hold few samples
        assert [row["error"] is None for row in found.rows()] == [True, True, True, True, False, False]


def test_an_allocator_reserves() -> None:
    scenario = Training(4, accumulate=2)
    found = NET.sweep(scenario, batch=[1, 4, 5], allocator=[CachingAllocator()])
    rows = found.rows()
    assert "more parts" in rows[0]["error"]
    for row, batch in zip(rows[1:], (4, 5), strict=True):
        there = NET.profile(scenario.evolve(batch=batch, allocator=CachingAllocator()))
        assert row["reserved"] == there.reserved > row["peak"] == there.peak
    assert rows[0]["reserved"] is None
    reserved = [row["reserved"] for row in rows[1:]]
    assert found.fits(min(reserved) - 1)["batch"].tolist() == []  # though every peak is less
    assert found.fits(max(reserved))["batch"].tolist() == [4, 5]
    both = NET.sweep(scenario, batch=4, allocator=[scenario.allocator, CachingAllocator()])
    assert both["reserved"][0] == both["peak"][0]
    assert "reserved" not in NET.sweep(scenario).columns


def test_bytes_beyond_64_bits_are_exact() -> None:
    huge = Net.input(2**20, 2**14).then(ReLU())
    batch = 2**30
    found = huge.sweep(Inference(), batch=[1, batch])
    assert found["peak"].tolist() == [2 * 2**34 * 4, 2 * 2**34 * 4 * batch]
    assert found["peak"].dtype == object
    with_allocator = huge.sweep(Inference(precision=Precision("P", FP32.default, {Role.BUFFER: INT4})), batch=batch)
    assert with_allocator["peak"].tolist() == [2 * 2**34 * 4 * batch]


# Executors -------------------------------------------------------------------------------------------------------------


def ask(**options: Any) -> Any:
    return sweep(
        zoo.lenet5,
        Training(),
        batch=[1, 7],
        input_size=[28, 32, 3],
        num_classes=[10, 0],
        precision=["FP32", "INT8", "FP16"],
        **options,
    )


def test_any_executor_and_number_of_workers_gives_the_same() -> None:
    expected = ask().rows()
    assert sum(row["error"] is None for row in expected) == 8
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            assert ask(executor=pool).rows() == expected
    with ProcessPoolExecutor(2) as pool:
        assert ask(executor=pool).rows() == expected


class Reversed:
    """Runs nothing until a result is asked for, and then everything, last first."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def submit(self, function: Any, *arguments: Any) -> Any:
        future: Future[Any] = Future()
        self.waiting.append((future, function, arguments))
        outer = self

        class Lazy:
            def result(self) -> Any:
                while outer.waiting:
                    last, run, given = outer.waiting.pop()
                    last.set_result(run(*given))
                return future.result()

            def cancel(self) -> bool:
                return future.cancel()

        return Lazy()


def test_the_order_in_which_points_finish_does_not_matter() -> None:
    assert ask(executor=Reversed()).rows() == ask().rows()


def test_a_worker_that_dies_and_a_function_that_cannot_travel() -> None:
    with ProcessPoolExecutor(1) as pool:
        found = sweep(os._exit, Inference(), status=[1, 2], executor=pool)
    assert all("BrokenProcessPool" in error for error in found["error"].tolist())
    with ProcessPoolExecutor(1) as pool:
        lost = sweep(lambda width: make(width), Inference(), width=[1], executor=pool)
    assert "pickle" in lost["error"].tolist()[0].lower()


def test_an_executor_that_takes_nothing_any_more() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    assert "cannot schedule new futures after shutdown" in NET.sweep(Inference(), executor=pool)["error"].tolist()[0]


def test_nothing_to_run() -> None:
    with ThreadPoolExecutor(1) as pool:
        found = NET.sweep(Inference(), precision=["no", "never"], executor=pool)
    assert len(found.failed) == 2


# Progress --------------------------------------------------------------------------------------------------------------


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    NET.sweep(
        Inference(),
        batch=[1, 2, 3],
        precision=["FP32", "FP16"],
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(3, 6), (6, 6)]
    NET.sweep(Inference(), progress=False)


def test_progress_may_stop_the_sweep() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    cancelled = []

    class Counting(ThreadPoolExecutor):
        def submit(self, *arguments: Any) -> Any:
            future = super().submit(*arguments)
            cancelled.append(future)
            return future

    with Counting(1) as pool, pytest.raises(KeyboardInterrupt):
        NET.sweep(Inference(), precision=["FP32"] * 50, progress=stop, executor=pool)
    assert len(cancelled) == 50


def test_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    class Bar:
        made: ClassVar[list[Self]] = []

        def __init__(self, total: int, unit: str) -> None:
            self.total, self.n, self.closed = total, 0, False
            self.made.append(self)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *error: object) -> None:
            self.closed = True

        def update(self, more: int) -> None:
            self.n += more

    module = ModuleType("tqdm")
    module.tqdm = Bar  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tqdm", module)
    NET.sweep(Inference(), batch=[1, 2, 3], precision=["FP32", "FP16"], progress=True)
    (bar,) = Bar.made
    assert (bar.total, bar.n, bar.closed) == (6, 6, True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(MissingExtraError, match=r"needs tqdm, which is not installed; .*cnnbudget\[progress\]"):
        NET.sweep(Inference(), progress=True)


# Labels ----------------------------------------------------------------------------------------------------------------


def test_labels() -> None:
    found = NET.sweep(
        Training(),
        frozen=[("conv*",), None],
        loss=[None, "cross_entropy"],
        precision=FP16,
        devices=[DataParallel(2)],
    )
    assert found["precision"].tolist() == ["FP16"] * 4
    assert found["devices"].tolist() == ["DataParallel(2)"] * 4
    assert found["frozen"].tolist() == ["('conv*',)"] * 2 + [None] * 2
    assert found["loss"].tolist() == [None, "cross_entropy"] * 2

    def scaled(width: float, deep: bool = False, big: int = 0, mixed: Any = None) -> Net:
        return TINY

    wide = sweep(scaled, Inference(), width=[0.5, 1, float("nan")], deep=[True, False], big=[2**60], mixed=["a"])
    assert wide["width"].tolist() == [0.5, 0.5, 1, 1, "nan", "nan"]
    assert wide["deep"].dtype == bool
    assert wide["big"].tolist() == [2**60] * 6
    assert sweep(scaled, Inference(), width=[0.5, 1])["width"].dtype == np.float64


# Bad input -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"batch": []}, InvalidValueError, r"the axis batch is empty: got \[\], expected one value at least"),
        ({"precision": ()}, InvalidValueError, r"the axis precision is empty"),
        ({"input_size": []}, InvalidValueError, r"the axis input_size is empty"),
        ({"batch": np.array([], dtype=int)}, InvalidValueError, r"the axis batch is empty"),
        ({"batch": [0]}, InvalidValueError, r"batch is out of range: got 0"),
        ({"batch": np.array([4, 0])}, InvalidValueError, r"batch is out of range: got 0"),
        ({"batch": np.array([4, 2**31])}, InvalidValueError, r"batch is out of range: got 2147483648"),
        ({"batch": [float("nan")]}, InvalidTypeError, r"batch must be an int: got nan"),
        ({"batch": "32"}, InvalidTypeError, r"batch must be an int: got '32'"),
        ({"batch": [True]}, InvalidTypeError, r"batch must be an int"),
        (
            {"batch": range(1, 10**8)},
            InvalidValueError,
            r"too many points: got 99,999,999, expected at most 50,000,000",
        ),
        ({"batch": range(1, 10**5), "devices": [1] * 10**3}, InvalidValueError, r"too many points: got 99,999,000"),
        ({"batchs": [1]}, UnknownNameError, r"Inference has no such field: got 'batchs'; did you mean 'batch'"),
        ({"optimizer": ["adam"]}, UnknownNameError, r"Inference has no such field: got 'optimizer'"),
        ({"depth": [1]}, UnknownNameError, r"Inference has no such field: got 'depth'"),
        ({"peak": [1, 2]}, InvalidValueError, r"an axis has the name of a result: got 'peak'"),
        ({"executor": 4}, InvalidTypeError, r"executor cannot run anything: got 4"),
        ({"progress": 1}, InvalidTypeError, r"progress cannot be told anything: got 1"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        sweep(NET, Inference(), **options)


def test_no_argument_of_a_function_hides_a_result() -> None:
    """A column of the same name would have replaced the axis, and nobody could tell the points apart."""
    for name in set(sweep(NET, Inference(), batch=[1])) - {"batch"}:
        axes: dict[str, Any] = {name: [1, 2]}
        with pytest.raises(InvalidValueError, match=rf"an axis has the name of a result: got '{name}'"):
            sweep(lambda **options: NET, Inference(), **axes)


def test_bad_sources_and_scenarios() -> None:
    with pytest.raises(InvalidTypeError, match=r"sweep\(\) takes a network: got 'resnet'"):
        sweep("resnet", Inference())
    with pytest.raises(InvalidTypeError, match=r"sweep\(\) needs a scenario: got <class"):
        sweep(NET, Inference)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match=r"no such field, nor does the function take it: got 'depth'"):
        sweep(make, Inference(), depth=[1])
    with pytest.raises(InvalidValueError, match=r"given the input twice: got input_size= and input_shape="):
        sweep(make, Inference(), input_size=[8], input_shape=[(3, 8, 8)])
    with pytest.raises(InvalidValueError, match=r"empty"):
        sweep(Net.input(3, 8, 8), Inference())


@frozen
class Hostile(Layer):
    """Fails in a way of its own, without a text."""

    def infer(self, inputs: Any) -> Any:
        return inputs[0]

    def parameters(self, inputs: Any) -> Any:
        raise ZeroDivisionError


@frozen
class Reluctant(ElementwiseLayer):
    """Fails when it is scheduled."""

    def alias(self, inputs: Any, output: Any, *, training: bool) -> Any:
        raise RuntimeError


@frozen
class Picky(Inference):
    """Refuses one batch and makes a scenario that fails in a way of its own."""

    def __attrs_post_init__(self) -> None:
        if self.frames == "eager":
            raise RuntimeError("not this one")


def test_foreign_code_may_fail_anyhow() -> None:
    nodes = [Node("hostile", Hostile(), ["x"])]
    hostile = Network([Input("x", (3, 4, 4))], nodes, ["hostile"])
    assert sweep(hostile, Inference())["error"].tolist() == ["ZeroDivisionError: "]
    reluctant = evolve(hostile, nodes=[Node("hostile", Reluctant(), ["x"])])
    assert sweep(reluctant, Inference())["error"].tolist() == ["RuntimeError: "]
    assert NET.sweep(Picky(), frames=["ideal", "eager"])["error"].tolist() == [None, "RuntimeError: not this one"]
