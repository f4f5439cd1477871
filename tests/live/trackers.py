"""Watches which storages an operation of PyTorch makes, and how many bytes of them are alive at once."""

import weakref
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LiveBytes", "LiveStorages"]


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


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of storages as operations make them and as PyTorch frees them.

    It looks after every operation, when its arguments and results are alive. What a kernel allocates and frees inside is not seen.
    While a mode watches, autograd adds up gradients out of place; ``joins=True`` does it as it would without one: in place,
    where the older gradient is a whole tensor that nobody else holds.

    Args:
        known: Tensors that are there all the time; they do not count.
        joins: Whether gradients are added up as without a mode.

    Attributes:
        live: Bytes alive now.
        peak: Most bytes alive after an operation; set it to 0 to start anew.
    """

    def __init__(self, known: Iterable[Tensor], *, joins: bool = False) -> None:
        super().__init__()
        self.known = [tensor.untyped_storage() for tensor in known]
        self.sizes = {storage._cdata: 0 for storage in self.known}
        self.joins = joins
        self.live = self.peak = 0

    def _drop(self, key: int) -> None:
        self.live -= self.sizes.pop(key)

    def _sum(self, func, args):
        """The operation that autograd would run without a mode, when this one is a sum of two gradients."""
        if func is not torch.ops.aten.add.Tensor or torch.is_grad_enabled() or not isinstance(args[1], Tensor):
            return func
        old = args[0]
        alone = old._use_count() <= 4 and torch._C._storage_Use_Count(old.untyped_storage()._cdata) <= 2
        whole = not old._is_view() and old.shape == args[1].shape and not torch._debug_has_internal_overlap(old)
        return torch.ops.aten.add_.Tensor if alone and whole else func

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if self.joins:
            func = self._sum(func, args)
        out = func(*args, **(kwargs or {}))
        # In evaluation batch normalisation returns two empty statistics on a CPU, and full ones on the meta device.
        evaluated = func is torch.ops.aten.native_batch_norm.default and not args[5]
        for value in tree_leaves(out[:1] if evaluated else out):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata not in self.sizes:
                storage = value.untyped_storage()
                self.sizes[storage._cdata] = storage.nbytes()
                self.live += storage.nbytes()
                weakref.finalize(storage, self._drop, storage._cdata)
        self.peak = max(self.peak, self.live)
        return out
