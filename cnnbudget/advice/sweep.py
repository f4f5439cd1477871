"""Sweeps: memory over every combination of batch, input size, precision, optimizer, width, as columns.

The batch costs nothing: every step of a schedule is affine in it, so a network in a scenario is a few lines, and all batches are
read off them at once. What remains is one profile for every other combination, here or on any executor.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import product
from math import isfinite, prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from attrs import fields_dict, frozen

from cnnbudget.advice.batches import plans_for_batch
from cnnbudget.advice.export import need
from cnnbudget.advice.points import Design, Finding, Task, describe_error, run_task, scales, takes
from cnnbudget.advice.sweep_result import Sweep
from cnnbudget.checks import exact_int
from cnnbudget.dtypes import Precision
from cnnbudget.errors import (
    CnnBudgetError,
    InvalidTypeError,
    InvalidValueError,
    UnknownNameError,
    did_you_mean,
    shorten,
)
from cnnbudget.graph.nodes import Network
from cnnbudget.memory.allocator import Ideal
from cnnbudget.memory.devices import DataParallel
from cnnbudget.memory.scenario import Inference, Scenario, Training

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from typing import SupportsIndex

    import numpy as np

    from cnnbudget.advice.export import need
from cnnbudget.advice.points import Lines

__all__ = ["sweep"]

_MOST = 50_000_000
_COUNTS = ("parameters", "macs")
_SIZES = ("peak", "activation_peak", "retained")
_FOUND = (*_COUNTS, *_SIZES, "reserved", "peak_step", "error")


def sweep(
    source: Any,
    scenario: Scenario,
    *,
    batch: Iterable[SupportsIndex] | SupportsIndex | None = None,
    input_size: Any = None,
    executor: concurrent.futures.Executor | None = None,
    progress: Callable[[int, int], object] | bool | None = None,
    **axes: Any,
) -> Sweep:
    """Computes memory and costs at every combination of what is varied.

    A list, a tuple, a range or an array is an axis, anything else one value. A point that fails says so in its row, and no
    other point is lost. Results do not depend on the executor, its workers, or the order in which they finish.

    Args:
        source: A net, a network, or a function that returns one.
        scenario: What does not vary.
        batch: Samples in a batch; the scenario's unless told. In closed form: many cost no more than one.
        input_size: Sizes of the spatial axes of the input: an int for all of them, or a tuple of one int an axis (as a value:
            ``[(224, 448)]``). Layers stay, shapes follow; a function that takes ``input_shape`` is called with it.
        executor: Anything with the ``submit`` of :mod:`concurrent.futures`: a pool of processes, Dask's
            ``Client.get_executor()``, ``mpi4py.futures``.
        progress: Called with the number of points that are done and of all points; ``True`` shows a bar (extra ``progress``).
        **axes: Fields of the scenario (``precision``, ``optimizer``, ``retention``, ``devices``, ...); ``width``, a multiplier as
            in :func:`cnnbudget.with_width`; and, with a function, its other arguments (``depth``, a ``width`` of its own, ...).

    Returns:
        One row a point, the batch varying fastest.

    Raises:
        InvalidTypeError: If the source, the scenario, a batch, the executor or the progress is something else.
        InvalidValueError: If an axis is empty or called like a result, or there are too many points.
        UnknownNameError: If an axis is neither a field of the scenario nor an argument of the function; the error guesses.

    Example:
        >>> from cnnbudget import Conv, Inference, Net
        >>> net = Net.input(3, 8, 8).then(Conv(4, 3, bias=False))
        >>> found = sweep(net, Inference(), batch=[1, 10], precision=["FP32", "FP16"])
        >>> [(row["precision"], row["batch"], row["peak"]) for row in found.rows()]
        [('FP32', 1, 1776), ('FP32', 10, 13872), ('FP16', 1, 888), ('FP16', 10, 6936)]
    """
    source = getattr(source, "network", source)
    _check(source, scenario, executor)
    batches = _batches(scenario.batch if batch is None else batch)
    changed, options = _split(source, scenario, axes)
    sizes = [None] if input_size is None else _values("input_size", input_size)
    if input_size is not None and "input_shape" in options:
        raise InvalidValueError(
            "sweep() was given the input twice", got="input_size= and input_shape=", expected="one of them"
        )
    names = [*options, *(["input_size"] if input_size is not None else []), *changed, "batch"]
    total = prod(map(len, options.values())) * len(sizes) * prod(map(len, changed.values())) * len(batches)
    if total > _MOST:
        raise _too_many(total)
    designs = [
        (values, size, Design(source, tuple(zip(options, values, strict=True)), size))
        for values in product(*options.values())
        for size in sizes
    ]
    largest = int(batches.max())
    variants = [_variant(scenario, changed, values, largest) for values in product(*changed.values())]
    reserved = any(not isinstance(each.scenario.allocator, Ideal) for each in variants if each.scenario)
    blocks, labels = [], []
    with (
        _reporter(progress, total) as report,
        closing(_findings([design for *_, design in designs], variants, batches, executor)) as findings,
    ):
        pairs = zip(product(designs, variants), findings, strict=True)
        for number, (((values, size, _), variant), finding) in enumerate(pairs, start=1):
            given = (*values, *([] if input_size is None else [size]), *variant.values)
            labels.append([_label(value) for value in given])
            blocks.append(_block(finding, variant, batches))
            report(number * len(batches))
    return _assemble(names, labels, batches, blocks, reserved=reserved)


def _check(source: Any, scenario: Any, executor: Any) -> None:
    if not isinstance(source, Network) and not callable(source):
        raise InvalidTypeError(
            "sweep() takes a network", got=shorten(source), expected="a Net, a Network, or a function that returns one"
        )
    if not isinstance(scenario, Scenario):
        raise InvalidTypeError(
            "sweep() needs a scenario", got=shorten(scenario), expected="for example Inference() or Training(batch=32)"
        )
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise InvalidTypeError(
            "sweep(): executor cannot run anything",
            got=shorten(executor),
            expected="an executor of concurrent.futures, or anything else with submit()",
        )


def _too_many(total: int) -> InvalidValueError:
    return InvalidValueError("sweep() has too many points", got=f"{total:,}", expected=f"at most {_MOST:,}")


def _values(name: str, values: Any) -> list[Any]:
    """The values of an axis: one, or those of a list, a tuple, a range, an array."""
    if hasattr(values, "tolist"):
        values = values.tolist()  # numpy's
    found = list(values) if isinstance(values, (list, tuple, range)) else [values]
    if not found:
        raise InvalidValueError(
            f"sweep(): the axis {name} is empty", got=shorten(values), expected="one value at least"
        )
    return found


def _batches(values: Any) -> np.ndarray[Any, Any]:
    import numpy as np  # only who sweeps pays for numpy

    if isinstance(values, range) and 0 < len(values) <= _MOST:
        values = np.arange(values.start, values.stop, values.step)
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu" and values.ndim == 1 and values.size:
        exact_int(int(values.min()), "batch")
        exact_int(int(values.max()), "batch")
        return values.astype(np.int64)
    if hasattr(values, "__len__") and len(values) > _MOST:
        raise _too_many(len(values))
    return np.array([exact_int(value, "batch") for value in _values("batch", values)], dtype=np.int64)


def _split(source: Any, scenario: Scenario, axes: dict[str, Any]) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """Sorts the axes: fields of the scenario, and arguments of the function."""
    known = [name for name in fields_dict(type(scenario)) if name != "batch"]
    changed, options = {}, {}
    for name, values in axes.items():
        if name in _FOUND:
            raise InvalidValueError(
                "sweep(): an axis has the name of a result",
                got=shorten(name),
                expected=f"another one than {', '.join(_FOUND)}",
                hint=f"wrap the function: lambda {name}_: function({name}={name}_)",
            )
        if name in known:
            changed[name] = _values(name, values)
        elif (name == "width" and scales(source)) or (not isinstance(source, Network) and takes(source, name)):
            options[name] = _values(name, values)
        else:
            what = "" if isinstance(source, Network) else ", nor does the function take it"
            raise UnknownNameError(
                f"sweep(): {type(scenario).__name__} has no such field{what}",
                got=shorten(name),
                hint=did_you_mean(name, ["batch", "input_size", "width", *known]),
            )
    return changed, options


@frozen
class _Variant:
    """A scenario of the sweep, or why there is none."""

    values: tuple[Any, ...]
    scenario: Scenario | None = None
    error: str | None = None


def _variant(scenario: Scenario, changed: dict[str, list[Any]], values: tuple[Any, ...], batch: int) -> _Variant:
    try:
        return _Variant(values, scenario.evolve(batch=batch, **dict(zip(changed, values, strict=True))))
    except Exception as error:  # noqa: BLE001  # a foreign policy may fail in any way, and a sweep goes on
        return _Variant(values, error=describe_error(error))


def _findings(
    designs: list[Design],
    variants: list[_Variant],
    batches: np.ndarray[Any, Any],
    executor: concurrent.futures.Executor | None,
) -> Generator[Finding]:
    """Runs the tasks; yields the findings in order, whatever the order in which they come.

    Without an executor a network is made once for all scenarios; with one, every pair is a task of its own.
    """
    usable = [variant.scenario for variant in variants if variant.scenario is not None]
    if executor is None or not usable:
        results: Iterable[tuple[Finding, ...]] = (run_task(Task(design, tuple(usable))) for design in designs)
    else:
        told = [_possible(scenario, batches) if _is_single(scenario) else None for scenario in usable]
        tasks = [
            Task(design, (scenario,), singles)
            for design in designs
            for scenario, singles in zip(usable, told, strict=True)
        ]
        results = _grouped(_submitted(executor, tasks), len(usable))
    for design, found in zip(designs, results, strict=True):
        ready = iter(found)
        for variant in variants:
            if variant.scenario is None:
                yield Finding(variant.error)
                continue
            finding = next(ready)
            if finding.single and not finding.values:
                (finding,) = run_task(Task(design, (variant.scenario,), _possible(variant.scenario, batches)))
            yield finding


def _is_single(scenario: Scenario) -> bool:
    """Whether it is known beforehand that every batch must be looked at by itself. What layers state may show it later."""
    widths = [scenario.precision.default, *[dtype for _, dtype in scenario.precision.dtypes]]
    return (
        plans_for_batch(scenario)
        or not isinstance(scenario.allocator, Ideal)
        or any(dtype.bits % 8 for dtype in widths)
    )


def _grouped(results: Iterator[tuple[Finding, ...]], count: int) -> Iterator[tuple[Finding, ...]]:
    for first in results:
        yield (*first, *[finding for _ in range(count - 1) for finding in next(results)])


def _submitted(executor: concurrent.futures.Executor, tasks: Sequence[Task]) -> Iterator[tuple[Finding, ...]]:
    """Submits all tasks, and yields the results in order. What a worker that died has not done fails with its error."""
    futures: list[Any] = []
    try:
        for task in tasks:
            try:
                futures.append(executor.submit(run_task, task))
            except Exception as error:  # noqa: BLE001  # a pool that broke refuses what comes after
                futures.append(describe_error(error))
        for future in futures:
            if isinstance(future, str):
                yield (Finding(future),)
                continue
            try:
                yield future.result()
            except Exception as error:  # noqa: BLE001  # a worker died, or a function could not be sent to it
                yield (Finding(describe_error(error)),)
    finally:
        for future in futures:
            if not isinstance(future, str):
                future.cancel()


def _shares(scenario: Scenario, batches: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Samples that the fullest device works on at once, for every batch; 0 where the scenario does not allow the batch."""
    import numpy as np

    if type(scenario) in {Inference, Training} and type(scenario.devices) is DataParallel:
        share = -(-batches // scenario.devices.count)
        parts = getattr(scenario, "accumulate", 1)
        return np.where(share < parts, 0, -(-share // parts))
    shares = []
    for batch in batches.tolist():
        try:
            shares.append(scenario.evolve(batch=batch).device_batch)
        except CnnBudgetError:
            shares.append(0)
    return np.array(shares, dtype=np.int64)


def _possible(scenario: Scenario, batches: np.ndarray[Any, Any]) -> tuple[int, ...]:
    """The batches that a scenario allows, once each, in order."""
    return tuple(dict.fromkeys(batches[_shares(scenario, batches) > 0].tolist()))


def _block(finding: Finding, variant: _Variant, batches: np.ndarray[Any, Any]) -> dict[str, Any]:
    """The columns of one network in one scenario: all batches."""
    import numpy as np

    count = len(batches)
    if finding.error is not None or variant.scenario is None:
        return {"error": np.full(count, finding.error, dtype=object)}
    shares = _shares(variant.scenario, batches)
    valid = shares > 0
    errors = np.full(count, None, dtype=object)
    for position in np.flatnonzero(~valid).tolist():
        errors[position] = _refusal(variant.scenario, int(batches[position]))
    found: dict[str, Any] = {"parameters": finding.parameters, "macs": finding.macs, "valid": valid, "error": errors}
    if finding.single:
        rows = dict(zip(_possible(variant.scenario, batches), finding.values, strict=True))
        missing = (0, 0, 0, 0, None)
        given: list[Any] = [rows.get(batch, missing) for batch in batches.tolist()]
        for position, row in enumerate(given):
            if isinstance(row, str):
                given[position], errors[position], valid[position] = missing, row, False
        columns = list(zip(*given, strict=True))
        for name, values in zip((*_SIZES, "reserved"), columns, strict=False):
            found[name] = _ints(values)
        found["peak_step"] = np.array(columns[-1], dtype=object)
        return found
    found["peak"], lines = _evaluate(finding.peak, shares)
    found["activation_peak"], _ = _evaluate(finding.activations, shares)
    found["retained"], _ = _evaluate(((0, *finding.retained),), shares)
    found["reserved"] = found["peak"]
    labels = np.array(finding.steps, dtype=object)[lines]
    for batch, label in finding.ties:
        labels[shares == batch] = label
    labels[~valid] = None
    found["peak_step"] = labels
    return found


def _refusal(scenario: Scenario, batch: int) -> str:
    try:
        scenario.evolve(batch=batch)
    except CnnBudgetError as error:
        return describe_error(error)
    raise AssertionError  # pragma: no cover  # the batch was refused a moment ago


def _evaluate(lines: Lines, shares: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Bytes on the upper envelope, and which line each is on."""
    import numpy as np

    starts, fixed, slopes = (np.array(part, dtype=object) for part in zip(*lines, strict=True))
    chosen = np.searchsorted(starts.astype(np.int64), shares, side="right") - 1
    most = int(shares.max())
    kind: Any = np.int64 if max(start + slope * most for _, start, slope in lines) < 2**63 else object
    bits = fixed.astype(kind)[chosen] + slopes.astype(kind)[chosen] * shares.astype(kind)
    return bits // 8, chosen


def _ints(values: Sequence[int]) -> np.ndarray[Any, Any]:
    import numpy as np

    return np.array(values, dtype=np.int64 if max(values) < 2**63 else object)


def _label(value: Any) -> Any:
    """What a column shows of a value: numbers and words as they are, everything else as text."""
    if isinstance(value, Precision):
        return value.name
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if value is None or type(value) in {bool, int, str}:
        return value
    if isinstance(value, tuple) and value and all(type(part) is int for part in value):
        return "x".join(map(str, value))
    return shorten(value)


def _assemble(
    names: list[str],
    labels: list[list[Any]],
    batches: np.ndarray[Any, Any],
    blocks: list[dict[str, Any]],
    *,
    reserved: bool,
) -> Sweep:
    import numpy as np

    count = len(batches)
    columns: dict[str, Any] = {}
    for position, name in enumerate(names[:-1]):
        columns[name] = np.repeat(_column([row[position] for row in labels]), count)
    columns["batch"] = np.tile(batches, len(blocks))
    nothing = np.zeros(count, dtype=bool)
    valid = np.concatenate([block.get("valid", nothing) for block in blocks])
    zeros = np.zeros(count, dtype=np.int64)
    for name in (*_COUNTS, *_SIZES, *(["reserved"] if reserved else [])):
        parts = [block.get(name) for block in blocks]
        if name in _COUNTS:
            values = np.repeat(_ints([part or 0 for part in parts]), count)
            known = valid & np.repeat([part is not None for part in parts], count)
        else:
            values, known = np.concatenate([zeros if part is None else part for part in parts]), valid
        columns[name] = values if known.all() else np.ma.MaskedArray(values, mask=~known)
    unknown = np.full(count, None, dtype=object)
    columns["peak_step"] = np.concatenate([block.get("peak_step", unknown) for block in blocks])
    columns["error"] = np.concatenate([block["error"] for block in blocks])
    for column in columns.values():
        column.flags.writeable = False
    return Sweep(tuple(names), MappingProxyType(columns))


def _column(values: list[Any]) -> np.ndarray[Any, Any]:
    """Labels of one kind as an array of that kind, mixed ones as objects."""
    import numpy as np

    kinds = set(map(type, values))
    if kinds <= {int, float} and kinds and all(abs(value) < 2**53 for value in values):
        return np.array(values)
    if kinds == {bool}:
        return np.array(values)
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


@contextmanager
def _reporter(progress: Any, total: int) -> Iterator[Callable[[int], object]]:
    """Makes what is told how many points are done."""
    if progress is None or progress is False:
        yield bool
    elif progress is True:
        with need("tqdm", "progress").tqdm(total=total, unit="point") as bar:
            yield lambda done: bar.update(done - bar.n)
    elif callable(progress):
        yield lambda done: progress(done, total)
    else:
        raise InvalidTypeError(
            "sweep(): progress cannot be told anything",
            got=shorten(progress),
            expected="True, or a function of two ints",
        )
