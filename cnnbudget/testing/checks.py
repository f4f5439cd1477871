"""The conformance check of layers: does a layer, built in or foreign, keep what every question of the library relies on?"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from cnnbudget.analysis.costs import costs
from cnnbudget.dtypes import Role
from cnnbudget.errors import CnnBudgetError, ConformanceError, InvalidValueError, shorten
from cnnbudget.graph.nodes import Input, Network, Node
from cnnbudget.layers.activation import Tanh
from cnnbudget.layers.base import Alias, Layer, Saved, word_of
from cnnbudget.layers.norm import BatchNorm
from cnnbudget.memory.profile import profile
from cnnbudget.memory.scenario import Inference, Training
from cnnbudget.tensors import Shape, TensorSpec, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_layer"]

Specs = tuple[TensorSpec, ...]

_UNSAID = object()  # None is an answer that an error must show


def check_layer(layer: Layer, *input_shapes: Shape) -> None:
    """Checks that a layer conforms; call it in the tests of whatever package defines the layer.

    *Checks*: that the layer is a frozen, hashable value which survives pickling and ``evolve()``; that ``infer`` answers the
    same for equal inputs; that ``parameters``, ``buffers``, ``macs`` and ``extras`` are stated and well formed; that ``saved``
    and ``alias`` are legal; that it costs, infers and trains inside a network; that inputs of another rank, size or number
    are refused by an error of the :class:`~cnnbudget.CnnBudgetError` family, or accepted. *Does not check*: that the facts
    are true.

    Args:
        layer: An instance of the layer.
        *input_shapes: A shape, channels first, for each input, to which the layer can be applied.

    Raises:
        ConformanceError: If the layer breaks a rule; the error says which and what to do.
        InvalidValueError: If the number of shapes is not the number of inputs that the layer takes.
        InvalidTypeError: If a shape is no tuple of ints.

    Example:
        >>> from cnnbudget import Conv, MaxPool
        >>> from cnnbudget.testing import check_layer
        >>> check_layer(Conv(8, 3, padding="same"), (3, 32, 32))
        >>> check_layer(MaxPool(2), (8, 16))
    """
    if not isinstance(layer, Layer):
        called = (
            f"call it: {layer.__name__}(...)" if isinstance(layer, type) else "derive its class from cnnbudget.Layer"
        )
        raise ConformanceError("check_layer takes a layer", got=shorten(layer), expected="an instance", hint=called)
    _check_class(type(layer))
    shapes = tuple(shape_of(shape, f"input shape {number}") for number, shape in enumerate(input_shapes))
    arity = type(layer).arity
    if not shapes or (arity is not None and len(shapes) != arity):
        raise InvalidValueError(
            "check_layer needs a shape for each input of the layer",
            got=f"{len(shapes)} shapes",
            expected="one or more" if arity is None else str(arity),
        )
    _LayerCheck(layer, shapes).run()


def _check_class(kind: type[Layer]) -> None:
    name = kind.__name__
    if "__attrs_attrs__" not in vars(kind):
        raise ConformanceError(
            f"{name} is no attrs class of its own", hint=f"decorate it: @attrs.frozen class {name}(...)"
        )
    if kind.arity is not None and (type(kind.arity) is not int or kind.arity < 1):
        raise ConformanceError(
            f"{name}.arity is no number of inputs", got=shorten(kind.arity), expected="an int from 1, or None"
        )
    if kind.word is not None and (not isinstance(kind.word, str) or not kind.word or "/" in kind.word):
        raise ConformanceError(
            f"{name}.word cannot name a node", got=shorten(kind.word), expected="a word without '/', or None"
        )


class _LayerCheck:
    """The checks of one layer on one list of input shapes."""

    def __init__(self, layer: Layer, shapes: tuple[Shape, ...]) -> None:
        self.layer = layer
        self.name = type(layer).__name__
        self.shapes = shapes
        self.inputs = _specs(shapes)

    def run(self) -> None:
        self.check_value()
        self.output = self.check_infer()
        self.check_facts()
        saved = self.check_saved()
        for training in (False, True):
            self.check_alias(saved, training=training)
        self.check_workspace()
        self.check_in_network()
        self.check_other_inputs()

    def fail(self, what: str, got: object = _UNSAID, expected: str | None = None, hint: str | None = None) -> NoReturn:
        shapes = ", ".join(map(str, self.shapes))
        raise ConformanceError(
            what,
            where=f"{shorten(self.layer)} on {shapes}",
            got=None if got is _UNSAID else got if isinstance(got, str) else shorten(got),
            expected=expected,
            hint=hint,
        )

    def ask(self, what: str, question: Callable[[], Any]) -> Any:
        """Asks what must not fail on the shapes that the caller has vouched for."""
        try:
            return question()
        except Exception as error:  # noqa: BLE001  # foreign code may raise anything
            self.fail(f"{what} raised {type(error).__name__}", got=str(error), expected="an answer")

    def check_value(self) -> None:
        layer, name = self.layer, self.name
        for field in ("anything", *(attribute.name for attribute in attrs.fields(type(layer)))):
            try:
                setattr(layer, field, getattr(layer, field, None))
            except AttributeError:
                continue
            self.fail(f"{name} is not frozen: {field!r} can be assigned", hint="decorate the class with attrs.frozen")
        try:
            hash(layer)
        except TypeError as error:
            self.fail(
                f"{name} is not hashable", got=str(error), hint="hold tuples, not lists: give the field a converter"
            )
        try:
            copy = pickle.loads(pickle.dumps(layer))  # noqa: S301  # what was pickled a moment ago
        except Exception as error:  # noqa: BLE001  # pickle raises whatever it likes
            self.fail(f"{name} cannot be pickled", got=str(error), hint="define the class at the top of a module")
        self.check_same("its pickled copy", copy)
        self.check_same("evolve() without a change", self.ask(f"{name}.evolve()", layer.evolve))
        self.copy: Layer = copy

    def check_same(self, what: str, other: object) -> None:
        if other != self.layer or hash(other) != hash(self.layer) or repr(other) != repr(self.layer):
            self.fail(
                f"{self.name} differs from {what} in ==, hash() or repr()",
                got=other,
                expected=repr(self.layer),
                hint="let attrs.frozen write these methods, and hold only values that compare by value",
            )

    def check_infer(self) -> TensorSpec:
        output = self.ask(f"{self.name}.infer", lambda: self.layer.infer(self.inputs))
        if not isinstance(output, TensorSpec) or not output.shape or output.role is not Role.ACTIVATION:
            self.fail(
                f"{self.name}.infer returned no spec of an output",
                got=output,
                expected="a TensorSpec with at least one axis and the role of an activation",
            )
        self.check_again("infer", output, lambda layer, inputs: layer.infer(inputs))
        return output

    def check_again(self, fact: str, first: object, question: Callable[[Layer, Specs], object]) -> None:
        """Asks the same layer again, and an equal one about equal inputs: an answer may depend on nothing else."""
        for layer in (self.layer, self.copy):
            again = self.ask(f"{self.name}.{fact}", partial(question, layer, _specs(self.shapes)))
            if again != first:
                self.fail(
                    f"{self.name}.{fact} answers differently when it is asked again",
                    got=again,
                    expected=f"{shorten(first)}, as before",
                    hint="compute it from the layer's fields and the inputs alone",
                )

    def stated(self, fact: str, question: Callable[[Layer, Specs], Any]) -> Any:
        answer = self.ask(f"{self.name}.{fact}", lambda: question(self.layer, self.inputs))
        if answer is None:
            self.fail(
                f"{self.name} does not state its {fact}",
                hint=f"implement {self.name}.{fact}() (return an empty mapping or 0 if there is nothing), "
                "or derive from StatelessLayer",
            )
        self.check_again(fact, answer, question)
        return answer

    def check_facts(self) -> None:
        names: dict[str, str] = {}
        output = self.output
        for fact, answer in (
            ("parameters", self.stated("parameters", lambda layer, inputs: layer.parameters(inputs))),
            ("buffers", self.stated("buffers", lambda layer, inputs: layer.buffers(inputs))),
            ("extras", self.stated("extras", lambda layer, inputs: layer.extras(inputs, output))),
        ):
            if not isinstance(answer, Mapping):
                self.fail(f"{self.name}.{fact} is no mapping", got=answer, expected="a mapping from names")
            for name, value in answer.items():
                self.check_name(fact, name, names)
                if fact == "extras":
                    self.check_extra(name, value)
                elif fact != "buffers" or not isinstance(value, TensorSpec):
                    self.check_shape(fact, name, value)
        macs = self.stated("macs", lambda layer, inputs: layer.macs(inputs, output))
        if type(macs) is not int or macs < 0:
            self.fail(f"{self.name}.macs is no count", got=macs, expected="an int, zero or more")

    def check_name(self, fact: str, name: object, names: dict[str, str]) -> None:
        if not isinstance(name, str) or not name or name.rpartition(".")[2] == "grad":
            self.fail(
                f"{self.name}.{fact} uses a name that cannot be used",
                got=name,
                expected="a str that does not end in grad",
            )
        if name in names:
            self.fail(
                f"{self.name}.{fact} uses a name that {names[name]} uses",
                got=name,
                expected="different names: each is a storage",
            )
        names[name] = fact

    def check_shape(self, fact: str, name: str, value: object) -> None:
        try:
            shape_of(value)
        except CnnBudgetError as error:
            self.fail(f"{self.name}.{fact}[{name!r}] is no shape", got=str(error), expected="a tuple of positive ints")

    def check_extra(self, name: str, value: object) -> None:
        if not isinstance(value, TensorSpec) or value.role is not Role.EXTRA:
            self.fail(f"{self.name}.extras[{name!r}] is no extra", got=value, expected="TensorSpec(shape, Role.EXTRA)")

    def check_saved(self) -> Saved:
        output, count = self.output, len(self.inputs)
        saved = self.ask(f"{self.name}.saved", lambda: self.layer.saved(self.inputs, output))
        if (
            not isinstance(saved, Saved)
            or not isinstance(saved.inputs, tuple)
            or not all(type(number) is int and 0 <= number < count for number in saved.inputs)
            or len(set(saved.inputs)) < len(saved.inputs)
            or not isinstance(saved.output, bool)
        ):
            self.fail(
                f"{self.name}.saved is not legal",
                got=saved,
                expected=f"a Saved with different inputs from 0 to {count - 1} in a tuple, and a bool",
            )
        self.check_again("saved", saved, lambda layer, inputs: layer.saved(inputs, output))
        return saved

    def check_alias(self, saved: Saved, *, training: bool) -> None:
        name, output, count = self.name, self.output, len(self.inputs)
        alias = self.ask(f"{name}.alias", lambda: self.layer.alias(self.inputs, output, training=training))
        self.check_again("alias", alias, lambda layer, inputs: layer.alias(inputs, output, training=training))
        if alias is None:
            return
        if not isinstance(alias, Alias) or type(alias.input) is not int or not 0 <= alias.input < count:
            self.fail(
                f"{name}.alias is no input of the layer",
                got=alias,
                expected=f"None, or an Alias of input 0 to {count - 1}",
            )
        seen = self.inputs[alias.input]
        if output.element_count > seen.element_count:
            self.fail(
                f"{name}.alias states a view that is larger than what it looks at",
                got=f"{output.element_count} elements in a storage of {seen.element_count}",
                hint="return None: the output needs bytes of its own",
            )
        if training and alias.in_place and alias.input in saved.inputs:
            self.fail(
                f"{name} keeps an input for backward that it overwrites",
                got=f"{alias} and {saved}",
                hint=f"state in {name}.saved() what backward really needs, or do not state an in-place alias in training",
            )

    def check_workspace(self) -> None:
        workspace = self.ask(f"{self.name}.workspace", lambda: self.layer.workspace(self.inputs, self.output))
        if workspace is not None and not isinstance(workspace, TensorSpec):
            self.fail(f"{self.name}.workspace is no spec", got=workspace, expected="None, or a TensorSpec")

    def check_in_network(self) -> None:
        network = _network(self.layer, self.shapes)
        table = self.ask(f"a network with {self.name}", lambda: costs(network))
        for scenario in (Inference(), Training(), Training(batch=3)):
            self.ask(f"{scenario} of a network with {self.name}", partial(profile, table, scenario))

    def check_other_inputs(self) -> None:
        """Wrong inputs must be refused in the family's words; a layer that has a use for them may take them."""
        variants = [
            ("rank 1", tuple(shape[:1] for shape in self.shapes)),
            ("one more axis", tuple((*shape, 2) for shape in self.shapes)),
            ("axes of size 1", tuple((1,) * len(shape) for shape in self.shapes)),
            ("one more channel", ((self.shapes[0][0] + 1, *self.shapes[0][1:]), *self.shapes[1:])),
            ("one more input", (*self.shapes, self.shapes[0])),
            ("one input", self.shapes[:1]),
        ]
        for what, shapes in variants:
            try:
                profile(_network(self.layer, shapes), Training())
            except ConformanceError as error:
                self.fail(f"{self.name} answers wrongly on other inputs ({what})", got=str(error))
            except CnnBudgetError:
                pass
            except Exception as error:  # noqa: BLE001  # that it raises anything else is the finding
                self.fail(
                    f"{self.name} meets other inputs ({what}) with a bare {type(error).__name__}",
                    got=f"{error} on {', '.join(map(str, shapes))}",
                    expected="cnnbudget.ShapeError, or an answer",
                    hint=f"check the inputs in {self.name}.infer()",
                )


def _specs(shapes: tuple[Shape, ...]) -> Specs:
    return tuple(TensorSpec(shape) for shape in shapes)


def _network(layer: Layer, shapes: tuple[Shape, ...]) -> Network:
    """A network in which something before the layer trains, so that its backward step has gradients to write."""
    sources = [Input(f"input{number}", shape) for number, shape in enumerate(shapes)]
    before = [Node(f"before{number}", BatchNorm(), (source.name,)) for number, source in enumerate(sources)]
    node = Node(word_of(type(layer)), layer, tuple(each.name for each in before))
    return Network(sources, [*before, node, Node("after", Tanh(), (node.name,))], ("after",))
