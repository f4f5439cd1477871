"""What sharing saves: every convolution against local connections without sharing, and against a fully connected layer."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from cnnbudget.analysis.visitor import Use, Visitor, missing_rule, visits
from cnnbudget.analysis.walk import walk
from cnnbudget.layers.conv import Conv, ConvTranspose, DepthwiseConv
from cnnbudget.layers.local import TableConv
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
    Column("dense, one map", right=True),
    Column("dense, all maps", right=True),
)


@frozen
class DenseRow:
    """One convolution against layers that connect the same volumes without sharing weights.

    The convolution counts for its whole output, all feature maps together, and so do ``unshared`` and ``dense``; ``dense_map`` is
    for one map. Groups do not matter to a fully connected layer: there every neuron sees all channels, also against a
    depthwise convolution.

    Args:
        node: The node's name.
        input_shape: ``(C, *spatial)`` of its input.
        output_shape: ``(filters, *spatial)`` of its output.
        shared: Parameters of the convolution.
        unshared: Parameters if every output position had a kernel (and bias) of its own: the same connections, not shared. For a
            transposed convolution every input position has a kernel, and every output position a bias.
        dense_map: Weights if every neuron of one output feature map were connected to every number of the input's whole volume:
            inputs x positions. Biases, one a neuron, are not counted here, as in the book.
        dense: Parameters if that held for all feature maps of the output, with a bias for every neuron where the convolution has
            biases.
    """

    node: str
    input_shape: Shape
    output_shape: Shape
    shared: int
    unshared: int
    dense_map: int
    dense: int


@frozen
class DenseEquivalent:
    """The convolutions of a network, each against its dense equivalents.

    *Counts*: weights and biases (biases where the convolution has them) of ordinary, grouped, depthwise and transposed
    convolutions. *Does not count*: other layers; those that are locally connected or dense already share nothing.
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
        """The rows as data: ``node``, ``input``, ``output``, ``shared``, ``unshared``, ``dense_map``, ``dense``."""
        return [
            {
                "node": row.node,
                "input": row.input_shape,
                "output": row.output_shape,
                "shared": row.shared,
                "unshared": row.unshared,
                "dense_map": row.dense_map,
                "dense": row.dense,
            }
            for row in self.convolutions
        ]

    def __str__(self) -> str:
        return text_table(_COLUMNS, [tuple(row.values()) for row in self.rows()], total=self._total())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, [tuple(row.values()) for row in self.rows()], total=self._total())

    def _total(self) -> tuple[object, ...]:
        return ("total", "", "", self.shared, self.unshared, "", self.dense)


class DenseVisitor(Visitor[DenseRow | None]):
    """How many parameters would each convolution have without sharing its weights?"""

    def start(self, source: Input) -> None:
        """Answers nothing for an input."""

    def visit(self, use: Use[DenseRow | None]) -> DenseRow | None:
        """Answers nothing for layers that are no convolution."""
        return None

    @visits(Conv, DepthwiseConv, TableConv)
    def convolution(self, use: Use[DenseRow | None]) -> DenseRow:
        """Counts the ways to connect a convolution's volumes: a kernel of its own for every output position."""
        return _row(use, prod(use.output.spatial))

    @visits(ConvTranspose)
    def transposed(self, use: Use[DenseRow | None]) -> DenseRow:
        """Likewise: a kernel of its own for every input position."""
        return _row(use, prod(use.inputs[0].spatial))


def _row(use: Use[DenseRow | None], kernels: int) -> DenseRow:
    (value,), output = use.inputs, use.output
    parameters = use.layer.parameters(use.inputs)
    if parameters is None:
        raise missing_rule("parameters", use.node, use.inputs)
    sizes = {name: prod(shape) for name, shape in parameters.items()}
    shared = sum(sizes.values())
    biases = output.element_count if "bias" in sizes else 0
    dense_map = value.element_count * prod(output.spatial)
    return DenseRow(
        use.node.name,
        value.shape,
        output.shape,
        shared,
        (shared - sizes.get("bias", 0)) * kernels + biases,
        dense_map,
        dense_map * output.channels + biases,
    )


def dense_equivalent(network: Network) -> DenseEquivalent:
    """Counts what each convolution would cost without weight sharing.

    Args:
        network: The network.

    Returns:
        One row a convolution.

    Example:
        The textbook's: 200 maps of 5x5 kernels on 100 x 150 pixels of three colours. One map's neurons have 45,000 inputs
        each, and there are 15,000 of them.

        >>> from cnnbudget import Conv, Net
        >>> dense = Net.input(3, 100, 150).then(Conv(200, 5, padding="same")).dense_equivalent()
        >>> print(dense)
        node       input       output  convolution  unshared local  dense, one map  dense, all maps
        -----  ---------  -----------  -----------  --------------  --------------  ---------------
        conv   3x100x150  200x100x150       15,200     228,000,000     675,000,000  135,003,000,000
        -----  ---------  -----------  -----------  --------------  --------------  ---------------
        total                               15,200     228,000,000                  135,003,000,000
        >>> row = dense.convolutions[0]
        >>> row.shared, row.dense_map == 45_000 * 15_000
        (15200, True)
    """
    return DenseEquivalent(tuple([row for row in walk(network, DenseVisitor()).values() if row is not None]))
