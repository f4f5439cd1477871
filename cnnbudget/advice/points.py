"""One network in one scenario at every batch: what a sweep computes in a worker, as a few lines instead of many points.

A task travels to a worker and a finding travels back, so both are small picklable values; batches stay where the sweep is.
"""

from __future__ import annotations

from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from cnnbudget.advice.batches import plans_for_batch
from cnnbudget.advice.width import with_width
from cnnbudget.analysis.costs import costs
from cnnbudget.errors import CnnBudgetError, InvalidTypeError, InvalidValueError, MissingRuleError, shorten
from cnnbudget.graph.edit import with_input_shape
from cnnbudget.graph.nodes import Network
from cnnbudget.memory.allocator import Ideal
from cnnbudget.memory.profile import profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from cnnbudget.analysis.costs import CostTable
    from cnnbudget.memory.profile import MemoryProfile
    from cnnbudget.memory.scenario import Scenario

__all__ = [
    "Design",
    "Finding",
    "Task",
    "describe_error",
    "network_of",
    "plans_for_batch",
    "run_task",
    "scales",
    "takes",
]

Values = tuple[int, int, int, int, str]
Lines = tuple[tuple[int, int, int], ...]
"""``(first batch, fixed bits, bits per sample)``: the largest of many affine sizes."""


@frozen
class Design:
    """How a network comes about.

    Args:
        source: A network, or a function that makes one.
        options: What the function is called with, by name; ``width`` scales a network that is there already.
        size: Sizes of the spatial axes of the input; ``None`` leaves them alone.
    """

    source: Any
    options: tuple[tuple[str, Any], ...] = ()
    size: Any = None


@frozen
class Task:
    """A design, the scenarios that it is profiled in, and the batches if they must be looked at one by one."""

    design: Design
    scenarios: tuple[Scenario, ...]
    batches: tuple[int, ...] | None = None


@frozen
class Finding:
    """What one network needs in one scenario.

    Args:
        error: What went wrong; then nothing else counts.
        parameters: Trainable parameters.
        macs: Multiply-accumulates of one sample; ``None`` if unknown.
        peak: The peak as an upper envelope over the batch of a device.
        activations: The activation peak, likewise.
        retained: Bits that are kept for backward, fixed and per sample.
        steps: The step of the peak for every line of ``peak``.
        ties: The step at batches where two lines meet, which may be an earlier one.
        single: Whether no lines can tell, because formats below a byte round up or an allocator decides: then
            ``values`` are needed.
        values: Peak, activation peak, retained and reserved bytes and the step, for each of the task's batches, or what went
            wrong there.
    """

    error: str | None = None
    parameters: int = 0
    macs: int | None = None
    peak: Lines = ()
    activations: Lines = ()
    retained: tuple[int, int] = (0, 0)
    steps: tuple[str, ...] = ()
    ties: tuple[tuple[int, str], ...] = ()
    single: bool = False
    values: tuple[Values | str, ...] = field(default=(), repr=False)


def describe_error(error: BaseException) -> str:
    """Says in one line what went wrong at a point: the text of an error of ours, the kind and the text of any other."""
    text = str(error) if isinstance(error, CnnBudgetError) else f"{type(error).__name__}: {error}"
    return text or type(error).__name__


def run_task(task: Task) -> tuple[Finding, ...]:
    """Makes the network once and profiles it in every scenario. Whatever fails is a finding, too.

    Args:
        task: The task.

    Returns:
        One finding a scenario.
    """
    try:
        table = costs(network_of(task.design))
        macs = _macs(table)
        parameters = table.parameter_count
    except Exception as error:  # noqa: BLE001  # a foreign factory or layer may fail in any way, and a sweep goes on
        return (Finding(describe_error(error)),) * len(task.scenarios)
    return tuple([_find(table, scenario, parameters, macs, task.batches) for scenario in task.scenarios])


def _macs(table: CostTable) -> int | None:
    try:
        return table.mac_count
    except MissingRuleError:
        return None


def _find(
    table: CostTable, scenario: Scenario, parameters: int, macs: int | None, batches: tuple[int, ...] | None
) -> Finding:
    try:
        if plans_for_batch(scenario):
            values = [_planned(table, scenario.evolve(batch=batch)) for batch in batches or ()]
            return Finding(None, parameters, macs, single=True, values=tuple(values))
        found = profile(table, scenario)
        if batches is not None:
            return Finding(None, parameters, macs, single=True, values=_one_by_one(found, batches))
        lifetimes = found.lifetimes
        storages = lifetimes.schedule.storages
        if not isinstance(scenario.allocator, Ideal) or any(storage.dtype.bits % 8 for storage in storages):
            return Finding(None, parameters, macs, single=True)
        kept = [storages[number] for number in lifetimes.schedule.retained]
        fixed = sum([storage.fixed * storage.dtype.bits for storage in kept])
        per_sample = sum([storage.per_sample * storage.dtype.bits for storage in kept])
        steps, ties = _steps(found)
        return Finding(
            None,
            parameters,
            macs,
            lifetimes.envelope,
            lifetimes.activation_envelope,
            (fixed, per_sample),
            steps,
            ties,
        )
    except Exception as error:  # noqa: BLE001  # as above, of a foreign policy
        return Finding(describe_error(error))


