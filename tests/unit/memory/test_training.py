"""Training as PyTorch does it, by hand: every number is derived in a comment. Numbers are four bytes unless a test says so."""

import pytest
from attrs import frozen

from cnnbudget import (
    INT4,
    INT8,
    Adam,
    Add,
    Autograd,
    Block,
    Branch,
    Bytes,
    CachingAllocator,
    Concat,
    ConformanceError,
    Conv,
    CrossEntropy,
    ElementwiseLayer,
    Flatten,
    FreeAfterUse,
    Gradient,
    Inference,
    InvalidTypeError,
    InvalidValueError,
    KeepAll,
    LayerNorm,
    Linear,
    MeanSquaredError,
    MemoryProfile,
    Multiply,
    Net,
    Precision,
    ReLU,
    Role,
    Scale,
    ShapeError,
    Split,
    TensorSpec,
    Training,
    UnknownNameError,
    profile,
)
from cnnbudget.layers.merge import Maximum
from cnnbudget.layers.norm import BatchNorm, InstanceNorm
from cnnbudget.layers.pool import LPPool
from cnnbudget.memory.frames import scopes_of
from cnnbudget.memory.schedule import Phase
from cnnbudget.testing import check_policy

# Two samples: the input takes 2 * 32 numbers, the maps 2 * 64, the output 2 * 3. Parameters: 72 + 4, 192 + 3.
NET = Net.input(2, 4, 4).then(Conv(4, 3, padding=1), ReLU(), Flatten(), Linear(3))
X, MAPS, OUT = 256, 512, 24
CONV, LINEAR = 304, 780
PARAMETERS = CONV + LINEAR
TARGET, LOG, ONE = 16, OUT, 4
FIXED = PARAMETERS + TARGET


def step(**settings) -> MemoryProfile:
    return NET.profile(Training(2, **{"retention": Autograd(), "loss": "cross_entropy"} | settings))


def beyond(found: MemoryProfile, fixed: int = FIXED) -> list[tuple[str, int]]:
    return [(str(each), live - fixed) for each, live in zip(found.steps, found.live_bytes, strict=True)]


def test_a_step_in_ideal_frames() -> None:
    assert beyond(step()) == [
        ("load", X),
        ("forward of conv", X + MAPS),
        ("forward of relu", X + 2 * MAPS),  # what convolution made dies: ReLU keeps its output
        ("forward of flatten", X + MAPS),
        ("forward of linear", X + MAPS + OUT),
        ("loss", X + MAPS + OUT + LOG),
        ("loss", X + MAPS + LOG + 2 * ONE),  # the loss, and the weight that it is divided by; the output is gone
        ("loss", X + MAPS + LOG + ONE + ONE + OUT),  # backward starts from one; the gradient of the log-probabilities
        ("loss", X + MAPS + LOG + 2 * OUT),
        ("backward of linear", X + MAPS + OUT + MAPS + LINEAR),
        ("backward of flatten", X + MAPS + MAPS + LINEAR),
        ("backward of relu", X + MAPS + 2 * MAPS + LINEAR),
        ("backward of conv", X + MAPS + LINEAR + CONV),  # no gradient of the input
        ("update", LINEAR + CONV),
    ]


def test_a_step_in_a_script_s_frames() -> None:
    held = OUT + ONE + ONE  # the output, the loss, and the gradient that backward started from
    assert beyond(step(frames="eager"))[6:] == [
        ("loss", X + MAPS + OUT + LOG + 2 * ONE),
        ("loss", X + MAPS + held + LOG + ONE + OUT),
        ("loss", X + MAPS + held + LOG + 2 * OUT),
        ("backward of linear", X + MAPS + held + OUT + MAPS + LINEAR),
        ("backward of flatten", X + MAPS + held + MAPS + LINEAR),
        ("backward of relu", X + MAPS + held + 2 * MAPS + LINEAR),
        ("backward of conv", X + held + MAPS + LINEAR + CONV),
        ("update", X + OUT + ONE + LINEAR + CONV),
    ]


def test_what_is_kept() -> None:
    of_loss = TARGET + LOG + ONE
    assert step().retained == X + MAPS + of_loss  # ReLU's output is the linear layer's input, too
    assert step(loss=None).retained == X + MAPS
    assert step(loss="mse").retained == X + MAPS + 2 * OUT  # the output, and a target like it
    assert step(loss=MeanSquaredError()).retained == step(loss="bce_with_logits").retained
    assert step(retention=KeepAll(), loss=None).retained == X + 2 * MAPS + OUT
    assert step(frozen="conv").retained == MAPS + of_loss  # only the linear layer's input is needed
    assert step(frozen="linear").retained == X + MAPS + of_loss
    assert step(frozen=["conv", "linear"]).retained == 0
    assert step(frozen=lambda node: node.name != "conv").retained == X + MAPS + of_loss
    assert NET.profile(Inference()).retained == 0


