"""What sharing saves: every convolution against local connections without sharing, and against a fully connected layer."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.visitor import Use, Visitor, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.layers.conv import Conv
from cnnbudget.tables import Column, html_table, text_table

if TYPE_CHECKING:
    from cnnbudget.graph.nodes import Input, Network
    from cnnbudget.tensors import Shape

__all__ = ["DenseEquivalent", "DenseRow", "dense_equivalent"]

_COLUMNS = (
    Column("node"),
    Column("input", right=True),
    Column("output", right=True),
    Column("convolution", right=True),
    Column("unshared local", right=True),
    Column("fully connected", right=True),
)


@frozen
class DenseRow:
    """One convolution against layers that connect the same volumes without sharing weights.

    Args:
        node: The node's name.
        input_shape: ``(C, *spatial)`` of its input.
        output_shape: ``(filters, *spatial)`` of its output.
        shared: Parameters of the convolution.
        unshared: Parameters if every output position had a kernel (and bias) of its own: the same connections, not shared.
        dense: Parameters if every output number were connected to every input number of the whole volume.
    """

    node: str
    input_shape: Shape
    output_shape: Shape
    shared: int
    unshared: int
    dense: int


@frozen
class DenseEquivalent:
    """The convolutions of a network, each against its dense equivalents.

    *Counts*: weights and biases (biases where the convolution has them). *Does not count*: other layers.
    """

    convolutions: tuple[DenseRow, ...] = field(repr=False)

    @property
    def shared(self) -> int:
        """Parameters of all convolutions."""
        return sum(row.shared for row in self.convolutions)

    @property
    def unshared(self) -> int:
        """Parameters of locally connected layers without sharing."""
        return sum(row.unshared for row in self.convolutions)

    @property
    def dense(self) -> int:
        """Parameters of fully connected layers between the same whole volumes."""
        return sum(row.dense for row in self.convolutions)

    def rows(self) -> list[dict[str, Any]]:
        """The rows as data: ``node``, ``input``, ``output``, ``shared``, ``unshared``, ``dense``."""
        return [
            {
                "node": row.node,
                "input": row.input_shape,
                "output": row.output_shape,
                "shared": row.shared,
                "unshared": row.unshared,
                "dense": row.dense,
            }
            for row in self.convolutions
        ]

    def __str__(self) -> str:
        return text_table(_COLUMNS, [tuple(row.values()) for row in self.rows()], total=self._total())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, [tuple(row.values()) for row in self.rows()], total=self._total())

    def _total(self) -> tuple[object, ...]:
        return ("total", "", "", self.shared, self.unshared, self.dense)


class DenseVisitor(Visitor[DenseRow | None]):
    """How many parameters would each convolution have without sharing its weights?"""

    def start(self, source: Input) -> None:
        """Answers nothing for an input."""

    def visit(self, use: Use[DenseRow | None]) -> DenseRow | None:
        """Answers nothing for layers that are no convolution."""
        return None

    @visits(Conv)
    def convolution(self, use: Use[DenseRow | None]) -> DenseRow:
        """Counts the three ways to connect a convolution's volumes."""
        layer = use.layer
        assert isinstance(layer, Conv)  # noqa: S101  # what @visits guarantees, told to the type checker
        (value,), output = use.inputs, use.output
        shared = sum(map(prod, layer.parameters(use.inputs).values()))
        biases = output.element_count if layer.bias else 0
        return DenseRow(
            use.node.name,
            value.shape,
            output.shape,
            shared,
            shared * prod(output.spatial),
            value.element_count * output.element_count + biases,
        )


def dense_equivalent(network: Network) -> DenseEquivalent:
    """Counts what each convolution would cost without weight sharing.

    Args:
        network: The network.

    Returns:
        One row a convolution.

    Example:
        >>> from cnnbudget import Conv, Net
        >>> print(Net.input(3, 100, 150).then(Conv(200, 5, padding="same")).dense_equivalent())
        node       input       output  convolution  unshared local  fully connected
        -----  ---------  -----------  -----------  --------------  ---------------
        conv   3x100x150  200x100x150       15,200     228,000,000  135,003,000,000
        -----  ---------  -----------  -----------  --------------  ---------------
        total                               15,200     228,000,000  135,003,000,000
    """
    return DenseEquivalent(tuple([row for row in walk(network, DenseVisitor()).values() if row is not None]))
