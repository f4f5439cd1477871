"""Budgets: sizes and devices, and what is no budget."""

import re

import pytest

from cnnbudget import (
    Bytes,
    Conv,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Net,
    UnknownNameError,
    budget,
    devices,
)
from cnnbudget.advice.budget import as_budget

GIB = 2**30


@pytest.mark.parametrize(
    ("name", "memory"),
    # Marketed memory, read off the makers' pages: GeForce RTX 4090 24 GB, Tesla T4 16 GB, A100 80 GB, STM32F746 320 Kbytes.
    [("RTX 4090", 24 * GIB), ("T4", 16 * GIB), ("A100 80GB", 80 * GIB), ("STM32F746", 320 * 1024)],
)
def test_devices(name, memory):
    assert budget(name) == memory
    assert budget(name, reserve="1 KiB") == memory - 1024
    assert isinstance(budget(name), Bytes)


@pytest.mark.parametrize("spelling", ["rtx 4090", "RTX4090", "rtx-4090", "GeForce RTX 4090", "NVIDIA GeForce RTX 4090"])
def test_spellings(spelling):
    assert budget(spelling) == 24 * GIB


@pytest.mark.parametrize("nothing", [0, "0 B", "0"])
def test_nothing_may_be_reserved(nothing):
    assert budget("T4", reserve=nothing) == 16 * GIB


def test_every_device_is_found_under_its_own_name_and_has_a_source():
    assert len(devices()) == len({device.name for device in devices()})
    for device in devices():
        assert budget(device.name) == device.memory
        assert len(device.source) > 10


def test_a_budget_is_a_size_or_a_device():
    assert as_budget("8 GiB") == 8 * GIB
    assert as_budget(123) == 123
    assert as_budget("RTX 4090") == as_budget(" RTX 4090 ") == 24 * GIB
    net = Net.input(3, 8, 8).then(Conv(4, 3))
    assert net.fit("T4", Inference()).budget == 16 * GIB


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (
            lambda: budget("RTX 4091"),
            UnknownNameError,
            r"no device has this name: got 'RTX 4091'; did you mean 'RTX 4090'\?",
        ),
        (lambda: budget(24), InvalidTypeError, r"budget\(\) takes the name of a device: got 24"),
        (lambda: budget("T4", reserve="16 GiB"), InvalidValueError, r"reserves everything: got 16.00 GiB of 16.00 GiB"),
        (lambda: budget("T4", reserve=-1), InvalidValueError, r"a size must be positive: got -1"),
        (lambda: budget("T4", reserve=float("nan")), InvalidTypeError, r"must be an int: got nan"),
        (lambda: budget("T4", reserve=0.0), InvalidTypeError, r"must be an int: got 0.0"),
        (lambda: budget("T4", reserve=False), InvalidTypeError, r"must be an int: got False"),
        (lambda: as_budget("a lot"), UnknownNameError, r"neither a size nor a device: got 'a lot', expected '8 GiB'"),
        (lambda: as_budget("RTX 409"), UnknownNameError, r"did you mean 'RTX 4090'\?"),
        (lambda: as_budget(float("nan")), InvalidTypeError, r"must be an int: got nan"),
        (lambda: as_budget("-8 GiB"), InvalidValueError, re.escape("cannot read a size: got '-8 GiB'")),
    ],
)
def test_bad_budgets(make, error, text):
    with pytest.raises(error, match=text):
        make()
