"""Pictures of arenas: one rectangle a storage, where the plan puts it."""

import re
import xml.etree.ElementTree as ET

import pytest

from cnnbudget import Arena, Autograd, Conv, Inference, InvalidTypeError, InvalidValueError, Net, Training, arena_svg

SVG = "{http://www.w3.org/2000/svg}"
NET = Net.input(1, 8, 8).then(Conv(2, 1), Conv(4, 1), Conv(1, 1))


def rectangles(picture):
    found = {}
    for each in ET.fromstring(picture).iter(f"{SVG}rect"):
        text = each.find(f"{SVG}title").text
        found[text.split(":")[0]] = {key: float(each.get(key)) for key in ("x", "y", "width", "height")} | {
            "text": text
        }
    return found


def test_rectangles_are_where_the_plan_puts_them():
    # Values of 256, 512, 1,024 and 256 bytes in four steps; an arena of 1,536 bytes is as high as the two largest neighbours.
    profile = NET.profile(Inference(allocator=Arena(alignment=64)))
    assert profile.allocation.height == 1536
    found = rectangles(arena_svg(profile))
    assert set(found) == {"input", "conv", "conv2", "conv3"}
    scale = found["conv2"]["height"] / 1024
    for name, size in (("input", 256), ("conv", 512), ("conv3", 256)):
        assert found[name]["height"] == pytest.approx(size * scale, abs=0.11)
    # Each lives for two steps; the last one from its own to the end.
    step = found["conv3"]["width"]
    for place, name in enumerate(("input", "conv", "conv2")):
        assert found[name]["width"] == pytest.approx(2 * step, abs=0.11)
        assert found[name]["x"] == pytest.approx(found["input"]["x"] + place * step, abs=0.11)
    # The bottom of a rectangle is its offset: neighbours do not overlap.
    one, other = sorted((found["conv"], found["conv2"]), key=lambda each: each["y"])
    assert one["y"] + one["height"] <= other["y"] + 0.11
    assert "conv2: activation, 1,024 bytes at " in found["conv2"]["text"]
    assert "from forward of conv2 to forward of conv3" in found["conv2"]["text"]


def test_no_rectangle_overlaps_another_in_a_training():
    profile = NET.profile(Training(2, retention=Autograd(), allocator=Arena()))
    picture = arena_svg(profile)
    found = list(rectangles(picture).values())
    assert len(found) == len(profile.allocation.offsets)
    for number, one in enumerate(found):
        for other in found[:number]:
            beside = one["x"] + one["width"] <= other["x"] + 0.11 or other["x"] + other["width"] <= one["x"] + 0.11
            above = one["y"] + one["height"] <= other["y"] + 0.11 or other["y"] + other["height"] <= one["y"] + 0.11
            assert beside or above
    assert (
        len(set(re.findall(r'fill="(#\w+)" fill-opacity', picture))) == 3
    )  # values, their gradients, those of parameters


def test_names_are_escaped_and_small_rectangles_have_none():
    hostile = Net.input(1, 8, 8, name="<b>&").then(Conv(2, 1))
    picture = arena_svg(hostile.profile(Inference(allocator=Arena())))
    assert "&lt;b&gt;&amp;" in picture
    assert "<b>" not in picture
    assert "<script" not in picture
    long = Net.input(1, 8, 8, name="a" * 200).then(Conv(2, 1))
    texts = [
        each.text for each in ET.fromstring(arena_svg(long.profile(Inference(allocator=Arena())))).iter(f"{SVG}text")
    ]
    assert "a" * 200 not in texts
    assert "conv" in texts


def test_what_is_refused():
    with pytest.raises(InvalidTypeError, match=r"arena_svg\(\) takes a profile"):
        arena_svg(NET)
    with pytest.raises(InvalidValueError, match=r"arena_svg\(\) needs an arena"):
        arena_svg(NET.profile(Inference()))
