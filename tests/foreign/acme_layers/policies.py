"""Retention policies of the acme package: one states what backward keeps, one schedules itself."""

from attrs import field, frozen

from cnnbudget import Backprop, CostTable, ForwardPass, NodeCost, Phase, Retention, Saved, Scenario, Schedule


@frozen(repr=False)
class KeepSaved(Backprop):
    """Training that keeps of every node what its layer says that backward needs, and of untrained nodes nothing."""

    def keeps(self, cost: NodeCost, *, needs: tuple[bool, ...], trains: bool) -> Saved | None:
        return cost.node.layer.saved(cost.inputs, cost.output) if trains or any(needs) else None


@frozen(repr=False)
class ForwardTwice(Retention):
    """Inference that runs everything once more at the end, to compare: it must hold the inputs, and has twice the steps."""

    hold_all: bool = field(default=False, kw_only=True)

    @property
    def serves_inference(self) -> bool:
        return True

    @property
    def serves_training(self) -> bool:
        return False

    def schedule(self, table: CostTable, scenario: Scenario) -> Schedule:
        forward = ForwardPass(table, scenario)
        for cost in table.nodes:
            reads = [forward.values[name] for name in cost.node.inputs]
            forward.builder.step(Phase.RECOMPUTE, cost.name, reads, [forward.values[cost.name]])
        held = forward.values if self.hold_all else table.network.outputs
        forward.builder.hold(forward.values[name] for name in held)
        return forward.builder.build()
