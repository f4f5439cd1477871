"""Every example in a docstring, and the README, is run and prints what it says."""

import doctest
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import cnnbudget

ROOT = Path(__file__).parents[1]
# `__main__` is a command: importing it runs it.
MODULES = ["cnnbudget", *(m.name for m in walk_packages(cnnbudget.__path__, "cnnbudget.") if "__main__" not in m.name)]
NEED_TORCH = "cnnbudget.interop.torch."


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    if name.startswith(NEED_TORCH):
        pytest.importorskip("torch")
    assert doctest.testmod(import_module(name)).failed == 0


def test_the_walk_finds_every_floor():
    assert {"cnnbudget.units", "cnnbudget.layers.conv", "cnnbudget.net"} <= set(MODULES)


@pytest.mark.skipif(not (ROOT / "README.rst").is_file(), reason="no README beside the tests")
def test_the_readme_runs():
    results = doctest.testfile(str(ROOT / "README.rst"), module_relative=False, encoding="utf-8")
    assert results.failed == 0
    assert results.attempted > 0
