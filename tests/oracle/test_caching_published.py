"""What people printed of PyTorch's caching allocator on their GPUs, replayed: bytes equal, without tolerance."""

from cnnbudget.memory.allocator import CachingAllocator

MIB = 2**20
FLOAT, HALF = 4, 2


def test_two_convolutions_without_gradients() -> None:
    """github.com/pytorch/pytorch/issues/34330 (2020, PyTorch 1.4).

    ``Conv2d(100, 200, 3)`` and ``Conv2d(200, 200, 3)``, an image of ``(2, 100, 256, 256)``; then ``z = layer0(x)``,
    ``z = layer(z)`` and ``z = norm(z)``, each while the variable still holds the old ``z``. Printed as cached: 75.497472,
    180.355072, 285.212672 and 285.212672 MB.
    """
    weights = [200 * 100 * 9 * FLOAT, 200 * FLOAT, 200 * 200 * 9 * FLOAT, 200 * FLOAT]
    image, value = 2 * 100 * 256**2 * FLOAT, 2 * 200 * 256**2 * FLOAT
    sizes = [*weights, image, value, value, value]
    births, deaths = [0] * 5 + [1, 2, 3], [4] * 5 + [3, 4, 4]
    found = CachingAllocator().replay(births, deaths, sizes, 4, first=range(5))
    assert found.reserved == (75_497_472, 180_355_072, 285_212_672, 285_212_672)


def test_a_batch_of_images() -> None:
    """github.com/pytorch/pytorch/issues/69526 (2021): ``Conv2d(3, 28, 3)`` and 512 images: 294 MB allocated, 296 MB reserved."""
    sizes = [28 * 3 * 9 * FLOAT, 28 * FLOAT, 512 * 3 * 224**2 * FLOAT]
    found = CachingAllocator().replay([0] * 3, [1] * 3, sizes, 1)
    assert (found.allocated_peak // MIB, found.reserved_peak) == (294, 296 * MIB)


def test_attention_scores() -> None:
    """A report on Stable Diffusion, with ``torch.cuda.memory_snapshot()`` (RTX 3090).

    Query and key of ``(16, 4096, 40)`` in half precision: 10,240 KiB allocated, 20 MiB reserved. Scores of
    ``(16, 4096, 4096)``, a copy of them in single precision, and something small: 1,558 MiB reserved, in segments of
    1,073,741,824, 536,870,912, 20,971,520 and 2,097,152 bytes.
    """
    key, scores = 16 * 4096 * 40 * HALF, 16 * 4096**2
    found = CachingAllocator().replay([0, 0, 1, 1, 1], [2, 2, 2, 2, 2], [key, key, scores * HALF, scores * FLOAT, 4], 2)
    assert (found.allocated[0], found.reserved) == (10_240 * 1024, (20 * MIB, 1558 * MIB))
    assert sorted(found.segments) == [2_097_152, 20_971_520, 536_870_912, 1_073_741_824]


def test_a_matrix_product() -> None:
    """The tests of torch_musa, a port of the allocator: a product of ``(1024, 1024)`` that nobody keeps.

    8 MiB allocated and 20 MiB reserved at most, 4 MiB and 20 MiB afterwards.
    """
    found = CachingAllocator().replay([0, 0, 1], [2, 1, 2], [4 * MIB, 4 * MIB, 0], 2)
    assert (found.allocated, found.reserved) == ((8 * MIB, 4 * MIB), (20 * MIB, 20 * MIB))
