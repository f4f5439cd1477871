"""``from_darknet`` beside the Darknet binary: shape and operations of every layer that it prints for its own configurations.

Source of the tables: pjreddie/darknet at f6afaab, run on its ``cfg/*.cfg``. They lie outside of the repository, and their tests are
skipped without them. The configurations are not among them: each is written here from its table, where it is unambiguous.
The totals below are the binary's, too (pjreddie/darknet at f6afaab, AlexeyAB/darknet at 59596d7); it counts two operations for a
multiply-accumulate of a convolution or a connected layer, and none for a ``[local]``.
"""

import gzip
import re
from pathlib import Path

import pytest

from cnnbudget import Flatten, LocallyConnected, costs, zoo
from cnnbudget.interop import from_darknet

TABLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "darknet"
NAMES = [
    *(
        "alexnet",
        "cifar",
        "darknet",
        "darknet19",
        "darknet53",
        "darknet53@416",
        "densenet201",
        "extraction",
        "resnet152",
        "resnet50",
    ),
    *("tiny", "vgg-16", "yolov3-tiny", "yolov3-tiny@416", "yolov3", "yolov3@416"),
]
CONV = re.compile(
    r"conv +(\d+) +(\d+) x *\d+ / (\d+) +(\d+) x *(\d+) x *(\d+) +-> +(\d+) x *(\d+) x *(\d+) +([\d.]+) BFLOPs"
)
MAX = re.compile(r"max +(\d+) x *\d+ / (\d+) +(\d+) x *(\d+) x *(\d+) +-> +(\d+) x *(\d+) x *(\d+)")


def ints(match):
    return [int(group) for group in match.groups() if "." not in group]


def section(kind, **options):
    return f"[{kind}]\n" + "".join(f"{key}={value}\n" for key, value in options.items()) + "\n"


