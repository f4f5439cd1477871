"""The chapter: the numbers are the book's where it is right, the derivations calculate, and it fits a terminal."""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise

import pytest

from cnnbudget import cli
from cnnbudget.textbook import work

CHAPTER = work()
DATA = CHAPTER.data()


def test_every_derivation_calculates_its_value():
    derivations = [derivation for section in CHAPTER.sections for derivation in section.derivations]
    assert len(derivations) > 30
    for derivation in derivations:
        for clause in derivation.text.split(";"):
            calculation, value = clause.rsplit(" = ", 1)
            expression = re.sub(r"[a-z]+", "", calculation.rsplit(" = ", 1)[0].replace(" x ", "*").replace(",", ""))
            assert eval(expression) == int(re.sub(r"[^0-9]", "", value)), derivation.text


def test_every_derivation_is_printed_or_summed_up():
    text = str(CHAPTER)
    hidden = [d.text for section in CHAPTER.sections for d in section.derivations if d.text not in text]
    assert len(hidden) == 1, "only the sum at the peak with gradients is too long for a line"
    assert hidden[0].endswith("= 943,216,000")


def test_parameters():
    # (3*3*3 + 1) * 100, (3*3*100 + 1) * 200, (3*3*200 + 1) * 400
    assert DATA["parameters"] == {
        "by_layer": {"conv": 2_800, "conv2": 180_200, "conv3": 720_400},
        "total": 903_400,
        "bytes": 3_613_600,
    }
    assert DATA["maps"] == {"conv": (100, 100, 150), "conv2": (200, 50, 75), "conv3": (400, 25, 38)}


def test_one_prediction():
    found = DATA["prediction"]
    assert found["maps_bytes"] == {"conv": 6_000_000, "conv2": 3_000_000, "conv3": 1_520_000}
    assert found["alive_bytes"] == {"conv": 6_720_000, "conv2": 9_000_000, "conv3": 4_520_000}
    assert (found["activation_peak_bytes"], found["peak_node"]) == (9_000_000, "conv2")
    assert found["peak_bytes"] == 12_613_600
    assert (found["misprinted_maps_bytes"], found["misprinted_total_bytes"]) == (15_000_000, 18_613_600)
    assert found["misprint_excess_bytes"] == 6_000_000
    text = str(CHAPTER)
    assert "(12.03 MiB)" in text
    assert "6 + 9 instead of 6 + 3" in text
    assert "(5.7 MiB) too high" in text
    assert "guesses 2.9 MB" in text


def test_training():
    found = DATA["training"]
    assert (found["maps_bytes"], found["input_bytes"], found["parameter_bytes"]) == (526_000_000, 36_000_000, 3_613_600)
    assert found["end_of_forward_bytes"] == 565_613_600
    assert found["rounded_mebibytes_in_books"] == 537.7
    assert found["rounded_megabytes_in_books"] == 564.6
    assert "(539.4 MiB)" in str(CHAPTER)


def test_training_with_gradients():
    # backward of conv2: images, maps of conv and conv2, gradients of conv and conv2, all parameters, gradients of conv2, conv3
    expected = 50 * 4 * (180_000 + 2 * 1_500_000 + 2 * 750_000) + 4 * 903_400 + 4 * (180_200 + 720_400)
    assert DATA["gradients"]["peak_bytes"] == expected == 943_216_000
    assert sum(DATA["gradients"]["alive_bytes"].values()) == expected
    assert DATA["gradients"]["peak_step"] == "backward of conv2"


def test_half_precision():
    assert DATA["half_precision"] == {"prediction_peak_bytes": 6_306_800, "training_end_of_forward_bytes": 282_806_800}


def test_five_cures():
    assert DATA["cures"]["budget_bytes"] == 500_000_000
    options = DATA["cures"]["options"]
    assert [option["cure"] for option in options] == [
        "smaller mini-batch",
        "larger stride",
        "fewer layers",
        "16-bit floats",
        "several devices",
    ]
    assert all(option["fits"] and option["peak_bytes"] <= 500_000_000 for option in options)
    image, maps, parameters = 720_000, (6_000_000, 3_000_000, 1_520_000), 3_613_600
    assert [(option["change"], option["peak_bytes"]) for option in options] == [
        ("batch 50 -> 44", 44 * (image + sum(maps)) + parameters),
        # conv2 makes 34x50 maps, conv3 17x25
        ("conv2: stride 2 -> 3", 50 * (image + maps[0] + 200 * 34 * 50 * 4 + 400 * 17 * 25 * 4) + parameters),
        (
            "without conv3, Conv(400, 3, stride=2, padding='same')",
            50 * (image + maps[0] + maps[1]) + parameters - 4 * 720_400,
        ),
        ("FP32 -> FP16", (50 * (image + sum(maps)) + parameters) // 2),
        ("1 -> 2 devices, at most 25 samples each", 25 * (image + sum(maps)) + parameters),
    ]


def test_the_dense_network():
    volumes = [3 * 200 * 300, 100 * 100 * 150, 200 * 50 * 75, 400 * 25 * 38]
    dense = sum(before * after + after for before, after in pairwise(volumes))
    assert DATA["dense"]["fully_connected"] == dense
    assert DATA["dense"]["unshared_local"] == 2_800 * 15_000 + 180_200 * 3_750 + 720_400 * 950
    assert DATA["dense"]["convolution"] == 903_400


def test_the_numbers_come_from_the_network(monkeypatch):
    from cnnbudget import textbook
    from cnnbudget.zoo import textbook_exercise

    monkeypatch.setattr(textbook, "textbook_exercise", lambda: textbook_exercise(maps=(10, 20, 40)))
    other = textbook.work().data()
    assert other["parameters"]["total"] == 28 * 10 + 91 * 20 + 181 * 40
    # now the first step is the largest: the image of 720,000 bytes and ten maps of 60,000
    assert other["prediction"]["activation_peak_bytes"] == 720_000 + 600_000
    assert other["prediction"]["peak_node"] == "conv"
    assert [option["fits"] for option in other["cures"]["options"]] == []


def test_it_fits_a_terminal_of_100_columns(capsys):
    assert cli.main(["textbook"]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip("\n") == str(CHAPTER)
    assert max(map(len, printed.splitlines())) <= 100


def test_json(capsys):
    assert cli.main(["textbook", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(json.dumps(DATA))
    assert found["training"]["end_of_forward_bytes"] == 565_613_600


def test_as_a_program():
    done = subprocess.run([sys.executable, "-m", "cnnbudget", "textbook"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "565,613,600 bytes" in done.stdout
    assert subprocess.run(
        [sys.executable, "-m", "cnnbudget", "--version"], capture_output=True, text=True, check=True
    ).stdout.startswith("cnnbudget ")


@pytest.mark.parametrize("arguments", [[], ["textbok"], ["textbook", "--yaml"]])
def test_bad_arguments_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: cnnbudget" in capsys.readouterr().err


def test_an_error_of_ours_is_one_line(monkeypatch, capsys):
    from cnnbudget import InvalidValueError, textbook

    def fail():
        raise InvalidValueError("something is wrong", got="this", expected="that")

    monkeypatch.setattr(textbook, "work", fail)
    assert cli.main(["textbook"]) == 2
    assert capsys.readouterr().err == "cnnbudget: something is wrong: got this, expected that\n"


def test_a_reader_that_stops_reading_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)  # nobody will ever read, as behind `| head` once it has seen enough
    done = subprocess.run(
        [sys.executable, "-m", "cnnbudget", "textbook"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
