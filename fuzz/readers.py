"""Mutates model files and gives them to the readers: each must end in a ``FormatError`` or in a network that can be walked.

Run: ``python fuzz/readers.py [seconds] [seed]``. It needs nothing but the library. Whatever else happens is printed with the
bytes that did it, and the exit status is 1.
"""

from __future__ import annotations

import base64
import gzip
import json
import random
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from cnnbudget import Network, specs, zoo
from cnnbudget.errors import FormatError
from cnnbudget.interop import from_darknet, from_json, from_keras, from_onnx, from_toml, to_json, to_toml

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "tests" / "oracle" / "data"
DARKNET = """
[net]
height=64
width=64
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
filters=8
activation=linear
[route]
layers=-1,-2
[shortcut]
from=-2
[upsample]
[reorg]
stride=2
[local]
filters=3
size=3
pad=1
[connected]
output=4
[softmax]
[yolo]
"""
TOML = """
format = "cnnbudget"
version = 1
inputs.image = [3, 64, 64]
blocks.unit = ["Conv($maps, 3, padding='same', bias=False)", "BatchNorm()", "ReLU()"]
blocks.pair = [{ block = "unit", maps = "$maps" }, { block = "unit", maps = "2 * $maps // 2" }]
network.parts = [
    { block = "unit", maps = 16, name = "stem" },
    { residual = [{ block = "pair", maps = 16 }], name = "skip" },
    { tap = "early" },
    { branch = [["Conv(8, 1)"], ["MaxPool(3, stride=1, padding=1)"], []], merge = "Concat()" },
    { output = "aux", parts = ["GlobalAvgPool()", "Linear(2)"] },
    { join = "early" },
    { parts = ["Conv(4, 1)"], times = 3, name = "stage" },
]
"""
PIECES = [
    *(
        b"0",
        b"-1",
        b"9" * 30,
        b"1e400",
        b"null",
        b"true",
        b"[]",
        b"{}",
        b'"',
        b"\\",
        b"[",
        b"]",
        b"{",
        b"}",
        b"(",
        b")",
        b"=",
        b",",
    ),
    *(b"\xff", b"\x00", b"\n", b"$maps", b"2147483648", b"4611686018427387904", b"0.5", b"-0", b"NaN"),
]


def corpus() -> list[tuple[Callable[[bytes], Network], bytes]]:
    """Readers, each with a file that it reads."""
    exports = json.loads(gzip.decompress((DATA / "onnx_exports.json.gz").read_bytes()))
    models = json.loads(gzip.decompress((DATA / "keras_applications.json.gz").read_bytes()))["models"]
    found: list[tuple[Callable[[bytes], Network], bytes]] = [
        (from_onnx, base64.b64decode(exports["torchscript"])),
        (from_onnx, base64.b64decode(exports["export"])),
        (from_darknet, DARKNET.encode()),
        (from_toml, TOML.encode()),
        (from_toml, to_toml(zoo.lenet5()).encode()),
        (from_json, to_json(zoo.lenet5()).encode()),
        (from_json, to_json(zoo.squeezenet1_1()).encode()),
    ]
    return found + [(from_keras, json.dumps(models[name]["config"]).encode()) for name in ("MobileNetV3Small", "VGG16")]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Bytes changed, cut, inserted, doubled, or the end cut off, in one place or several."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        at, way = rng.randrange(len(found) + 1), rng.random()
        if way < 0.3 and at < len(found):
            found[at] = rng.randrange(256)
        elif way < 0.5:
            found[at : at + rng.randrange(12)] = b""
        elif way < 0.75:
            found[at : at + rng.choice([0, 0, 1, 3])] = rng.choice(PIECES)
        elif way < 0.95:
            start = rng.randrange(len(found) + 1)
            found[at:at] = found[start : start + rng.randrange(200)]
        else:
            found = found[:at]
    return bytes(found)


def main() -> int:
    """Mutates for so many seconds; returns how many kinds of failures there were, at most 1."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    warnings.simplefilter("ignore")
    rng, seeds = random.Random(seed), corpus()
    runs = read = 0
    slowest, failures = 0.0, dict[tuple[str, str], str]()
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        reader, data = rng.choice(seeds)
        suspect = mutated(data, rng)
        began = time.process_time()
        try:
            specs(reader(suspect))
            read += 1
        except FormatError:
            pass
        except Exception as error:  # noqa: BLE001  # that is what is looked for
            key = reader.__name__, f"{type(error).__name__}: {str(error)[:100]}"
            failures.setdefault(key, f"{traceback.format_exc()}\n{suspect[:2000]!r}")
        slowest = max(slowest, time.process_time() - began)
        runs += 1
    print(f"{runs:,} files (seed {seed}), of which {read:,} could be read; the slowest took {slowest:.2f} s")
    for (reader_name, message), details in failures.items():
        print(f"\n{reader_name}: {message}\n{details}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
