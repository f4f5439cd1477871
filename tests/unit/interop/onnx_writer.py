"""Writes ONNX files, for the tests: the wire format by hand, from its specification."""

import struct


def varint(value):
    value &= 2**64 - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def field(number, value):
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, dims, numbers=None, kind=1, raw=True):
    parts = [field(1, size) for size in dims] + [field(2, kind), field(8, name)]
    if numbers is not None and raw:
        parts.append(field(9, struct.pack(f"<{len(numbers)}{ {1: 'f', 6: 'i', 7: 'q'}[kind] }", *numbers)))
    elif numbers is not None and kind == 1:
        parts.append(field(4, struct.pack(f"<{len(numbers)}f", *numbers)))
    elif numbers is not None:
        parts.append(field({6: 5, 7: 7}[kind], b"".join(map(varint, numbers))))
    return b"".join(parts)


def ints(name, *numbers, raw=True):
    return tensor(name, (len(numbers),), numbers, 7, raw)


def attribute(name, value):
    if isinstance(value, bytes):
        return field(1, name) + field(5, value)
    if isinstance(value, list) and value and isinstance(value[0], float):
        return field(1, name) + b"".join(field(7, each) for each in value)
    if isinstance(value, list):
        return field(1, name) + field(8, b"".join(map(varint, value)))
    return field(1, name) + field({float: 2, int: 3, str: 4}[type(value)], value)


def node(kind, inputs, outputs, name="", domain="", **attributes):
    parts = [
        *[field(1, each) for each in inputs],
        *[field(2, each) for each in outputs],
        field(3, name),
        field(4, kind),
    ]
    parts += [field(5, attribute(key, value)) for key, value in attributes.items()]
    return b"".join([*parts, field(7, domain)])


def value_info(name, sizes):
    dims = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in sizes)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))


def model(nodes, tensors=(), inputs=(("x", ("N", 4, 8, 12)),), outputs=("y",), opset=20):
    graph = [*[field(1, each) for each in nodes], *[field(5, each) for each in tensors]]
    graph += [field(11, value_info(*each)) for each in inputs] + [field(12, value_info(each, ())) for each in outputs]
    parts = [
        field(1, 8),
        field(2, "hand"),
        field(8, field(1, "other") + field(2, 1)),
        field(8, field(1, "") + field(2, opset)),
    ]
    return b"".join([*parts, field(7, b"".join(graph))])
