"""The chapter's exercise, worked: every number is computed from the network and shown as a derivation.

The exercise asks for the parameters of three convolutions, for the least memory of one prediction, and for the least memory of
training on a mini-batch of 50. Nothing here is a stored answer: the sections ask the library and put its numbers into words.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.advice.explain import Derivation, explain_parameters
from cnnbudget.advice.remedies import HalfPrecision, LargerStride, MoreDevices, RemoveLayer, SmallerBatch
from cnnbudget.dtypes import FP16, FP32, Role
from cnnbudget.memory.retention import KeepAll
from cnnbudget.memory.scenario import Inference, Training
from cnnbudget.tables import Column, text_table
from cnnbudget.units import Bytes, parse_bytes
from cnnbudget.zoo.exercise import textbook_exercise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cnnbudget.net import Net

__all__ = ["Chapter", "Section", "work"]

BATCH = 50
BUDGET = "500 MB"

_MEGA = 10**6
_OF_IMAGES = (Role.ACTIVATION, Role.ACTIVATION_GRADIENT)
_CURES = (SmallerBatch, LargerStride, RemoveLayer, HalfPrecision, MoreDevices)


@frozen
class Section:
    """One question of the exercise.

    Args:
        title: The question.
        lines: The answer, for people.
        derivations: The calculations in it; each text ends with its value.
        data: The numbers, for programs.
    """

    title: str
    lines: tuple[str, ...]
    derivations: tuple[Derivation, ...]
    data: dict[str, Any] = field(eq=False)

    def __str__(self) -> str:
        return "\n".join([self.title, "=" * len(self.title), *self.lines])


@frozen
class Chapter:
    """The worked exercise; print it, or take its data."""

    sections: tuple[Section, ...]

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.sections))

    def data(self) -> dict[str, Any]:
        """The numbers of all sections, ready for JSON: byte counts are exact ints."""
        return {key: value for section in self.sections for key, value in section.data.items()}


class _Notes:
    """Collects the lines of a section, and its derivations as they are written."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.derivations: list[Derivation] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def derive(self, lead: str, calculation: str, value: int, tail: str = "") -> None:
        """Writes ``lead: calculation = value tail``."""
        found = Derivation(f"{calculation} = {value:,}", value)
        self.derivations.append(found)
        self.lines.append(f"{lead}{found}{tail}")

    def section(self, title: str, **data: Any) -> Section:
        return Section(title, tuple(self.lines), tuple(self.derivations), data)


def work() -> Chapter:
    """Works the exercise.

    Returns:
        The chapter.

    Example:
        >>> from cnnbudget.textbook import work
        >>> chapter = work()
        >>> chapter.data()["parameters"]["total"], chapter.data()["training"]["end_of_forward_bytes"]
        (903400, 565613600)
        >>> print(chapter.sections[1].lines[0])
        conv   3 x 3 x 3 weights + 1 bias = 28 per map; 28 x 100 maps = 2,800
    """
    net = textbook_exercise()
    return Chapter(
        (
            _network(net),
            _parameters(net),
            _prediction(net),
            _training(net),
            _gradients(net),
            _half_precision(net),
            _cures(net),
            _dense(net),
        )
    )


def _sum(values: Iterable[int]) -> str:
    return " + ".join(f"{value:,}" for value in values)


def _times(values: Iterable[int]) -> str:
    return " x ".join(f"{value:,}" for value in values)


def _labels(names: Iterable[str]) -> dict[str, str]:
    """The names, each filled up with blanks to one width."""
    kept = list(names)
    width = max(map(len, kept))
    return {name: f"{name:<{width}}  " for name in kept}


def _values(net: Net) -> dict[str, int]:
    """Bytes of every layer's maps for one image, by node."""
    return {cost.name: int(cost.activation_bytes()) for cost in net.costs()}


def _parameter_bytes(net: Net) -> int:
    return FP32[Role.PARAMETER].byte_count(net.parameter_count)


def _input_bytes(net: Net) -> int:
    (source,) = net.network.inputs
    return FP32[Role.ACTIVATION].byte_count(source.spec.element_count)


def _textbook_training(precision: Any = FP32) -> Training:
    return Training(BATCH, retention=KeepAll(gradients=False), precision=precision)


