"""Random networks, built in PyTorch as well: shapes, parameters, buffers and multiply-accumulates of every node."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import Inference, Layer, Net, Network, Node, Training, costs
from cnnbudget.errors import SharedStorageError
from cnnbudget.testing import families, graphs, strategies

torch = pytest.importorskip("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from .interpreter import TorchNetwork, module_of  # noqa: E402
