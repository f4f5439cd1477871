"""Graphs of published networks as problems of execution order, made from the papers alone."""

from random import Random

from cnnbudget.planning.dag import Dag


class Graph:
    """Values and what they are made of."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.inputs: list[tuple[int, ...]] = []

    def add(self, size: int, *inputs: int) -> int:
        self.sizes.append(size)
        self.inputs.append(inputs)
        return len(self.sizes) - 1


# Liu, Simonyan, Yang, "DARTS" (2019): the cells of the second-order search on CIFAR-10, as (operation, which state).
NORMAL = ["s0", "s1", "s0", "s1", "s1", "k0", "k0", "d2"]
REDUCTION = ["m0", "m1", "k2", "m1", "m0", "k2", "k2", "m1"]


def darts(cells: int = 20, channels: int = 36, size: int = 32, *, in_place: bool = False) -> Dag:
    """The network of the paper's evaluation: a stem of three times the channels, two reductions, batch norms folded.

    A separable convolution is ReLU, depthwise, pointwise, and all that again; a dilated one is that once; a skip is a view. With
    ``in_place`` a cell's concatenation is no copy: its four states are written straight into it.
    """
    graph = Graph()
    before_last = last = graph.add(3 * channels * size * size, graph.add(3 * size * size))
    owners: dict[int, int] = {}
    for cell in range(cells):
        reduction = cell in {cells // 3, 2 * cells // 3}
        channels *= 1 + reduction
        states = [
            graph.add(channels * size * size, graph.add(graph.sizes[value], value)) for value in (before_last, last)
        ]
        size //= 1 + reduction
        area = channels * size * size
        for node in range(4):
            ends = []
            for kind, number in (REDUCTION if reduction else NORMAL)[2 * node : 2 * node + 2]:
                value = states[int(number)]
                for _ in range({"s": 2, "d": 1}.get(kind, 0)):
                    value = graph.add(area, graph.add(area, graph.add(graph.sizes[value], value)))
                ends.append(graph.add(area, value) if kind == "m" else value)
            states.append(graph.add(area, *ends))
        before_last, last = last, graph.add(4 * area, *states[2:])
        if in_place:
            owners |= dict.fromkeys(states[2:], last)
    scores = graph.add(10, graph.add(4 * channels, last))
    touches = [[owners.get(value, value) for value in (step, *inputs)] for step, inputs in enumerate(graph.inputs)]
    return Dag(graph.sizes, touches, graph.inputs, [scores])


def randomly_wired(seed: int, nodes: int = 32, neighbours: int = 4, probability: float = 0.75) -> Dag:
    """Xie and others, "Exploring randomly wired neural networks" (2019): three stages of Watts-Strogatz graphs.

    A node is a sum of its inputs, ReLU, depthwise and pointwise convolution; channels double and maps halve from stage to stage.
    """
    random = Random(seed)
    graph = Graph()
    area = 4 * 7840
    source = graph.add(area)
    for _ in range(3):
        area //= 2
        edges = {tuple(sorted((n, (n + k) % nodes))) for n in range(nodes) for k in range(1, neighbours // 2 + 1)}
        for edge in sorted(edges):
            if random.random() < probability:
                free = [n for n in range(nodes) if n != edge[0] and tuple(sorted((edge[0], n))) not in edges]
                edges = (edges - {edge}) | {tuple(sorted((edge[0], random.choice(free))))}
        values: dict[int, int] = {}
        for node in range(nodes):
            inputs = [values[early] for early, late in sorted(edges) if late == node] or [source]
            summed = graph.add(graph.sizes[inputs[0]], *inputs) if len(inputs) > 1 else inputs[0]
            values[node] = graph.add(area, graph.add(area, graph.add(graph.sizes[summed], summed)))
        ends = [value for node, value in values.items() if all(early != node for early, _ in edges)]
        source = graph.add(area, *ends)
    return Dag.of_values(graph.sizes, graph.inputs, [source])


def tangled(seed: int, steps: int, span: int) -> Dag:
    """Values of random sizes, each made of two of the last few: as hard as it gets."""
    random = Random(seed)
    graph = Graph()
    for step in range(steps):
        recent = range(max(0, step - span), step)
        graph.add(random.randint(1, 100), *random.sample(recent, min(2, len(recent))))
    return Dag.of_values(graph.sizes, graph.inputs, [steps - 1])