def test_nothing_trains() -> None:
    found = step(frozen="*")
    assert [str(each) for each in found.steps[-3:]] == ["loss", "loss", "update"]
    assert Role.PARAMETER_GRADIENT not in {each.role for each in found.lifetimes.schedule.storages}
    assert step(frozen="*", frames="eager").live_bytes[-1] == FIXED + X + OUT + ONE


def test_gradients_that_are_there() -> None:
    found = beyond(step(zero_grad="zero"), FIXED + PARAMETERS)
    assert found[9:] == [
        ("backward of linear", X + MAPS + OUT + MAPS + LINEAR),
        ("accumulate of linear", X + MAPS + MAPS + LINEAR),  # the weight's is added, then the bias's
        ("accumulate of linear", X + MAPS + MAPS + 12),
        ("backward of flatten", X + MAPS + MAPS),
        ("backward of relu", X + MAPS + 2 * MAPS),
        ("backward of conv", X + MAPS + CONV),
        ("accumulate of conv", CONV),
        ("accumulate of conv", 16),
        ("update", 0),
    ]


def test_parts_of_a_batch() -> None:
    found = NET.profile(Training(7, devices=1, accumulate=3, retention=Autograd()))
    assert found.scenario.device_batch == 3  # of 3, 2 and 2
    whole = NET.profile(Training(3, retention=Autograd(), zero_grad="zero"))
    assert found.live_bytes == whole.live_bytes
    assert found.max_batch(found.peak) == 9