def lines_of(table):
    """The configuration of a table, and what the table says of every layer: output shape, billions of operations."""
    cfg, expected, source = [], [], None
    for line in table.splitlines():
        number, _, row = line.strip().partition(" ")
        if not number.isdigit():
            continue
        assert int(number) == len(expected)
        row, operations, shape = row.strip(), None, None
        if match := CONV.match(row):
            filters, size, stride, w, h, c, *shape = ints(match)
            pad = int((w + 2 * (size // 2) - size) // stride + 1 == shape[0])
            cfg.append(section("convolutional", filters=filters, size=size, stride=stride, pad=pad, activation="leaky"))
            operations = float(match.groups()[-1])
        elif match := MAX.match(row):
            size, stride, w, h, c, *shape = ints(match)
            padding = {} if (w - 1) // stride + 1 == shape[0] else {"padding": 0}
            cfg.append(section("maxpool", size=size, stride=stride, **padding))
        elif row.startswith("avg"):
            w, h, c = ints(re.search(r"(\d+) x *(\d+) x *(\d+)", row))
            shape = [1, 1, c]
            cfg.append(section("avgpool"))
        elif row.startswith("connected"):
            w, shape = None, [int(row.split()[-1])]
            cfg.append(section("connected", output=shape[0], activation="leaky"))
        elif row.startswith("softmax"):
            w, shape = None, [int(row.split()[-1])]
            cfg.append(section("softmax"))
        elif row.startswith("dropout"):
            w, shape = None, ("elements of", int(row.split()[-1]))
            cfg.append(section("dropout", probability=row.split()[3]))
        elif row.startswith("Crop"):
            h, w, *_ = ints(re.search(r"(\d+) x *(\d+) -> (\d+) x (\d+) x (\d+)", row))
            *_, y, x, c = ints(re.search(r"(\d+) x *(\d+) -> (\d+) x (\d+) x (\d+)", row))
            shape = [x, y, c]
            cfg.append(section("crop", crop_height=y, crop_width=x))
        elif row.startswith("upsample"):
            w, h, c, *shape = ints(re.search(r"(\d+) x *(\d+) x *(\d+) +-> +(\d+) x *(\d+) x *(\d+)", row))
            cfg.append(section("upsample", stride=re.search(r"(\d+)x", row).group(1)))
        elif row.startswith("res"):
            index, w, h, c, *shape = ints(
                re.search(r"res +(\d+) +(\d+) x *(\d+) x *(\d+) +-> +(\d+) x *(\d+) x *(\d+)", row)
            )
            cfg.append(section("shortcut", **{"from": index, "activation": "leaky"}))
        elif row.startswith("route"):
            shape = None  # the next layer's input says it
            cfg.append(section("route", layers=",".join(row.split()[1:])))
        elif row == "yolo":
            shape = None
            cfg.append(section("yolo"))
        else:
            pytest.fail(line)
        if source is None:
            source = {"width": w, "height": h, "channels": c}
        expected.append((shape, operations))
    return section("net", **source) + "".join(cfg), expected


def values_of(table):
    """The last node of every section."""
    found = {}
    for cost in table:
        found[int(re.match(r"[a-z]+(\d+)", cost.name).group(1))] = cost
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_of_a_table(name):
    path = TABLES / f"{name}.txt.gz"
    if not path.is_file():
        pytest.skip("the tables are not there")
    cfg, expected = lines_of(gzip.decompress(path.read_bytes()).decode())
    table = costs(from_darknet(cfg))
    values = values_of(table)
    assert len(values) == len(expected)
    for number, (shape, operations) in enumerate(expected):
        output = values[number].output_shape
        if isinstance(shape, tuple):
            assert values[number].output.element_count == shape[-1]
        elif shape is not None:
            assert output == ((shape[2], shape[1], shape[0]) if len(shape) == 3 else (shape[0],)), number
        if operations is not None:
            own = sum(cost.macs for cost in table if cost.name.startswith(f"convolutional{number}/"))
            assert f"{2 * own / 1e9:.3f}" == f"{operations:.3f}", number


# Configurations in short: c<filters>[x<size>][/<stride>][g<groups>] with a normalisation, o without; m a pooling.


def short(text, **net):
    parts = [section("net", **net)]
    for word in text.split():
        if match := re.fullmatch(r"([co])(\d+)(?:x(\d+))?(?:/(\d+))?(?:g(\d+))?", word):
            kind, filters, size, stride, groups = match.groups()
            normalised = {"batch_normalize": 1} if kind == "c" else {}
            options = {"filters": filters, "size": size or 3, "stride": stride or 1, "groups": groups or 1, "pad": 1}
            parts.append(section("convolutional", **options, **normalised, activation="leaky"))
        elif match := re.fullmatch(r"m(\d+)/(\d+)", word):
            parts.append(section("maxpool", size=match[1], stride=match[2]))
        else:
            kind, _, options = word.partition(":")
            parts.append(section(kind, **dict(option.split("=") for option in options.split(";") if option)))
    return "".join(parts)


VOC = {"height": 416, "width": 416, "channels": 3}
RESNET18 = "c64x7/2 m2/2 " + " ".join(
    f"c{maps}/{stride if not unit else 1} c{maps} shortcut:from=-3;activation=leaky"
    for maps, stride in ((64, 1), (128, 2), (256, 2), (512, 2))
    for unit in range(2)
)
CSP = "c{0} route:layers=-1;groups=2;group_id=1 c{1} c{1} route:layers=-1,-2 c{0}x1 route:layers=-6,-1 m2/2"
TOTALS = {
    "yolov2-tiny-voc": (
        short("c16 m2/2 c32 m2/2 c64 m2/2 c128 m2/2 c256 m2/2 c512 m2/1 c1024 c1024 o125x1 region", **VOC),
        (6971041792, 16),
    ),
    "yolov2-voc": (
        short(
            "c32 m2/2 c64 m2/2 c128 c64x1 c128 m2/2 c256 c128x1 c256 m2/2 c512 c256x1 c512 c256x1 c512 m2/2 "
            "c1024 c512x1 c1024 c512x1 c1024 c1024 c1024 route:layers=-9 c64x1 reorg:stride=2 route:layers=-1,-4 "
            "c1024 o125x1 region",
            **VOC,
        ),
        (29360334848, 32),
    ),
    "yolov1": (
        short(
            "c64x7/2 m2/2 c192 m2/2 c128x1 c256 c256x1 c512 m2/2 " + "c256x1 c512 " * 4 + "c512x1 c1024 m2/2 "
            "c512x1 c1024 c512x1 c1024 c1024 c1024/2 c1024 c1024 "
            "local:size=3;stride=1;pad=1;filters=256;activation=leaky dropout connected:output=1715;activation=linear detection",
            height=448,
            width=448,
            channels=3,
        ),
        (40190248448, 32),
    ),
    "resnet18": (
        short(RESNET18 + " avgpool o1000x1 softmax", height=256, width=256, channels=3),
        (4688158720, 29),
    ),
    "yolov4-tiny": (
        short(
            "c32/2 c64/2 "
            + " ".join(CSP.format(maps, maps // 2) for maps in (64, 128, 256))
            + " c512 c256x1 c512 o255x1 yolo route:layers=-4 c128x1 upsample:stride=2 route:layers=-1,23 c256 o255x1 yolo",
            **VOC,
        ),
        (6907876352, 38),
    ),
}


@pytest.mark.parametrize("name", TOTALS)
def test_the_totals_of_whole_configurations(name):
    cfg, (operations, layers) = TOTALS[name]
    table = costs(from_darknet(cfg))
    assert len(values_of(table)) == layers
    counted = table.mac_count - sum(cost.macs for cost in table if isinstance(cost.node.layer, LocallyConnected))
    assert 2 * counted == operations


def test_darknet53_is_that_of_the_zoo():
    units = " ".join(
        f"c{2 * maps}/2 " + f"c{maps}x1 c{2 * maps} shortcut:from=-3;activation=linear " * depth
        for maps, depth in ((32, 1), (64, 2), (128, 8), (256, 8), (512, 4))
    )
    read = from_darknet(short(f"c32 {units} avgpool o1000x1 softmax", height=256, width=256, channels=3))
    ours = zoo.darknet53()
    assert costs(read).parameter_count == ours.parameter_count
    assert costs(read).mac_count == ours.mac_count
    layers = [node.layer for node in read.nodes if not isinstance(node.layer, Flatten)]
    assert layers[:-4] == [node.layer for node in ours.network.nodes][: len(layers) - 4]
