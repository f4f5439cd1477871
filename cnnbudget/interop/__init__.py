"""Models in and out: PyTorch."""

from cnnbudget.interop.torch import to_torch

__all__ = ["to_torch"]
