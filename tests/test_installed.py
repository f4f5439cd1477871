"""What is tested is what would be installed, where the caller asks for that."""

import os
from pathlib import Path

import pytest

import cnnbudget

CHECKOUT = Path(__file__).resolve().parents[1] / "cnnbudget"


@pytest.mark.skipif("CNNBUDGET_EXPECT_INSTALLED" not in os.environ, reason="CNNBUDGET_EXPECT_INSTALLED is not set")
def test_the_installed_package_is_tested():
    assert not Path(cnnbudget.__file__).resolve().is_relative_to(CHECKOUT)
