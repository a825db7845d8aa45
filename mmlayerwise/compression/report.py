"""What a surgery did."""

from dataclasses import dataclass, field

from mmlayerwise.compression.dependency.decision import CoupledGroup
from mmlayerwise.compression.dependency.slicing import TensorSlice
from mmlayerwise.compression.plan import Cost, Savings


@dataclass
class SurgeryReport:
    """What a surgery did to a model.

    Attributes:
        before: Cost of the original.
        after: Cost of the smaller model.
        cut: The last layer that stayed, or None; a cut inside a block was moved to the block's end.
        dropped: Modules that went with the cut.
        fresh: Modules made anew, with initial weights: they read other features than before.
        groups: Layers that lost channels, each with all layers that are coupled to it.
        skipped: Layer of the plan that kept all its channels -> why.
        slices: Parameter or buffer -> what stayed of it. Applied to the tensors of an optimizer's
            state they give the state of the smaller model.
        survivors: Parameter before a cut -> its name after it, as lists that lose their first items
            count anew; None without a cut.
        untraced: Layers that did not run when the network was traced: what they read is unknown.
    """

    before: Cost
    after: Cost
    cut: str | None = None
    dropped: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    groups: list[CoupledGroup] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    slices: dict[str, TensorSlice] = field(default_factory=dict)
    survivors: dict[str, str] | None = None
    untraced: list[str] = field(default_factory=list)

    @property
    def savings(self) -> Savings:
        """Cost before and after."""
        return Savings(self.before, self.after)

    def summary(self) -> str:
        """Readable lines: what went, what could not and why, and what that saves."""
        lines = []
        if self.cut is not None:
            lines.append(f'cut behind {self.cut}: {len(self.dropped)} modules went')
        if self.fresh:
            lines.append(f'made anew, to be trained: {", ".join(self.fresh)}')
        for group in self.groups:
            lines.append(_group_line(group))
        lines += [f'not pruned: {name}: {reason}' for name, reason in self.skipped.items()]
        if self.untraced:
            lines.append(f'not seen by the trace: {", ".join(self.untraced)}')
        for kind in ('parameters', 'flops', 'bytes'):
            old, new = getattr(self.before, kind), getattr(self.after, kind)
            if old and new is not None:
                lines.append(f'{kind}: {old:,.0f} -> {new:,.0f} ({new / old:.1%})')
        return '\n'.join(lines)


def _group_line(group: CoupledGroup) -> str:
    kept = ', '.join(f'{name} {len(group.cuts[name].outputs)}' for name in group.asked)
    others = [name for name in group.cuts if name not in group.asked]
    line = f'kept {kept}; with them {", ".join(others) if others else "nothing"}'
    for name, channels in group.restored.items():
        line += f'; {len(channels)} channels of {name} had to stay'
    return line