def _network(net: Net) -> Section:
    notes = _Notes()
    (source,) = net.network.inputs
    channels, *size = source.shape
    notes.say(
        f"{len(net.network)} convolutions on an image of {' x '.join(map(str, size))} pixels in {channels} channels."
    )
    notes.say("With padding 'same' a stride of 2 halves each side and rounds up:")
    labels = _labels(cost.name for cost in net.costs())
    shapes = {}
    for cost in net.costs():
        before, after = cost.inputs[0].spatial, cost.output.spatial
        steps = ", ".join(f"ceil({n} / {n2})" for n, n2 in zip(before, _strides(net, cost.name), strict=True))
        shapes[cost.name] = cost.output_shape
        notes.say(f"{labels[cost.name]}{steps}: {cost.output.channels} maps of {' x '.join(map(str, after))}")
    return notes.section("The network", input=source.shape, maps=shapes)


def _strides(net: Net, name: str) -> tuple[int, ...]:
    layer: Any = net.network[name].layer
    rank = len(net.costs()[name].output.spatial)
    return layer.stride if isinstance(layer.stride, tuple) else (layer.stride,) * rank


def _parameters(net: Net) -> Section:
    notes = _Notes()
    found = explain_parameters(net.network)
    labels = _labels(found)
    for name, derivation in found.items():
        notes.derivations.append(derivation)
        notes.say(f"{labels[name]}{derivation}")
    by_layer = {name: derivation.value for name, derivation in found.items()}
    notes.derive("Together ", _sum(by_layer.values()), net.parameter_count, " parameters.")
    notes.derive("At 4 bytes each ", f"{net.parameter_count:,} x 4", _parameter_bytes(net), " bytes.")
    return notes.section(
        "How many parameters?",
        parameters={"by_layer": by_layer, "total": net.parameter_count, "bytes": _parameter_bytes(net)},
    )


def _prediction(net: Net) -> Section:
    notes = _Notes()
    values = _values(net)
    labels = _labels(values)
    for cost in net.costs():
        notes.derive(
            labels[cost.name],
            f"{_times((*cost.output.spatial, cost.output.channels))} x 4",
            values[cost.name],
            " bytes of maps",
        )
    found = net.profile(Inference())
    notes.say("A layer's input can be freed when its output is there, so only two neighbours meet:")
    steps = {}
    sizes = [_input_bytes(net), *values.values()]
    for name, before, after in zip(values, sizes, sizes[1:], strict=False):
        steps[name] = before + after
        notes.derive(f"while {labels[name]}runs  ", _sum((before, after)), before + after)
    when = found.peak_step.node
    notes.say(f"The most is {found.activation_peak:,} bytes, when {when} is computed; then its input can be freed.")
    notes.derive(
        "With the parameters ",
        _sum((found.activation_peak, _parameter_bytes(net))),
        found.peak,
        f" bytes ({found.peak}).",
    )
    first, second, *_ = values.values()
    wrong = first + (first + second)
    notes.say("")
    notes.derive(
        "Some editions print ", _sum((first, first + second)), wrong, " bytes of maps, and with the parameters"
    )
    notes.derive(
        "",
        _sum((wrong, _parameter_bytes(net))),
        wrong + _parameter_bytes(net),
        " bytes. They add the first layer to a sum that",
    )
    notes.say(
        f"holds it already: {first // _MEGA} + {(first + second) // _MEGA} instead of {first // _MEGA} + {second // _MEGA}."
    )
    excess = wrong - found.activation_peak
    notes.derive(
        "They are ",
        f"{wrong + _parameter_bytes(net):,} - {int(found.peak):,}",
        excess,
        f" bytes ({_mib(excess)} MiB) too high, one first layer;",
    )
    notes.say(f"a known annotation guesses {_mib(second)} MB, which is the second layer.")
    return notes.section(
        "How much memory does one prediction take at least?",
        prediction={
            "maps_bytes": values,
            "alive_bytes": steps,
            "activation_peak_bytes": int(found.activation_peak),
            "peak_bytes": int(found.peak),
            "peak_node": when,
            "misprinted_maps_bytes": wrong,
            "misprinted_total_bytes": wrong + _parameter_bytes(net),
            "misprint_excess_bytes": excess,
        },
    )


