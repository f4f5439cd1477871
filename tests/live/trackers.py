"""Watches which storages an operation of PyTorch makes, and how many bytes of them are alive at once."""

from collections.abc import Iterable

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LiveStorages"]


class LiveStorages(TorchDispatchMode):
    """Counts the bytes of storages that are made while it is active, after every operation.

    Args:
        known: Tensors whose storages were there before.

    Attributes:
        peak: Most bytes alive at once.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.alive: list[tuple[StorageWeakRef, int]] = []
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.alive = [(storage, size) for storage, size in self.alive if not storage.expired()]
        seen = self.known | {storage.cdata for storage, _ in self.alive}
        for value in tree_leaves(out):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in seen:
                storage = value.untyped_storage()
                seen.add(storage._cdata)
                self.alive.append((StorageWeakRef(storage), storage.nbytes()))
        self.peak = max(self.peak, sum(size for _, size in self.alive))
        return out
