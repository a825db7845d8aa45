"""A plan in the making."""

import copy
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.channel_groups import ChannelGroup
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.flops import measure_cost
from mmlayerwise.compression.outputs import Example
from mmlayerwise.compression.plan import CompressionPlan, Savings, Step, fingerprint
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.separation.significance import paired_difference


class Draft:
    """A plan in the making: what goes so far, why, and whether that is enough.

    Args:
        model: The model; it stays whole.
        settings: What may be done.
        example: An input for counting.

    Attributes:
        plan: As far as it is made.
        removed: Root of a group -> channels that go, the least important first.
    """

    def __init__(
        self, model: nn.Module, settings: PlannerSettings, example: Example | None = None
    ) -> None:
        self.model = model
        self.settings = settings
        self.example = example
        self.plan = CompressionPlan(fingerprint(model))
        self.removed: dict[str, list[int]] = {}
        self._widths: dict[str, int] = {}
        self._original = measure_cost(model, example)
        self._known: dict[str, Savings] = {}

    def set_groups(self, groups: Sequence[ChannelGroup]) -> None:
        """Say how many channels there are."""
        self._widths = {group.root: group.num_channels for group in groups}

    def remove(self, removed: Mapping[str, Sequence[int]]) -> None:
        """Set which channels of some groups go; other groups stay as they were."""
        for root, channels in removed.items():
            self.removed[root] = list(channels)
        self.removed = {root: channels for root, channels in self.removed.items() if channels}
        self.plan.channels = {
            root: sorted(set(range(self._widths[root])) - set(channels))
            for root, channels in self.removed.items()
        }

    def note(
        self,
        kind: str,
        module: str,
        kept: int,
        total: int,
        where: str,
        indices: tuple[Agreement, Agreement],
        note: str = '',
    ) -> None:
        """Write down a decision, in the place of an earlier one on the same module."""
        before, after = indices
        difference = paired_difference(before.per_sample, after.per_sample)
        test = self.settings.significance
        step = Step(
            kind=kind,
            module=module,
            kept=kept,
            total=total,
            index_layer=where,
            before=before.index,
            after=after.index,
            interval=after.interval(),
            gain=difference.gain,
            standard_error=difference.standard_error,
            significant=test.rises(difference) or test.drops(difference),
            note=note,
        )
        others = [one for one in self.plan.steps if (one.kind, one.module) != (kind, module)]
        self.plan.steps = [*others, step]

    def savings(self) -> Savings:
        """Cost before and after, as planned so far."""
        if self.plan.empty:
            return Savings(self._original, self._original)
        key = repr(self.plan.instructions())
        if key not in self._known:
            small = copy.deepcopy(self.model)
            report = apply_plan(small, self.plan, self.example)
            self._known[key] = Savings(self._original, report.after)
        return self._known[key]

    @property
    def met(self) -> bool:
        """Whether there is a budget and it is met."""
        budget = self.settings.budget
        return budget is not None and self.savings().kept(self.settings.budget_of) <= budget

    def fewest(self, low: int, high: int, remove: Callable[[int], None], step: int = 1) -> int:
        """The smallest number that meets the budget.

        Args:
            low: A number that may not be enough.
            high: The largest allowed; the answer if none is enough.
            remove: Removes that many channels.
            step: How exactly.
        """
        remove(high)
        if not self.met:
            return high
        while high - low > step:
            middle = (low + high) // 2
            remove(middle)
            low, high = (low, middle) if self.met else (middle, high)
        remove(high)
        return high

    def unmet(self, refused: Mapping[str, str]) -> CompressionError:
        """The error for a budget that cannot be met, with the best plan.

        Args:
            refused: Layer -> why its channels could not be considered.
        """
        settings, savings = self.settings, self.savings()
        kept = savings.kept(settings.budget_of)
        lines = [f'  cut after {self.plan.cut}'] if self.plan.cut else []
        lines += [
            f'  {name}: {len(channels)} of {self._widths[name]} channels stay'
            for name, channels in self.plan.channels.items()
        ]
        lines = lines or ['  nothing goes']
        shown = lines[:20] + ([f'  and {len(lines) - 20} more'] if len(lines) > 20 else [])
        if settings.criterion == 'si':
            why = f'the index may fall by {settings.drop_limit:g} at most'
            mend = ', or let the index fall further (drop_limit, --drop-limit)'
        else:
            why, mend = 'every layer keeps a channel', ''
        least = kept + 0.001
        advice = f'Give a budget of {least:.3f} or more{mend}' if least < 1 else 'Give no budget'
        for name, reason in list(refused.items())[:1]:
            shown.append(f'Not considered: {len(refused)} layers, such as {name}: {reason}')
        return CompressionError(
            f'The budget cannot be met: {settings.budget:.1%} of the {settings.budget_of} may '
            f'stay, the best plan keeps {kept:.1%} ({why}). It is:\n' + '\n'.join([*shown, advice])
        )
