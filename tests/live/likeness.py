"""Which networks PyTorch can run as they are described, so that bytes have to be equal."""

from cnnbudget import Network, costs
from cnnbudget.layers import activation, conv, linear, local, merge, norm, pool, rearrange, regularize, reshape, resize

__all__ = ["is_alike"]

_CONVOLUTIONS = (conv.Conv, conv.DepthwiseConv)
_PARTS = (reshape.Slice, reshape.Split, reshape.Crop, reshape.Permute)
_MOVERS = (linear.Linear, norm.LayerNorm)
_COPIERS = (
    *_MOVERS,
    *(reshape.Flatten, reshape.Reshape, resize.Upsample),
    *(rearrange.Pad, rearrange.PixelShuffle, rearrange.PixelUnshuffle, rearrange.ChannelShuffle),
)


def _is_asked_for(layer) -> bool:
    """Whether PyTorch has the layer with its settings. A script pads, crops or unrolls for the others, in copies."""
    if type(layer).__name__ in {"TableConv", "RadialBasis"}:  # PyTorch has no such layers
        return False
    match layer:
        case local.LocallyConnected() | local.TableConv() | linear.RadialBasis() | rearrange.Unfold():
            return False
        case regularize.Dropout():
            return layer.rate != 1
        case rearrange.Pad():
            return layer.mode != "circular"
        case pool.LPPool():
            return layer.padding in (0, "valid")
        case conv.ConvTranspose():
            return not isinstance(layer.padding, str) and _is_even(layer.padding)
        case conv.Conv() | conv.DepthwiseConv() | pool.MaxPool() | pool.AvgPool():
            strides = layer.stride if isinstance(layer.stride, tuple) else (layer.stride,)
            same = isinstance(layer, _CONVOLUTIONS) and {*strides} == {1}
            if getattr(layer, "padding_mode", "zeros") == "circular":
                return False
            return same if layer.padding == "same" else _is_even(layer.padding)
    return True


def _is_even(padding) -> bool:
    pairs = padding if isinstance(padding, tuple) else ()
    return all(not isinstance(pair, tuple) or pair[0] == pair[1] for pair in pairs)


def is_alike(network: Network) -> bool:
    """Whether a training step of ours has to be PyTorch's to the byte.

    Not where PyTorch is not asked for what a layer says; where values lie in strides, which ours do not have (a part of a value
    that somebody copies, an in-place layer on a view); where ours is an upper bound (products and maxima of more than two, layers
    with an axis to move, composed layers before anything that trains).
    """
    needs = {source.name: False for source in network.inputs}
    spread: set[str] = set()  # values whose numbers do not lie one behind the other
    views: set[str] = set()
    for cost in costs(network):
        name, layer, inputs = cost.name, cost.node.layer, cost.node.inputs
        wanted = any(needs[value] for value in inputs)
        needs[name] = wanted or bool(cost.parameters)
        if not _is_asked_for(layer) or cost.node.shares is not None:
            return False
        if isinstance(layer, rearrange.PixelShuffle | rearrange.PixelUnshuffle) and len(cost.inputs[0].spatial) != 2:
            return False
        if isinstance(layer, merge.Multiply | merge.Maximum) and len(inputs) > 2:
            return False
        if isinstance(layer, norm.InstanceNorm) and layer.affine:
            return False
        if isinstance(layer, norm.LocalResponseNorm | pool.LPPool) and not needs[name]:
            return False
        if isinstance(layer, activation.PReLU) and not wanted:
            return False
        moved = isinstance(layer, _MOVERS) and len(cost.output_shape) > 1
        if spread.intersection(inputs) and isinstance(layer, _COPIERS):
            return False
        if moved or isinstance(layer, _PARTS) or spread.intersection(inputs):
            spread.add(name)
        alias = layer.alias(cost.inputs, cost.output, training=True)
        if alias is not None and alias.in_place and inputs[alias.input] in views:
            return False
        if moved or (alias is not None and (not alias.in_place or inputs[alias.input] in views)):
            views.add(name)
    return True