def test_mixed_precision() -> None:
    low = X // 2 + 2 * 72 + MAPS // 2 + 2 * 192  # copies of the input and the weights; maps of 16 bits
    of_loss = TARGET + LOG + ONE  # in 32 bits
    for precision in ("AMP_BF16", "amp-fp16"):
        assert step(precision=precision).retained == low + of_loss
    # The loss's copy of the output: in float16 the softmax reads it as it is and writes 32 bits.
    copied, fused = (len(step(precision=word).steps) for word in ("AMP_BF16", "AMP_FP16"))
    assert copied == fused + 1
    # A gradient of 16 bits is cast when the copy that it was made from is gone.
    eager = beyond(step(precision="AMP_BF16", frames="eager"))
    assert ("accumulate of linear", X + X // 2 + 144 + MAPS // 2 + OUT // 2 + 8 + MAPS // 2 + 390 + 768) in eager


def test_predictions_in_integers() -> None:
    found = NET.profile(Inference(2, precision=INT8))
    # A byte each; sums of products are 32 bits wide on the way.
    assert found.live_bytes[1] == found.live_bytes[0] + MAPS // 4 + MAPS


def test_a_shared_layer_has_a_gradient_for_every_use() -> None:
    layer = Linear(8, bias=False)
    net = Net.input(8).then(layer, ReLU(), share="body").then(layer, ReLU(), share="body")
    size = 4 * 8 * 8
    for in_place, sums in ((True, 2), (False, 3)):
        found = net.profile(Training(1, retention=Autograd(sums_in_place=in_place)))
        gradients = [each for each in found.lifetimes.schedule.storages if each.role is Role.PARAMETER_GRADIENT]
        assert [each.byte_count(1) for each in gradients] == [size] * sums
        assert found.steps[-2].phase is Phase.ACCUMULATE
        # Both, and where they are not added up in place their sum; the weight.
        assert found.live_bytes[-2] == (1 + sums) * size
        assert found.live_bytes[-1] == 2 * size
    mixed = net.profile(Training(1, retention=Autograd(), precision="AMP_BF16"))
    assert [str(each) for each in mixed.steps[-3:]] == ["accumulate of linear", "accumulate of linear", "update"]


def test_two_outputs_have_two_losses() -> None:
    net = Net.input(4).then(Linear(4)).tap("h").output("h").then(Linear(2))
    found = net.profile(Training(1, retention=Autograd(), loss=CrossEntropy(), frames="eager"))
    assert [str(each) for each in found.steps].count("loss") == 2 * 2 + 1 + 2 * 2
    names = [each.name for each in found.lifetimes.schedule.storages]
    assert sum(name.endswith(".target") for name in names) == 1  # equal ones are one
    assert sum(name.endswith(".loss.total") for name in names) == 1
    # Input, output of the first layer (which the second reads), log-probabilities, weights; the target.
    assert found.retained == 16 + 16 + (16 + 4) + (8 + 4) + 8


def test_which_operands_are_kept() -> None:
    two = (TensorSpec((4,)), TensorSpec((4,)))
    three = (*two, TensorSpec((4,)))

    def kept(layer, inputs, *needs) -> tuple[int, ...]:
        return layer.saved_when(inputs, TensorSpec((4,)), needs=needs, trains=False).inputs

    # d(ab) = b da + a db.
    assert kept(Multiply(), two, True, True) == (0, 1)
    assert kept(Multiply(), two, True, False) == (1,)
    assert kept(Multiply(), two, False, True) == (0,)
    # (ab)c: a and b are multiplied first.
    assert kept(Multiply(), three, False, False, True) == ()
    assert kept(Multiply(), three, True, False, False) == (1, 2)
    assert kept(Multiply(), three, False, True, False) == (0, 2)
    # A maximum compares both again.
    assert kept(Maximum(), three, False, False, True) == (2,)
    assert kept(Maximum(), three, False, True, False) == (0, 1, 2)
    # A border is cut off without looking at the input, where nobody wants the input's gradient.
    image = (TensorSpec((2, 4, 4)),)
    for mode, inputs in (("reflect", ()), ("zeros", (0,))):
        layer = Conv(4, 3, padding=1, padding_mode=mode)
        output = layer.infer(image)
        assert layer.saved_when(image, output, needs=(False,), trains=True).inputs == inputs
        assert layer.saved_when(image, output, needs=(True,), trains=True).inputs == (0,)


def test_what_is_on_the_way() -> None:
    image = (TensorSpec((4, 6, 5)),)
    made = (TensorSpec((8, 6, 5)),)

    def sizes(found) -> dict[str, int]:
        return {name: spec.element_count for name, spec in found.items()}

    # The axis is moved to the end, in a copy; then products, then products plus bias.
    wide, narrow = Linear(8, axis=0), Linear(2, axis=0, bias=False)
    assert sizes(wide.temporaries(image, *made, training=True)) == {"products": 240}
    assert sizes(wide.temporaries(image, *made, training=False)) == {"products": 240}
    assert sizes(narrow.temporaries(image, TensorSpec((2, 6, 5)), training=False)) == {"moved": 120}
    assert sizes(narrow.temporaries(image, TensorSpec((2, 6, 5)), training=True)) == {}
    assert sizes(wide.backward_temporaries(image, *made, needs=(True,))) == {"moved_grad": 240 - 120}
    assert sizes(wide.backward_temporaries(image, *made, needs=(False,))) == {"moved_grad": 240}
    assert sizes(narrow.backward_temporaries(image, TensorSpec((2, 6, 5)), needs=(True,))) == {}
    assert Linear(8).backward_temporaries((TensorSpec((4,)),), TensorSpec((8,)), needs=(True,)) == {}
    # Without running statistics a prediction needs the batch's, with them instance normalisation does not.
    norm = BatchNorm(track_running_stats=False)
    assert sizes(norm.temporaries(image, *image, training=False)) == {"mean": 4, "invstd": 4}
    assert BatchNorm().temporaries(image, *image, training=False) == {}
    tracked = InstanceNorm(track_running_stats=True)
    assert {*tracked.temporaries(image, *image, training=False)} == {"running_mean_copies", "running_var_copies"}
    assert sizes(tracked.temporaries(image, *image, training=True)) == {"running_update": 4}
    # Gradients of 12 powers at the end, or of 12 windows' sums before: 2 * 12 - 5 * 6, 3 * 6 - 12.
    line = (TensorSpec((1, 12)),)
    assert sizes(LPPool(2, 2).backward_temporaries(line, TensorSpec((1, 6)), needs=(True,))) == {"on_the_way": 6}


def test_the_parts_of_a_split_fill_one_gradient() -> None:
    halves = [Block(Split(2, number), ReLU()) for number in range(2)]
    net = Net.input(8).then(Linear(8, bias=False), Branch(*halves, merge=Concat()))
    found = net.profile(Training(1, retention=Autograd()))
    whole, half, weight = 32, 16, 256
    live = [each for step, each in zip(found.steps, found.live_bytes, strict=True) if str(step).startswith("backward")]
    # The concatenation's gradient, of which both ReLUs have a part; they keep their outputs, and the input is kept.
    assert live[0] == weight + whole + 2 * half + whole
    assert live[1] == weight + whole + 2 * half + whole + half  # the second ReLU's
    # Both parts and the whole are there when the last part joins; what ReLU kept is gone.
    assert live[-2] == weight + whole + 2 * half + whole
    assert live[-1] == weight + whole + whole + weight


def test_a_copy_s_gradient_is_cast() -> None:
    net = Net.input(8).then(Linear(8, bias=False), LayerNorm(), Linear(4, bias=False))
    found = net.profile(Training(1, retention=Autograd(), precision="AMP_BF16"))
    widths = {each.name: each.dtype.bits for each in found.lifetimes.schedule.storages}
    # The second layer reads a copy of the normalisation's 32 bits: its gradient has 16, the normalisation's 32.
    assert (widths["layer_norm.grad"], widths["layer_norm.grad.2"]) == (16, 32)
    assert [str(each) for each in found.steps].count("accumulate of linear2") == 2  # the weight's is cast, too


def test_an_update_in_several_steps() -> None:
    found = step(optimizer=Adam(implementation="loop"))
    updates = [each for each in found.steps if each.phase is Phase.UPDATE]
    assert sorted(each.node for each in updates) == ["conv", "conv", "linear", "linear"]
    # State of two numbers for every parameter, and a counter for each of the four tensors.
    state = [each for each in found.lifetimes.schedule.storages if each.role is Role.OPTIMIZER_STATE]
    assert sum(each.byte_count(2) for each in state) == 2 * PARAMETERS + 4 * 4


def test_a_layer_that_states_nonsense_of_its_gradients() -> None:
    @frozen
    class Wrong(ElementwiseLayer):
        def gradients(self, inputs, output):
            return (Gradient.OWN, Gradient.OWN)

    net = Net.input(8).then(Linear(8), Wrong())
    with pytest.raises(ConformanceError, match=r"Wrong\.gradients returned something else .*one Gradient for each"):
        net.profile(Training(retention=Autograd()))


def test_a_frozen_scale_keeps_nothing() -> None:
    net = Net.input(8).then(Linear(8, bias=False), Scale())
    # The input for the first layer, its output for the factors.
    assert net.profile(Training(1, retention=Autograd())).retained == 32 + 32
    assert net.profile(Training(1, retention=Autograd(), frozen="scale")).retained == 32


def test_peaks_below_a_byte() -> None:
    net = Net.input(3).then(ReLU())
    found = net.profile(Inference(precision=Precision("INT4", INT4)))
    # Twice 3 numbers of half a byte: 2 bytes each; 9 numbers: 5 bytes each.
    assert found.peaks([1, 3]).tolist() == [4, 10]


# Frames --------------------------------------------------------------------------------------------------------------


def test_scopes() -> None:
    assert scopes_of("conv") == ()
    assert scopes_of("a/b/conv") == ("a", "a/b")
    assert scopes_of("layer1.0/body/conv") == ("layer1", "layer1.0", "layer1.0/body")


def test_who_holds_what() -> None:
    net = Net.input(1, name="x").then(ReLU(), name="a").tap("t")
    net = net.then(ReLU(), name="b").then(ReLU()).join("t", merge=Add())
    schedule = net.profile(Inference(frames="eager")).lifetimes.schedule
    held = {each.node: [schedule.storages[number].name for number in each.holds] for each in schedule.steps}
    # x until a's call returns, a's value until b's; what is called from the top holds nothing.
    assert {node: names for node, names in held.items() if names} == {"a/relu": ["x"], "b/relu": ["a/relu"]}


def test_a_call_returns_after_its_last_node() -> None:
    net = Net.input(8).then(ReLU()).then(ReLU(), ReLU(), ReLU(), name="block")
    ideal, eager = (net.profile(Inference(frames=frames)).live_bytes for frames in ("ideal", "eager"))
    # 32 bytes each: a node's input and output; the caller's input, the block's argument, and what is on the way.
    assert ideal == (32, 64, 64, 64, 64)
    assert eager == (32, 64, 96, 128, 128)


# The witness ---------------------------------------------------------------------------------------------------------


def test_why() -> None:
    text = step(optimizer="adam").why()
    assert "is always there." in text
    # All but the parameters and what Adam keeps of them: the batch has no part in the update.
    update = Net.input(100).then(Linear(100)).profile(Training(1, retention=Autograd(), optimizer="adam"))
    assert update.peak_step.phase is Phase.UPDATE
    assert "It does not depend on the batch." in update.why()
    several = NET.profile(Training(1, retention=Autograd(), optimizer="adam"))
    assert several.peak_step.node is None
    assert "Whatever is done about" not in several.why()
    held = Net.input(100).then(ReLU()).profile(Inference(retention=FreeAfterUse(hold_input=True)))
    assert "input (400 B) lives from load to the end." in held.why()


def test_by_layer() -> None:
    found = step()
    layers = found.by_layer()
    # At ReLU's step: what it keeps, the gradients of its output and its input, the linear layer's gradients; parameters.
    assert layers["linear"] == {Role.PARAMETER: LINEAR, Role.PARAMETER_GRADIENT: LINEAR, Role.ACTIVATION: TARGET}
    assert layers["relu"] == {Role.ACTIVATION: MAPS}
    assert layers["flatten"] == {Role.ACTIVATION_GRADIENT: MAPS}  # of which ReLU's output has a view
    assert layers["conv"] == {Role.PARAMETER: CONV, Role.ACTIVATION_GRADIENT: MAPS}
    assert sum(size for roles in layers.values() for size in roles.values()) == found.peak
    assert list(layers) == sorted(layers, key=lambda name: -sum(layers[name].values()))


def test_allocators() -> None:
    found = NET.profile(Training(2, allocator=CachingAllocator(), retention=Autograd()))
    assert found.reserved == 2 * 2**20  # all of it is small: one segment
    assert found.allocated % 512 == 0
    assert found.peak < found.allocated
    assert "CachingAllocator: " in str(found)
    assert found.max_batch("2 MiB") > 2
    assert found.max_batch("1 MiB") == 0  # not even a segment
    assert NET.profile(Training(2)).allocated == NET.profile(Training(2)).peak


# Bad input -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"optimizer": "addam"}, InvalidValueError, "did you mean 'adam'"),
        ({"precision": "amp_bf61"}, UnknownNameError, "did you mean 'AMP_BF16'"),
        ({"precision": INT8}, InvalidValueError, "Training cannot use this precision"),
        ({"loss": "cross_entrpy"}, UnknownNameError, "did you mean 'cross_entropy'"),
        ({"loss": CrossEntropy}, InvalidTypeError, r"call it: CrossEntropy\(\)"),
        ({"loss": 3}, InvalidTypeError, "Training.loss must be a loss"),
        ({"frames": "lazy"}, InvalidValueError, "Training.frames"),
        ({"zero_grad": True}, InvalidTypeError, "Training.zero_grad"),
        ({"allocator": "cuda"}, InvalidTypeError, r"CachingAllocator\(\)"),
        ({"frozen": 3}, InvalidTypeError, "says which nodes do not train"),
        ({"frozen": ()}, InvalidTypeError, "says which nodes do not train"),
        ({"frozen": ["a", ""]}, InvalidTypeError, "says which nodes do not train"),
        ({"accumulate": 0}, InvalidValueError, "Training.accumulate"),
        ({"accumulate": 3}, InvalidValueError, "3 parts of 2 samples"),
        ({"batch": 2**31}, InvalidValueError, "Training.batch"),
        ({"retention": FreeAfterUse()}, InvalidValueError, "Training cannot use this policy"),
    ],
    ids=str,
)
def test_bad_settings(settings, error, text) -> None:
    with pytest.raises(error, match=text):
        Training(**{"batch": 2} | settings)


