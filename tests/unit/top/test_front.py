"""The package itself: what it exports, what importing it loads, and how a net is summarised."""

import subprocess
import sys

import pytest

import cnnbudget
from cnnbudget import Conv, Net, cli, textbook, zoo
from cnnbudget.advice.explain import explain_parameters


def test_every_public_name_loads_and_is_documented():
    for name in cnnbudget.__all__:
        value = getattr(cnnbudget, name)
        if isinstance(value, type) or callable(value):
            assert value.__doc__, name
    assert set(cnnbudget.__all__) <= set(dir(cnnbudget))


def test_an_unknown_name_is_guessed():
    with pytest.raises(AttributeError, match="module 'cnnbudget' has no attribute 'Convv'; did you mean 'Conv'"):
        _ = cnnbudget.Convv


def test_the_import_statement_of_users():
    assert subprocess.run([sys.executable, "-c", "from cnnbudget import *; Net, Conv, fit"], check=True).returncode == 0


def test_importing_loads_neither_numpy_nor_a_framework():
    watched = ("numpy", "torch", "keras", "tensorflow", "onnx", "matplotlib", "hypothesis", "pandas")
    program = f"import sys, cnnbudget; print([name for name in {watched!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_numpy_is_loaded_only_for_arrays():
    program = (
        "import sys; from cnnbudget import *\n"
        "found = Net.input(3, 8, 8).then(Conv(4, 3)).profile(Training(2)); str(found)\n"
        "before = 'numpy' in sys.modules; found.timeline; print(before, 'numpy' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        == "False True\n"
    )


def test_a_summary():
    found = Net.input(3, 8, 8).then(Conv(4, 3)).summary()
    text = str(found)
    # weights 3*3*3*4 + 4 = 112; 6*6 positions * 108 = 3,888; (3*8*8 + 4*6*6 + 112) * 4 = 1,792
    assert "parameters 112, buffers 0" in text
    assert "3,888" in text
    assert "(1,792 bytes), reached in forward of conv" in text
    assert found.rows()[0]["parameters"] == 112
    page = found._repr_html_()
    assert "<table" in page
    assert "parameters 112" in page


def test_the_exercise_of_the_zoo_has_options():
    assert zoo.textbook_exercise().parameter_count == 903_400
    assert zoo.textbook_exercise(maps=(10,), input_shape=(1, 8, 8)).output_shape == (10, 4, 4)


def test_the_chapter_is_a_value():
    assert textbook.work() == textbook.work()
    assert str(explain_parameters(zoo.textbook_exercise().network)["conv"]).endswith("28 x 100 maps = 2,800")


def test_importing_the_main_module_runs_nothing(capsys):
    from importlib import import_module

    assert import_module("cnnbudget.__main__").main is cli.main
    assert capsys.readouterr().out == ""


def test_compare_takes_nets_networks_and_names():
    small, large = zoo.textbook_exercise(maps=(4,)), zoo.textbook_exercise(maps=(8, 8))
    by_name = cnnbudget.compare({"small": small, "large": large.network})
    assert by_name.rows() == cnnbudget.compare(small, large, names=["small", "large"]).rows()
    (parameters,) = [row for row in by_name.rows() if row["fact"] == "parameters"]
    # 4 * (27 + 1); 8 * (27 + 1) + 8 * (72 + 1)
    assert (parameters["small"], parameters["large"]) == (112, 808)
    with pytest.raises(cnnbudget.InvalidTypeError, match=r"compare\(\) takes a network: got 5"):
        cnnbudget.compare(small, 5)


def test_the_receptive_field_of_a_net():
    # three 3x3 windows with stride 2: 3, then 3 + 2 * 2, then 7 + 2 * 4
    found = zoo.textbook_exercise().receptive_field()
    assert [node.size for node in found][-3:] == [(3, 3), (7, 7), (15, 15)]


def test_the_names_that_type_checkers_see_are_those_that_load():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(cnnbudget.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname: line.module for line in block.body for alias in line.names}
    assert set(seen) | {"__version__"} == set(cnnbudget.__all__)
    for name, module in seen.items():
        assert getattr(cnnbudget, name) is getattr(sys.modules[module], name), f"{name} is loaded from elsewhere"
