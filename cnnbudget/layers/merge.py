"""tmp"""

from __future__ import annotations

from attrs import frozen

from cnnbudget.errors import ShapeError
from cnnbudget.layers.base import Saved, StatelessLayer
from cnnbudget.tensors import TensorSpec

__all__ = ["Add", "Concat"]


@frozen(repr=False)
class Add(StatelessLayer):
    arity = None

    def infer(self, inputs):
        if len({i.shape for i in inputs}) > 1:
            raise ShapeError("Add needs equal shapes", got=str([i.shape for i in inputs]))
        return inputs[0]

    def saved(self, inputs, output):
        return Saved()


@frozen(repr=False)
class Concat(StatelessLayer):
    arity = None

    def infer(self, inputs):
        return TensorSpec((sum(i.shape[0] for i in inputs), *inputs[0].shape[1:]))

    def saved(self, inputs, output):
        return Saved()