def _mib(count: int, digits: int = 1) -> str:
    return f"{count / 2**20:.{digits}f}"


def _training(net: Net) -> Section:
    notes = _Notes()
    values = _values(net)
    sample, image, parameters = sum(values.values()), _input_bytes(net), _parameter_bytes(net)
    found = net.profile(_textbook_training())
    notes.say("Backward needs what forward computed, so at the end of the forward pass everything is alive:")
    notes.derive("maps of one image     ", _sum(values.values()), sample, " bytes")
    notes.derive(f"maps of {BATCH} images     ", f"{BATCH} x {sample:,}", BATCH * sample, " bytes")
    notes.derive("the images themselves ", f"{BATCH} x {image:,}", BATCH * image, " bytes")
    notes.derive(
        "with the parameters   ",
        _sum((BATCH * sample, BATCH * image, parameters)),
        found.peak,
        f" bytes ({_mib(found.peak)} MiB)",
    )
    notes.say("")
    per_sample, images, weights = sample / 2**20, BATCH * image / 2**20, parameters / 2**20
    in_binary = BATCH * round(per_sample) + round(images, 1) + round(weights, 1)
    millions = [round(value / _MEGA, 1) for value in values.values()]
    in_decimal = BATCH * sum(millions) + round(BATCH * image / _MEGA, 1) + round(parameters / _MEGA, 1)
    notes.say("Books print other totals because they round on the way (their MB is 1024 x 1024 or a million bytes):")
    notes.say(
        f"{in_binary:.1f} = {BATCH} x {round(per_sample)} + {images:.1f} + {weights:.1f}: "
        f"{per_sample:.2f} MB (of 1024 x 1024) an image became {round(per_sample)};"
    )
    rounded = " + ".join(f"{value:g}" for value in millions)
    last = list(values.values())[-1] / _MEGA
    notes.say(
        f"{in_decimal:.1f} = {BATCH} x ({rounded}) + {BATCH * image / _MEGA:g} + {parameters / _MEGA:.1f}: "
        f"{last:g} million bytes of the last layer became {millions[-1]:g}."
    )
    return notes.section(
        f"How much memory does training on {BATCH} images take at least?",
        training={
            "batch": BATCH,
            "maps_bytes": BATCH * sample,
            "input_bytes": BATCH * image,
            "parameter_bytes": parameters,
            "end_of_forward_bytes": int(found.peak),
            "rounded_mebibytes_in_books": round(in_binary, 1),
            "rounded_megabytes_in_books": round(in_decimal, 1),
        },
    )


def _gradients(net: Net) -> Section:
    notes = _Notes()
    found = net.profile(Training(BATCH, retention=KeepAll()))
    notes.say("The exercise stops at the end of the forward pass. Backward adds the gradients of the maps and")
    notes.say(f"of the parameters, and frees maps as it goes. The most is alive in {found.peak_step}:")
    labels = _labels([*(_group(storage.name, storage.role) for storage in found.at_peak), "together"])
    alive: Counter[str] = Counter()
    for storage in found.at_peak:
        alive[_group(storage.name, storage.role)] += storage.size
    one_image = {**_values(net), "input": _input_bytes(net)}
    for storage in found.at_peak:
        if storage.role in _OF_IMAGES:
            label = labels[_group(storage.name, storage.role)]
            notes.derive(label, f"{BATCH} x {one_image[storage.name.removesuffix('.grad')]:,}", storage.size, " bytes")
    for role in (Role.PARAMETER, Role.PARAMETER_GRADIENT):
        sizes = [
            sum(
                storage.size
                for storage in found.at_peak
                if storage.role is role and storage.name.startswith(f"{node.name}.")
            )
            for node in net.network.nodes
        ]
        notes.derive(labels[f"{role.value}s"], _sum(size for size in sizes if size), alive[f"{role.value}s"], " bytes")
    notes.derivations.append(Derivation(f"{_sum(alive.values())} = {found.peak:,}", found.peak))
    notes.say(f"{labels['together']}{found.peak:,} bytes ({found.peak}), with plain gradient descent.")
    notes.say("Gradients of parameters exist for the layers whose backward has run. An optimizer with state")
    notes.say("needs more than that.")
    return notes.section(
        "And once gradients are counted?",
        gradients={"peak_bytes": int(found.peak), "peak_step": str(found.peak_step), "alive_bytes": dict(alive)},
    )