def test_frozen_that_fits_nothing() -> None:
    with pytest.raises(UnknownNameError, match=r"Training\.frozen fits no node: got 'conf'; did you mean 'conv'"):
        step(frozen="conf")
    with pytest.raises(UnknownNameError, match="'layer1"):
        step(frozen=["conv", "layer1*"])
    with pytest.raises(InvalidValueError, match=r"Training\.frozen fits no node"):
        step(frozen=lambda node: False)


def test_a_loss_needs_classes() -> None:
    with pytest.raises(ShapeError, match="CrossEntropy needs classes"):
        CrossEntropy().target(TensorSpec(()))


def test_no_batch_fits() -> None:
    found = step()
    assert found.max_batch(PARAMETERS - 1) == 0
    assert found.fixed >= PARAMETERS  # the reason
    assert found.peaks([]).tolist() == []
    with pytest.raises(InvalidValueError, match="batch"):
        found.peaks([2**31])
    assert found.max_batch(2**80) == 2**31 - 1


def test_policies_conform() -> None:
    check_policy(Autograd())
    check_policy(Autograd(sums_in_place=False))
    assert repr(Autograd()) == "Autograd()"
    assert profile(NET.network, Training(retention=Autograd())).retained == Bytes((X + MAPS) // 2)


def test_the_code_books_of_eight_bits() -> None:
    net = Net.input(100).then(Linear(64, bias=False))
    plain, coded = (net.profile(Training(1, optimizer=word)).live_bytes[0] for word in ("sgd", "adam8bit"))
    # Two bytes a number, two scales for each of 25 blocks of 256, and two books of 256 codes.
    assert coded - plain == 2 * 6400 + 2 * 25 * 4 + 2 * 256 * 4
