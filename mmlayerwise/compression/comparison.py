"""The same plan with channels chosen by another criterion, to see what the criterion is worth."""

import copy
from collections.abc import Mapping

from torch import nn

from mmlayerwise.compression.channel_groups import find_groups
from mmlayerwise.compression.criteria import importance
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.outputs import Example
from mmlayerwise.compression.plan import CompressionPlan


def reselect(
    plan: CompressionPlan,
    model: nn.Module,
    criterion: str,
    order: Mapping[str, int],
    example: Example | None = None,
    seed: int = 0,
) -> CompressionPlan:
    """Keep a plan's cut and widths, and so its cost, but choose the channels anew.

    Args:
        plan: The plan.
        model: The model it was made for.
        criterion: ``'magnitude'`` or ``'random'``.
        order: Module -> when it runs.
        example: See :mod:`mmlayerwise.compression.outputs`.
        seed: For ``'random'``.

    Returns:
        A new plan without head and reasons.
    """
    groups, _ = find_groups(model, ChannelGraph(model, example), order)
    channels = {}
    for group in groups:
        if group.root in plan.channels:
            count = len(plan.channels[group.root])
            values = importance(criterion, model, group, seed=seed)
            best = values.argsort(descending=True, stable=True)[:count]
            channels[group.root] = best.sort().values.tolist()
    changed = copy.deepcopy(plan)
    changed.channels, changed.head, changed.steps = channels, None, []
    return changed