def _steps(found: MemoryProfile) -> tuple[tuple[str, ...], tuple[tuple[int, str], ...]]:
    """The first step on every line of the envelope. Where a line starts, it may only meet another, of an earlier step."""
    bits, steps = found.lifetimes.bits, found.steps
    first: dict[tuple[int, int], int] = {}
    for number, line in enumerate(bits):
        first.setdefault(line, number)
    lines = found.lifetimes.envelope
    labels = tuple([str(steps[first[fixed, slope]]) for _, fixed, slope in lines])
    ties = []
    for (start, fixed, slope), label in zip(lines, labels, strict=True):
        highest = fixed + slope * start
        number = next(number for number, (least, more) in enumerate(bits) if least + more * start == highest)
        if str(steps[number]) != label:
            ties.append((start, str(steps[number])))
    return labels, tuple(ties)


def _planned(table: CostTable, scenario: Scenario) -> Values | str:
    try:
        return _values(profile(table, scenario))
    except CnnBudgetError as error:
        return describe_error(error)


def _one_by_one(found: MemoryProfile, batches: tuple[int, ...]) -> tuple[Values, ...]:
    return tuple([_values(evolve(found, scenario=found.scenario.evolve(batch=batch))) for batch in batches])


def _values(found: MemoryProfile) -> Values:
    return (int(found.peak), int(found.activation_peak), int(found.retained), int(found.reserved), str(found.peak_step))


def network_of(design: Design) -> Network:
    """Makes the network of a design.

    Args:
        design: The design.

    Returns:
        The network.

    Raises:
        InvalidTypeError: If a factory returns something else than a network or a net.
        InvalidValueError: If the sizes do not fit the inputs.
    """
    options = dict(design.options)
    if scales(design.source) and "width" in options:
        factor = options.pop("width")
        return with_width(network_of(evolve(design, options=tuple(options.items()))), factor)
    if isinstance(design.source, Network):
        return design.source if design.size is None else _resized(design.source, design.size)
    if design.size is None:
        return _called(design.source, options)
    if not takes(design.source, "input_shape"):
        return _resized(_called(design.source, options), design.size)
    default = _default_shape(design.source)
    if default is None:
        default = _called(design.source, options).inputs[0].shape
    return _called(design.source, {**options, "input_shape": _shape(default, design.size)})


def _called(factory: Callable[..., Any], options: dict[str, Any]) -> Network:
    made = factory(**options)
    network = getattr(made, "network", made)
    if not isinstance(network, Network):
        raise InvalidTypeError(
            "sweep(): the factory returned no network", got=shorten(made), expected="a Net or a Network"
        )
    return network


def scales(source: Any) -> bool:
    """Whether a width is a multiplier of :func:`cnnbudget.with_width`: the source knows no width of its own.

    Args:
        source: A network, or a function that makes one.
    """
    return isinstance(source, Network) or not takes(source, "width")


def takes(factory: Callable[..., Any], name: str) -> bool:
    """Whether a function takes an argument of a name, as far as its signature says.

    Args:
        factory: The function.
        name: The argument's name.

    Returns:
        ``True`` also where there is no signature to look at.

    Example:
        >>> from cnnbudget import zoo
        >>> takes(zoo.resnet18, "input_shape"), takes(lambda depth: None, "width")
        (True, False)
    """
    try:
        parameters = signature(factory).parameters
    except (TypeError, ValueError):
        return True
    kinds = {Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY}
    named = name in parameters and parameters[name].kind in kinds
    return named or any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())


def _default_shape(factory: Callable[..., Any]) -> tuple[int, ...] | None:
    try:
        default = signature(factory).parameters["input_shape"].default
    except (KeyError, TypeError, ValueError):
        return None
    return default if isinstance(default, tuple) and default else None


def _shape(shape: tuple[int, ...], size: Any) -> tuple[int, ...]:
    """The same channels, with other spatial axes."""
    axes = size if isinstance(size, tuple) else (size,) * (len(shape) - 1)
    if len(axes) != len(shape) - 1 or not axes:
        raise InvalidValueError(
            "sweep(): input_size does not fit the input",
            got=shorten(size),
            expected=f"an int, or {len(shape) - 1} ints for an input of {shape}"
            if len(shape) > 1
            else f"no input_size, because an input of {shape} has no spatial axes",
        )
    return (shape[0], *axes)


def _resized(network: Network, size: Any) -> Network:
    spatial = {source.shape[1:] for source in network.inputs}
    if len(spatial) > 1:
        raise InvalidValueError(
            "sweep(): input_size needs inputs of one size",
            got=", ".join(f"{source.name} {source.shape}" for source in network.inputs),
            expected="one size of the spatial axes",
            hint="sweep a function of input_shape instead",
        )
    return with_input_shape(network, {source.name: _shape(source.shape, size) for source in network.inputs})
