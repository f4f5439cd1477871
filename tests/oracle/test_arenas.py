"""Published arenas: MiniMalloc's problems, and what TensorFlow Lite Micro allocated for real models.

The files are not ours to distribute: they are read from ``../shared/oracles`` beside the checkout and the tests skipped without.

* ``minimalloc``: github.com/google/minimalloc, "challenging" problems; each can be solved within 1,048,576 bytes.
* ``tflm``: operator tables of .tflite models, with the ``arena_head`` that the interpreter of tflite-micro reported.
"""

import csv
import gzip
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cnnbudget.planning.arena import Lifetime, pack, pack_greedily
from cnnbudget.planning.referee import complaints_about_packing

ORACLES = Path(__file__).parents[3] / "shared" / "oracles"
CAPACITY = 1_048_576
PROBLEMS = sorted((ORACLES / "minimalloc").glob("*.csv"))
MODELS = sorted((ORACLES / "tflm").glob("*.json.gz"))
nightly = pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="takes a minute")


def problem(path: Path) -> list[Lifetime]:
    with path.open(newline="") as file:
        return [(int(row["lower"]), int(row["upper"]), int(row["size"])) for row in csv.DictReader(file)]


def check(path: Path, *, fast: bool) -> tuple[int, ...]:
    lifetimes = problem(path)
    plan = pack(lifetimes, capacity=CAPACITY, fast=fast)
    assert plan.fits is True
    assert plan.height <= CAPACITY
    assert complaints_about_packing(lifetimes, plan.offsets, 1, plan.height) == []
    # MiniMalloc's paper and ours agree that greed is far from enough here.
    assert pack_greedily(lifetimes).height > 1.2 * CAPACITY
    return plan.offsets


@pytest.mark.skipif(not PROBLEMS, reason="no ../shared/oracles/minimalloc")
class TestMiniMalloc:
    @pytest.mark.skipif(find_spec("numba") is None, reason="no numba")
    @pytest.mark.parametrize("path", PROBLEMS, ids=lambda path: path.name)
    def test_compiled(self, path: Path) -> None:
        check(path, fast=True)

    @nightly
    @pytest.mark.parametrize("path", PROBLEMS, ids=lambda path: path.name)
    def test_plain_and_the_same_plan_as_compiled(self, path: Path) -> None:
        offsets = check(path, fast=False)
        if find_spec("numba") is not None:
            assert offsets == check(path, fast=True)

    def test_the_easiest_one_plain_and_down_to_the_load(self) -> None:
        """C has room to spare: its load, 1,039,360 bytes, can be reached."""
        (path,) = (path for path in PROBLEMS if path.name.startswith("C."))
        lifetimes = problem(path)
        load = max(sum(size for birth, death, size in lifetimes if birth <= now < death) for now, _, _ in lifetimes)
        plan = pack(lifetimes, fast=False)
        assert plan.height == plan.lower_bound == load
        assert complaints_about_packing(lifetimes, plan.offsets, 1, load) == []

    def test_the_hard_one_cut_off_is_not_called_infeasible(self) -> None:
        (path,) = (path for path in PROBLEMS if path.name.startswith("B."))
        assert pack(problem(path), capacity=CAPACITY, fast=False, node_limit=300).fits is None
        assert pack(problem(path), capacity=CAPACITY, fast=False, time_limit=0).fits is None
        assert pack(problem(path), capacity=CAPACITY - 1, fast=False).fits is False  # its load is the capacity


def lifetimes_of(model: dict[str, Any]) -> list[Lifetime]:
    """As the micro allocator has them: inputs from the beginning, outputs to the end, every operator a step.

    Constants, and variables that no operator writes, lie elsewhere. The int8 SVDF kernel asks for two scratch buffers of int32:
    batch x filters, and batch x units.
    """
    operators = model["ops"]
    born = dict.fromkeys(model["inputs"], 0)
    died: dict[int, int] = {}
    size: dict[int, int] = {}
    scratch: list[Lifetime] = []
    for now, operator in enumerate(operators, 1):
        for tensor, _, bytes_, constant in operator["inputs"]:
            if not constant:
                size[tensor], died[tensor] = bytes_, now + 1
        for tensor, _, bytes_ in operator["outputs"]:
            born.setdefault(tensor, now)
            size[tensor], died[tensor] = bytes_, max(died.get(tensor, 0), now + 1)
        if operator["op"] == "SVDF":
            (batch, units), filters = operator["outputs"][0][1], operator["inputs"][1][1][0]
            scratch += [(now, now + 1, 4 * batch * filters), (now, now + 1, 4 * batch * units)]
    died |= dict.fromkeys(model["outputs"], len(operators) + 1)
    return [(born[tensor], died[tensor], size[tensor]) for tensor in sorted(born)] + scratch


@pytest.mark.skipif(not MODELS, reason="no ../shared/oracles/tflm")
class TestTensorFlowLiteMicro:
    @pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name.removesuffix(".tflite.ops.json.gz"))
    def test_the_arena_to_the_byte(self, path: Path) -> None:
        with gzip.open(path) as file:
            model = json.load(file)
        with (path.parent / "tflm_arena.csv").open(newline="") as table:
            reported = {row["model"]: row for row in csv.DictReader(table)}
        if model["model"] not in reported:
            pytest.skip("no figure for this model")
        lifetimes = lifetimes_of(model)
        head = int(reported[model["model"]]["arena_head"])
        greedy = pack_greedily(lifetimes, 16)
        assert greedy.height == head
        assert complaints_about_packing(lifetimes, greedy.offsets, 16, head) == []
        exact = pack(lifetimes, 16, fast=False)
        assert exact.optimal
        assert exact.height <= head
        assert complaints_about_packing(lifetimes, exact.offsets, 16, exact.height) == []

    def test_the_fragmented_ones_reach_their_live_peak(self) -> None:
        """73,728 and 294,912 bytes are allocated; 55,296 and 221,184 are alive at most, and enough."""
        for name, live in (("mlperf_vww_96_int8", 55_296), ("mlperf_vww_96_float", 221_184)):
            with gzip.open(ORACLES / "tflm" / f"{name}.tflite.ops.json.gz") as file:
                assert pack(lifetimes_of(json.load(file)), 16, fast=False).height == live
