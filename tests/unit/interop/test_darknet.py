"""Darknet's configurations: what every section becomes, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnbudget import (
    GELU,
    Add,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Crop,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Identity,
    InvalidTypeError,
    InvalidValueError,
    LeakyReLU,
    Linear,
    LocallyConnected,
    LocalResponseNorm,
    MaxPool,
    Mish,
    Multiply,
    PixelShuffle,
    PixelUnshuffle,
    ReLU,
    Reshape,
    Sigmoid,
    SiLU,
    Slice,
    Softmax,
    Split,
    Upsample,
    costs,
    specs,
)
from cnnbudget.errors import FormatError
from cnnbudget.interop import Limits, from_darknet

AUDIT = Path(__file__).with_name("audit.py")
NET = "[net]\nheight=8\nwidth=12\nchannels=4\n"
LEAKY, LINEAR = LeakyReLU(0.1, inplace=True), "activation=linear"


def read(*sections, net=NET):
    """A section is its kind and its options, in one line each."""
    lines = [f"[{kind}]\n" + "\n".join(options) for kind, *options in (section.split() for section in sections)]
    return from_darknet("\n".join([net, *lines]))


def last(*sections, net=NET):
    """Layers of the last section, and the output."""
    network = read(*sections, net=net)
    scope = f"{len(sections) - 1}"
    layers = [
        node.layer
        for node in network.nodes
        if node.name.partition("/")[0].lstrip("abcdefghijklmnopqrstuvwxyz_") == scope
    ]
    return layers, specs(network)[network.outputs[-1]].shape


CASES = {
    # darknet's rule for a window: (n + 2 * padding - size) / stride + 1
    "convolutional filters=6 size=3 pad=1 activation=leaky": ([Conv(6, 3, padding=1), LEAKY], (6, 8, 12)),
    "conv filters=6 size=3 padding=2 activation=linear": ([Conv(6, 3, padding=2)], (6, 10, 14)),
    "convolutional filters=6 size=4 pad=1 stride=2 activation=relu": (
        [Conv(6, 4, padding=2, stride=2), ReLU(inplace=True)],
        (6, 5, 7),
    ),
    "convolutional": ([Conv(1, 1), Sigmoid()], (1, 8, 12)),
    "convolutional batch_normalize=1 filters=8 groups=4 size=3 activation=mish": (
        [Conv(8, 3, groups=4, bias=False), BatchNorm(), Mish(inplace=True)],
        (8, 6, 10),
    ),
    "convolutional cbn=1 filters=8 stride_x=2 stride_y=1 activation=swish": (
        [Conv(8, 1, stride=(1, 2), bias=False), BatchNorm(), SiLU(inplace=True)],
        (8, 8, 6),
    ),
    "convolutional filters=8 size=3 pad=1 dilation=2 activation=gelu": (
        [Conv(8, 3, padding=2, dilation=2), GELU(approximate=True)],
        (8, 8, 12),
    ),
    "convolutional filters=8 size=1 pad=1 dilation=2 activation=linear": ([Conv(8, 1)], (8, 8, 12)),
    # (n - 1) * stride + size - 2 * padding
    "deconvolutional filters=3 size=4 stride=2 padding=1 activation=linear": (
        [ConvTranspose(3, 4, stride=2, padding=1)],
        (3, 16, 24),
    ),
    "deconv filters=3 size=2 stride=2 batch_normalize=1 activation=leaky": (
        [ConvTranspose(3, 2, stride=2, bias=False), BatchNorm(), LEAKY],
        (3, 16, 24),
    ),
    # with a pad (n - 1) / stride + 1, without (n - size) / stride + 1
    "local filters=2 size=3 stride=2 pad=1 activation=linear": (
        [LocallyConnected(2, 3, stride=2, padding=((1, 1), (1, 1)))],
        (2, 4, 6),
    ),
    "local filters=2 size=3 activation=leaky": ([LocallyConnected(2, 3, padding=((0, 0), (0, 0))), LEAKY], (2, 6, 10)),
    "connected output=5 activation=linear": ([Flatten(), Linear(5)], (5,)),
    "conn output=5 batch_normalize=1 activation=relu": (
        [Flatten(), Linear(5, bias=False), BatchNorm(), ReLU(inplace=True)],
        (5,),
    ),
    # (n + padding - size) / stride + 1, and the padding is size - 1 unless told
    "maxpool size=2 stride=2": ([MaxPool(2, stride=2, ceil_mode=True)], (4, 4, 6)),
    "max size=2 stride=1": ([MaxPool(2, stride=1, padding=((0, 1), (0, 1)))], (4, 8, 12)),
    "maxpool size=3 stride=2": ([MaxPool(3, stride=2, padding=1)], (4, 4, 6)),
    "maxpool size=5 stride=1": ([MaxPool(5, stride=1, padding=2)], (4, 8, 12)),
    "maxpool size=3 stride=2 padding=0": ([MaxPool(3, stride=2)], (4, 3, 5)),
    "maxpool stride=4": ([MaxPool(4, stride=4, padding=((1, 2), (1, 2)))], (4, 2, 3)),
    "local_avgpool size=3 stride=2": ([AvgPool(3, stride=2, padding=1, count_include_pad=False)], (4, 4, 6)),
    "avgpool": ([GlobalAvgPool(keepdims=True)], (4, 1, 1)),
    "softmax": ([Flatten(), Softmax()], (384,)),
    "soft groups=4": ([Flatten(), Reshape(4, -1), Softmax(axis=1), Flatten()], (384,)),
    "softmax spatial=1": ([Softmax()], (4, 8, 12)),
    "crop crop_height=5 crop_width=12": ([Crop(((1, 2), (0, 0)))], (4, 5, 12)),
    "upsample stride=3": ([Upsample(3)], (4, 24, 36)),
    "upsample": ([Upsample(2)], (4, 16, 24)),
    "reorg stride=2": ([PixelUnshuffle(2)], (16, 4, 6)),
    "reorg3d stride=2 reverse=1": ([PixelShuffle(2)], (1, 16, 24)),
    "dropout probability=.3": ([Dropout(0.3)], (4, 8, 12)),
    "dropout": ([Dropout(0.5)], (4, 8, 12)),
    "normalization size=5 alpha=1e-4 beta=0.75 kappa=2": ([LocalResponseNorm(5)], (4, 8, 12)),
    "lrn": ([LocalResponseNorm(5, k=1.0)], (4, 8, 12)),
    "batchnorm": ([BatchNorm()], (4, 8, 12)),
    "activation activation=leaky": ([LEAKY], (4, 8, 12)),
    "activation activation=linear": ([Identity()], (4, 8, 12)),
    "logistic": ([Sigmoid()], (4, 8, 12)),
    "cost": ([Identity()], (4, 8, 12)),
    "yolo mask=0,1,2 classes=80 activation=whatever": ([Identity()], (4, 8, 12)),
}


@pytest.mark.parametrize("section", CASES)
def test_what_a_section_becomes(section):
    assert last(section) == CASES[section]


SMALL = "convolutional filters=3 size=1 stride=2 activation=linear"  # (3, 4, 6)
WIDE = "convolutional filters=9 size=1 activation=linear"
EQUAL = "convolutional filters=4 size=1 activation=linear"
OF_SEVERAL = {
    (EQUAL, EQUAL, "route layers=-1"): ([Identity()], (4, 8, 12)),
    (EQUAL, WIDE, "route layers=-1,0"): ([Concat()], (13, 8, 12)),
    (EQUAL, "route layers=0 groups=2 group_id=1"): ([Split(2, 1)], (2, 8, 12)),
    (EQUAL, EQUAL, "route layers=0,-1 groups=2"): ([Split(2, 0), Split(2, 0), Concat()], (4, 8, 12)),
    (EQUAL, EQUAL, "shortcut from=-2 activation=leaky"): ([Add(), LEAKY], (4, 8, 12)),
    (EQUAL, EQUAL, EQUAL, "shortcut from=0,1"): ([Add(), Add()], (4, 8, 12)),
    # both have four channels: they are added, and the other five stay
    (EQUAL, WIDE, "shortcut from=-2"): ([Slice(0, 4), Add(), Slice(4), Concat()], (9, 8, 12)),
    (WIDE, EQUAL, "shortcut from=-2"): ([Slice(0, 4), Add()], (4, 8, 12)),
    (EQUAL, SMALL, "shortcut from=-2"): ([AvgPool(1, stride=2), Slice(0, 3), Add()], (3, 4, 6)),
    (EQUAL, EQUAL, "avgpool", "scale_channels from=-2"): ([Multiply()], (4, 8, 12)),
    (EQUAL, EQUAL, "sam from=-2 activation=relu"): ([Multiply(), ReLU(inplace=True)], (4, 8, 12)),
    ("connected output=6 activation=linear", "connected output=5 activation=linear"): ([Linear(5)], (5,)),
    ("connected output=6 activation=linear", "convolutional filters=2 activation=linear"): (
        [Reshape(6, 1, 1), Conv(2, 1)],
        (2, 1, 1),
    ),
}


@pytest.mark.parametrize("sections", OF_SEVERAL, ids=range(len(OF_SEVERAL)))
def test_what_reads_other_sections(sections):
    assert last(*sections) == OF_SEVERAL[sections]


def test_names_and_inputs():
    head = "convolutional filters=2 activation=linear"
    network = read(
        "convolutional batch_normalize=1 filters=4 activation=leaky",
        "maxpool size=2 stride=2",
        head,
        "yolo",
        "route layers=0",
        head,
        "yolo",
    )
    assert [(node.name, node.inputs) for node in network.nodes] == [
        ("convolutional0/conv", ("input",)),
        ("convolutional0/batch_norm", ("convolutional0/conv",)),
        ("convolutional0/leaky_relu", ("convolutional0/batch_norm",)),
        ("maxpool1", ("convolutional0/leaky_relu",)),
        ("convolutional2/conv", ("maxpool1",)),
        ("yolo3", ("convolutional2/conv",)),
        ("route4", ("convolutional0/leaky_relu",)),
        ("convolutional5/conv", ("route4",)),
        ("yolo6", ("convolutional5/conv",)),
    ]
    assert network.outputs == ("yolo3", "yolo6")


def test_several_nodes_of_a_section_have_a_scope():
    network = read(EQUAL, EQUAL, "route layers=0,1 groups=2")
    assert [node.name for node in network.nodes][2:] == ["route2/split", "route2/split2", "route2/concat"]


def test_shared_convolutions():
    one = "convolutional batch_normalize=1 filters=4 size=3 pad=1 activation=leaky"
    network = read(one, f"{one} share_index=-1", f"{one} share_index=1")
    assert [node.shares for node in network.nodes] == [
        *(None, None, None, "convolutional0/conv", "convolutional0/batch_norm", None),
        *("convolutional0/conv", "convolutional0/batch_norm", None),
    ]
    assert costs(network).parameter_count == 4 * 4 * 9 + 2 * 4


def test_the_size_is_an_argument():
    cfg = f"{NET}[convolutional]\nfilters=2\nactivation=linear"
    assert from_darknet(cfg, input_shape=(1, 5, 7)).inputs[0].shape == (1, 5, 7)
    assert from_darknet("[network]\ninputs = 30\n[connected]\noutput=3").inputs[0].shape == (30,)


def test_comments_spaces_and_doubles():
    text = "# a comment\n; another\n\n [net] \r\nheight = 8\nwidth= 1 2\rchannels =4 # four\n"
    text += "[ conv ]\nfilters=2\nfilters=9\nsize=1x\n"
    network = from_darknet(text)
    assert network.inputs[0].shape == (4, 8, 12)
    assert network.nodes[0].layer == Conv(2, 1)  # the first of two, and the digits at the start, as Darknet reads them


def test_settings_of_training_are_passed_over():
    more = "burn_in=1000\npolicy=steps\nsteps=1,2\n"
    assert read("convolutional xnor=1 filters=2 flipped=0 activation=linear", net=NET + more).nodes[0].layer == Conv(
        2, 1
    )


WRONG = {
    "": r"the text has no layers: got 0 sections",
    "[net]\nheight=8": r"the text has no layers: got 1 sections",
    "height=8\n[net]": r"neither a section nor an option of one \(at line 1\): got 'height=8'",
    f"{NET}\n[maxpool]\nsize 2": r"neither a section nor an option of one \(at line 7\): got 'size 2'",
    "[convolutional]\n[net]": r"the first section is not \[net\] \(at line 1, \[convolutional\]\): got \['convolutional'\]",
    "[net]\n[maxpool]": r"out of range \(at line 1, \[net\]\): got 0",
    "[net]\nheight=-8\nwidth=8\nchannels=3\n[maxpool]": r"out of range \(at line 1, \[net\]\): got -8",
    "[net]\nheight=8\nwidth=9223372036854775808\nchannels=3\n[maxpool]": r"width is no int \(at line 1, \[net\]\)",
    f"{NET}[convolutional]\nfilters=-3\nactivation=linear": r"out of range \(at line 5, \[convolutional\]\): got -3",
    f"{NET}[convolutional]\nsize=99\nactivation=linear": r"the window is larger than the padded input.* \(at line 5",
    f"{NET}[convolutional]\nsize=many\nactivation=linear": r"size is no int \(at line 5, \[convolutional\]\): got 'many'",
    f"{NET}[convolutional]\nsize=3\ndilation=2\nactivation=linear": r"a dilated window needs padding=size/2",
    f"{NET}[convolutional]\nshare_index=-1": r"refers to one that does not come before it",
    f"{NET}[maxpool]\nsize=2\n[convolutional]\nshare_index=-1": r"share_index is of a section without weights",
    f"{NET}[maxpool]\nsize=1\n[route]\nlayers=1": r"refers to one that does not come before it \(at line 7, \[route\]\): got 1",
    f"{NET}[maxpool]\nsize=1\n[route]\nlayers=-2": r"refers to one that does not come before it",
    f"{NET}[maxpool]\nsize=1\n[route]": r"layers is no list of ints \(at line 7, \[route\]\): got None",
    f"{NET}[maxpool]\nsize=1\n[route]\nlayers=a,b": r"layers is no list of ints",
    f"{NET}[maxpool]\nsize=1\n[route]\nlayers={'-1,' * 1001}": r"layers is too long a list",
    f"{NET}[maxpool]\nsize=2\nstride=2\n[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1,-2": r"Concat needs inputs of equal sizes",
    f"{NET}[maxpool]\nsize=1\n[upsample]\n[shortcut]\nfrom=0": r"a shortcut comes from a smaller map",
    f"{NET}[connected]\noutput=3\n[shortcut]\nfrom=-1": r"a shortcut comes from a smaller map",
    f"{NET}[connected]\noutput=3\n[crop]\ncrop_height=4": r"a crop is larger than the image",
    f"{NET}[connected]\noutput=3\n[upsample]": r"Upsample",
    f"{NET}[dropout]\nprobability=nan": r"probability is no number \(at line 5, \[dropout\]\): got 'nan'",
    f"{NET}[dropout]\nprobability=1e99": r"Dropout.rate is out of range",
    f"{NET}[lstm]\n[conv]\nantialiasing=1\nactivation=rlu\n[shortcut]\nweights_type=per_feature": (
        r"not supported: got line 5, \[lstm\]: there is no rule for this section; line 6, \[convolutional\]: activation='rlu'; "
        r"line 6, \[convolutional\]: antialiasing='1'; line 9, \[shortcut\]: weights_type='per_feature'; take them out"
    ),
    NET + "[gru]\n" * 30: r"\.\.\. \(30 in all\); take them out",
    NET
    + "[upsample]\n"
    * 40: r"the size of an axis is beyond the limit \(at line 32, \[upsample\]\)|\(at value 'upsample\d+/upsample'\)",
    NET + "[maxpool]\nsize=1\n" * 100_001: r"the number of sections is beyond the limit: got 100,001",
    NET + "a=1\n" * 1_700_000: r"the number of options is beyond the limit",
    "[" * 1000: r"the first section is not \[net\]|the text has no layers",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(FormatError, match=WRONG[text]) as caught:
        from_darknet(text)
    assert "from_darknet()" in str(caught.value)
    assert len(str(caught.value)) < 3000


def test_what_is_given_is_checked():
    with pytest.raises(InvalidTypeError, match=r"from_darknet\(\) cannot read this: got 3"):
        from_darknet(3)
    with pytest.raises(FormatError, match=r"beyond the limit: got 2, expected at most 1"):
        from_darknet(f"{NET}[maxpool]\n[maxpool]", limits=Limits(nodes=1))
    with pytest.raises((FormatError, InvalidValueError), match="out of range"):
        from_darknet(f"{NET}[maxpool]\n", input_shape=(0, 1, 1))


CFG = f"{NET}[conv]\nbatch_normalize=1\nfilters=8\nsize=3\npad=1\nactivation=leaky\n"
CFG += "[maxpool]\nsize=2\nstride=2\n[route]\nlayers=-1,-1\n[yolo]"


@given(st.data())
def test_a_mutated_text_is_refused_or_read(data):
    text = CFG
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.integers(start, min(len(text), start + 8)))
        piece = data.draw(
            st.sampled_from(["", text[start:stop] * 2, "9", "-", "[", "]", "=", "\n", ",", "\x00", "size=", "\u2028"])
        )
        text = text[:start] + piece + text[stop:]
    try:
        network = from_darknet(text)
    except FormatError:
        return
    assert specs(network)


@pytest.mark.parametrize("text", [CFG, f"{NET}[softmax]\ntree=/etc/passwd\n", f"{NET}[lstm]", "[[[", f"{NET}[net]\n"])
def test_reading_opens_nothing_and_runs_nothing(text, tmp_path):
    harmless, suspect = tmp_path / "harmless.cfg", tmp_path / "suspect.cfg"
    harmless.write_text(CFG)
    suspect.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", AUDIT.read_text(), "from_darknet", str(harmless), str(suspect)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    result, *events = done.stdout.splitlines()
    assert result == "read" if "yolo" in text or "tree" in text else result.startswith("refused: from_darknet()")
    assert events == [f"open ({str(suspect)!r},)"]