def _group(name: str, role: Role) -> str:
    """How a storage is called: maps and their gradients by layer, parameters and their gradients in one each."""
    if role not in _OF_IMAGES:
        return f"{role.value}s"
    if name == "input":
        return "the images"
    return f"maps of {name}" if role is Role.ACTIVATION else f"gradients of {name.removesuffix('.grad')}"


def _half_precision(net: Net) -> Section:
    notes = _Notes()
    one, many = net.profile(Inference(precision=FP16)), net.profile(_textbook_training(FP16))
    for lead, found, scenario in (
        ("One prediction: ", one, Inference()),
        (f"Training on {BATCH}, end of the forward pass: ", many, _textbook_training()),
    ):
        notes.derive(lead, f"{net.profile(scenario).peak:,} / 2", found.peak, f" bytes ({found.peak}).")
    notes.say("Every number takes 2 bytes instead of 4. Practice often keeps a 32-bit copy of the parameters")
    notes.say("besides (mixed precision), which is not counted here.")
    return notes.section(
        "With 16-bit floats?",
        half_precision={"prediction_peak_bytes": int(one.peak), "training_end_of_forward_bytes": int(many.peak)},
    )


def _cures(net: Net) -> Section:
    notes = _Notes()
    budget = parse_bytes(BUDGET)
    scenario = _textbook_training()
    advice = net.fit(BUDGET, scenario)
    notes.say(f"Training on {BATCH} takes {advice.profile.peak:,} bytes at the end of the forward pass.")
    notes.say(f"The budget is {BUDGET}, {budget:,} bytes (decimal megabytes). Each of the five cures is applied and")
    notes.say("profiled anew; where several layers could be changed, the least change that suffices is shown.")
    rows, data = [], []
    for cure in _CURES:
        option = advice.best_of(cure)
        if option is not None:
            rows.append((option.remedy.cure, option.change, int(option.peak), option.fits))
            data.append(
                {
                    "cure": option.remedy.cure,
                    "change": option.change,
                    "peak_bytes": int(option.peak),
                    "fits": option.fits,
                    "price": str(option.price),
                }
            )
    columns = [Column("cure"), Column("change"), Column("new peak in bytes", right=True), Column("fits")]
    notes.lines += text_table(columns, rows).splitlines()
    image = _input_bytes(net) + sum(_values(net).values())
    fixed = _parameter_bytes(net)
    notes.say("The mini-batch follows in closed form: every image takes the same, the parameters are there once.")
    notes.derive("", f"({budget:,} - {fixed:,}) // {image:,}", advice.profile.max_batch(budget), " images.")
    return notes.section("What if that is too much?", cures={"budget_bytes": int(budget), "options": data})


def _dense(net: Net) -> Section:
    notes = _Notes()
    found = net.dense_equivalent()
    notes.say("A dense layer connects every number of its output with every number of its input:")
    labels = _labels(row.node for row in found.convolutions)
    for row in found.convolutions:
        inputs, outputs = prod(row.input_shape), prod(row.output_shape)
        notes.derive(labels[row.node], f"{inputs:,} x {outputs:,} weights + {outputs:,} biases", row.dense, "")
    notes.derive("Together ", _sum(row.dense for row in found.convolutions), found.dense, " parameters")
    size = Bytes(FP32[Role.PARAMETER].byte_count(found.dense))
    notes.say(f"({size} in 32 bits), {found.dense // found.shared:,} times the {found.shared:,} of the convolutions.")
    notes.say(
        f"The same local connections without sharing would still take {found.unshared:,} parameters. A convolution"
    )
    notes.say("looks at a small window and uses the same kernel everywhere: its size is independent of the image's.")
    return notes.section(
        "Why not a dense network?",
        dense={"convolution": found.shared, "unshared_local": found.unshared, "fully_connected": found.dense},
    )
