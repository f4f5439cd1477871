"""Offload: what leaves, when it comes back, and how much moves."""

import pickle

import pytest

from cnnbudget import (
    AMP_FP16,
    Autograd,
    BatchNorm,
    Conv,
    Dropout,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    Net,
    Offload,
    Phase,
    Tanh,
    Training,
    UnknownNameError,
)
from cnnbudget.testing import check_policy

# Four stages of a convolution without a bias and a Tanh on 4 maps of 100 values: a value is 1,600 bytes, a weight 64 bytes.
NET = Net.input(4, 10, 10)
for _ in range(4):
    NET = NET.then(Conv(4, 1, bias=False), Tanh())
VALUE, WEIGHT = 1600, 64


def train(policy, batch=1, **options):
    return NET.profile(Training(batch, retention=policy, **options))


def steps_of(found):
    storages = found.lifetimes.schedule.storages
    return [
        f"{step}: {', '.join(storages[number].name for number in step.writes)}"
        for step in found.steps
        if step.phase is Phase.LOAD and step.node
    ]


def test_everything_leaves_and_comes_back_in_time():
    plain, found = train(Autograd()), train(Offload(prefetch=False))
    # Kept are the input, which the first convolution reads, and the output of every Tanh: 5 values.
    assert plain.retained == 5 * VALUE
    assert plain.moved_bytes == 0
    assert found.retained == 0
    assert found.moved_bytes == 2 * 5 * VALUE
    assert steps_of(found) == [
        "load of tanh4: tanh4 again",
        "load of conv4: tanh3 again",
        "load of conv3: tanh2 again",
        "load of conv2: tanh again",
        "load of conv: input again",
    ]
    # Forward needs two values at a time. A Tanh's backward step: what it made, and two gradients. That of a convolution reads what
    # the Tanh before it made. All the while the weights, and at the end their gradients.
    assert found.peak == 4 * WEIGHT + 3 * WEIGHT + 3 * VALUE
    assert plain.peak == 4 * WEIGHT + 5 * VALUE + 2 * VALUE


def test_one_step_early():
    late, early = train(Offload(prefetch=False)), train(Offload())
    assert steps_of(early) == [
        "load of tanh4: tanh4 again",
        "load of conv4: tanh3 again",  # before the backward step of tanh4
        "load of conv3: tanh2 again",
        "load of conv2: tanh again",
        "load of conv: input again",
    ]
    order = [str(step) for step in early.steps]
    assert order.index("load of conv4") < order.index("backward of tanh4")
    assert early.moved_bytes == late.moved_bytes
    assert early.peak == late.peak + VALUE


def test_what_is_named_or_large_leaves():
    # The second convolution keeps what the first Tanh made, which that Tanh keeps as well: it leaves once, and both read it again.
    named = train(Offload("conv2"))
    assert named.moved_bytes == 2 * VALUE
    assert named.retained == 4 * VALUE
    again = [number for number, each in enumerate(named.lifetimes.schedule.storages) if each.name == "tanh again"]
    readers = [str(step) for step in named.steps if set(again) & set(step.reads)]
    assert readers == ["backward of conv2", "backward of tanh"]
    assert train(Offload(["conv2", "tanh3"])).moved_bytes == 4 * VALUE
    assert train(Offload(least=VALUE)).moved_bytes == 10 * VALUE
    assert train(Offload(least=VALUE + 1)).moved_bytes == 0
    assert train(Offload(least=VALUE + 1), batch=2).moved_bytes == 20 * VALUE
    assert train(Offload(least="3 KiB"), batch=4, accumulate=4).moved_bytes == 0


def test_what_does_not_grow_with_the_batch_stays():
    net = Net.input(4, 10, 10).then(Conv(4, 1), BatchNorm(), Dropout())
    found = net.profile(Training(retention=Offload(), precision=AMP_FP16))
    back = {each.name for each in found.lifetimes.schedule.storages if each.name.endswith("again")}
    # The 16-bit copy of the image and the convolution's output in 16 bits, and the mask; neither statistics nor the weight's copy.
    assert back == {"conv.cast0 again", "conv again", "dropout.mask again"}
    kept = {found.lifetimes.schedule.storages[number].name for number in found.lifetimes.schedule.retained}
    assert "conv.weight.float16" in kept


def test_it_is_a_policy():
    for policy in (Offload(), Offload(prefetch=False), Offload(least=3000)):
        check_policy(policy)
    policy = Offload("conv*", least="1 MiB")
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert policy.least == 2**20
    assert not policy.serves_inference
    assert NET.profile(Inference()).moved_bytes == 0


def test_what_is_refused():
    with pytest.raises(UnknownNameError, match=r"Offload\.names fits no node: got 'tanhh'; did you mean 'tanh'"):
        train(Offload(["conv*", "tanhh"]))
    with pytest.raises(InvalidValueError, match="Offload does not go with order='optimal'"):
        train(Offload(), order="optimal")
    for bad in ((), ("",), (3,)):
        with pytest.raises(InvalidTypeError, match=r"Offload\.names says whose values leave"):
            Offload(bad)
    with pytest.raises(InvalidValueError, match="a size must be positive"):
        Offload(least=0)
