"""Predicted against measured bytes of training steps: on a CUDA device where there is one, under a tracker on the CPU elsewhere.

Run: ``python benchmarks/truth.py [--out table.csv] [--networks resnet18 ...] [--batches 8 32 ...] [--size 224]``. Needs ``torch``.

Every row is one steady step (the third) of a network of the zoo: batch, precision (fp32, or bfloat16 by autocast), optimizer.

On CUDA ``measured`` is ``torch.cuda.max_memory_allocated`` and ``reserved`` is ``max_memory_reserved``, with cuDNN's workspaces
and whatever else lives in PyTorch's pool, from an empty cache on; the context is not in it. On a CPU ``measured`` is what a
dispatch mode saw alive after an operation at most, and ``reserved`` is empty. ``predicted`` is the peak of the profile,
``predicted_allocated`` and ``predicted_reserved`` what PyTorch's allocator makes of it (``CachingAllocator()``),
``workspace_bound`` the upper model of a convolution's workspace, which no peak includes. Versions and the device are in every row.
"""

from __future__ import annotations

import argparse
import csv
import platform
import sys
import warnings
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from cnnbudget import SGD, Adam, AdamW, Autograd, CachingAllocator, MemoryProfile, Training, profile, zoo
from cnnbudget.interop import to_torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cnnbudget import Network

OPTIMIZERS = {
    "sgd": SGD(),
    "sgd momentum": SGD(momentum=0.9),
    "adam": Adam(),
    "adamw fused": AdamW(implementation="fused"),
}
PRECISIONS = ("FP32", "AMP_BF16")
COLUMNS = (
    *("network", "input", "batch", "precision", "optimizer", "device", "measured", "predicted", "ratio"),
    *(
        "predicted_allocated",
        "reserved",
        "predicted_reserved",
        "workspace_bound",
        "peak_step",
        "torch",
        "cudnn",
        "python",
    ),
)


def optimizer_of(word: str, parameters: Any) -> torch.optim.Optimizer:
    """PyTorch's optimizer with the settings of ours."""
    ours = OPTIMIZERS[word]
    kind = getattr(torch.optim, type(ours).__name__)
    settings = {"momentum": ours.momentum} if isinstance(ours, SGD) else {}
    return kind(parameters, lr=1e-3, **settings, **{ours.implementation: True})


def predict(network: Network, batch: int, precision: str, optimizer: str, *, joins: bool) -> MemoryProfile:
    """The profile of the step that :func:`measure` runs."""
    retention = Autograd(sums_in_place=joins)
    scenario = Training(
        batch,
        precision=precision,
        retention=retention,
        optimizer=OPTIMIZERS[optimizer],
        loss="cross_entropy",
        frames="eager",
        allocator=CachingAllocator(),
    )
    return profile(network, scenario)


def measure(network: Network, batch: int, precision: str, optimizer: str, device: str) -> tuple[int, int | None]:
    """Bytes allocated and reserved at most in the third of three steps."""
    torch.manual_seed(0)
    with torch.device(device):
        module = to_torch(network).train()
        inputs = torch.zeros(batch, *network.inputs[0].shape)
        target = torch.zeros(batch, dtype=torch.int64)
    stepper = optimizer_of(optimizer, module.parameters())
    autocast = torch.autocast(device, torch.bfloat16, enabled=precision == "AMP_BF16")

    def step() -> None:
        with autocast:
            out = module(inputs)
            loss = functional.cross_entropy(out, target)
        loss.backward()
        stepper.step()
        stepper.zero_grad()

    step()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "live"))
    from trackers import LiveBytes

    states = [value for state in stepper.state.values() for value in state.values() if isinstance(value, torch.Tensor)]
    fixed = [*module.parameters(), *module.buffers(), inputs, target, *states]
    with LiveBytes(fixed) as watch:
        step()
    return watch.peak + sum({each.data_ptr(): each.nbytes for each in fixed}.values()), None


def rows(names: Sequence[str], batches: Sequence[int], size: int) -> Iterator[dict[str, Any]]:
    """Measures and predicts, one row at a time."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for name in names:
        network = getattr(zoo, name)(input_shape=(3, size, size)).network
        for precision in PRECISIONS:
            for optimizer in OPTIMIZERS:
                for batch in batches:
                    found = predict(network, batch, precision, optimizer, joins=device == "cuda")
                    allocated, reserved = measure(network, batch, precision, optimizer, device)
                    yield {
                        "network": name,
                        "input": f"3x{size}x{size}",
                        "batch": batch,
                        "precision": precision,
                        "optimizer": optimizer,
                        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
                        "measured": allocated,
                        "predicted": int(found.peak),
                        "ratio": f"{found.peak / allocated:.6f}",
                        "predicted_allocated": int(found.allocated),
                        "reserved": reserved,
                        "predicted_reserved": int(found.reserved),
                        "workspace_bound": int(found.workspace_bound),
                        "peak_step": str(found.peak_step),
                        "torch": version("torch"),
                        "cudnn": torch.backends.cudnn.version(),
                        "python": platform.python_version(),
                    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a CSV file; the screen unless told")
    parser.add_argument("--networks", nargs="+", default=["resnet18", "resnet50", "vgg11_bn", "mobilenet_v2"])
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 16, 32, 64])
    parser.add_argument("--size", type=int, default=224)
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with given.out.open("w", newline="") if given.out else nullcontext(sys.stdout) as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in rows(given.networks, given.batches, given.size):
            writer.writerow(row)
            file.flush()


if __name__ == "__main__":
    main()
