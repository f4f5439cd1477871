"""Without PyTorch: the package can be imported, and its functions say what is missing."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from cnnbudget import Conv, InvalidTypeError, MissingExtraError, Net
from cnnbudget.interop.given import network_of
from cnnbudget.interop.torch import from_torch, to_torch


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
    with pytest.raises(
        MissingExtraError, match=r"to_torch\(\) needs PyTorch; pip install cnnbudget\[torch\]"
    ) as caught:
        to_torch(Net.input(3, 8, 8).then(Conv(4, 3)))
    assert isinstance(caught.value, ImportError)
    with pytest.raises(MissingExtraError, match=r"from_torch\(\) needs PyTorch; pip install cnnbudget\[torch\]"):
        from_torch("module", (3, 8, 8))


def test_it_is_loaded_when_a_function_is_called(monkeypatch):
    given = []
    builder = SimpleNamespace(build=lambda *args, **settings: given.append((args, settings)) or "module")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cnnbudget.interop.torch.build", builder)
    net = Net.input(3, 8, 8).then(Conv(4, 3))
    assert to_torch(net) == to_torch(net, rules={Conv: len}, flat=True) == "module"
    assert given == [((net, {}), {"flat": False}), ((net, {Conv: len}), {"flat": True})]


def test_reading_is_loaded_when_it_is_called(monkeypatch):
    given = []
    reader = SimpleNamespace(capture=lambda *args, **settings: given.append((args, settings)) or "network")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cnnbudget.interop.torch.capture", reader)
    assert from_torch("module", (3, 8, 8)) == from_torch(
        "module", [(3,)], rules={int: len}, training=True, unsupported="opaque"
    )
    assert given == [
        (("module", (3, 8, 8), {}), {"training": None, "unsupported": "error"}),
        (("module", [(3,)], {int: len}), {"training": True, "unsupported": "opaque"}),
    ]


def test_importing_it_loads_no_framework():
    code = "import sys, cnnbudget.interop.torch; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_network_or_what_has_one():
    net = Net.input(3, 8, 8).then(Conv(4, 3))
    assert network_of(net.network, "f()") == network_of(net, "f()") == net.network
    for wrong in (Conv(4, 3), None, [net]):
        with pytest.raises(InvalidTypeError, match=r"f\(\) takes a network: got .*, expected a Network"):
            network_of(wrong, "f()")
