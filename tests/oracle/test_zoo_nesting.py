"""The scopes of the zoo's nodes nest as torchvision's module calls do: what a container's frame holds depends on it.

The names of scopes may differ. What is compared is which nodes lie within one call; calls of one node say nothing new.
"""

import gzip
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from cnnbudget import zoo

DATA = json.loads(gzip.decompress((Path(__file__).parent / "data" / "zoo_nesting.json.gz").read_bytes()))
NETS = DATA["nets"]


def build(name):
    base, _, variant = name.partition("/")
    options = {"input_shape": (3, 299, 299) if base == "inception_v3" else (3, 224, 224)}
    if base in {"googlenet", "inception_v3"}:
        options["aux_logits"] = variant == "aux"
    if base.startswith(("fcn", "deeplabv3")):
        options["aux_loss"] = True
    return getattr(zoo, base)(**options).network


def groups(paths):
    """The sets of positions that lie within one call, but for those of one position."""
    found = defaultdict(set)
    for position, path in enumerate(paths):
        for call in path:
            found[call].add(position)
    return {frozenset(positions) for positions in found.values() if len(positions) > 1}


# Not a module, but a function whose variable lives until it returns: a frame all the same.
FUNCTIONS = {"bn_function"}


def scopes(name):
    """``layer1.0/conv`` lies within ``layer1`` and, in that, ``0``."""
    name = "/".join(part for part in name.split("/") if part not in FUNCTIONS)
    parts = re.split(r"[./]", name.rpartition("/")[0])
    return [tuple(parts[: length + 1]) for length in range(len(parts))] if parts != [""] else []


def calls_around(call, calls):
    """The numbers of a call and of those that it lies within."""
    around = []
    while call >= 0:
        around.append(call)
        call = calls[call][1]
    return around


@pytest.mark.parametrize("name", NETS)
def test_scopes_are_torchvisions_calls(name):
    nodes, expected = build(name).nodes, NETS[name]
    assert [type(node.layer).__name__ for node in nodes] == [kind for kind, _ in expected["nodes"]]
    theirs = groups([calls_around(call, expected["calls"]) for _, call in expected["nodes"]])
    assert groups([scopes(node.name) for node in nodes]) == theirs


def test_every_network_that_torchvision_has_is_there():
    assert DATA["source"].startswith("torchvision 0.29.1 on torch 2.14.1")
    others = {
        *("alexnet_2012", "googlenet_2014", "lenet5", "lenet5_1998", "mobilenet_v1", "nasnet_large", "nasnet_mobile"),
        *("darknet19", "darknet53", "yolo_v3", "textbook_exercise", "unet", "vgg11_lrn", "vgg16_c", "xception"),
    }
    assert {name.partition("/")[0] for name in NETS} == {*zoo.names()} - others
    assert {name for name in NETS if "/" in name} == {"googlenet/aux", "inception_v3/aux"}


def test_what_is_compared():
    assert scopes("conv") == []
    assert scopes("layer1.0/conv") == [("layer1",), ("layer1", "0")]
    assert groups([scopes(name) for name in ("a/x", "a/b/x", "a/b/y", "c/x")]) == {
        frozenset({0, 1, 2}),
        frozenset({1, 2}),
    }
