"""Carrying out a plan: the physically smaller model."""

from collections.abc import Sequence

from torch import nn

from mmlayerwise.compression.dependency.pruning import (
    Slices,
    prune_channels,
    removed_channels,
)
from mmlayerwise.compression.dependency.skeleton import skeleton_of
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.flops import cost_of
from mmlayerwise.compression.outputs import Example, cannot_run, example_images
from mmlayerwise.compression.plan import CompressionPlan
from mmlayerwise.compression.report import SurgeryReport
from mmlayerwise.compression.truncation import truncate
from mmlayerwise.compression.truncation.classifier import replace_head


def apply_plan(
    model: nn.Module, plan: CompressionPlan, example: Example | None = None
) -> SurgeryReport:
    """Make a model smaller, in place.

    The result depends on the structure of the model and the plan alone: a model built anew from its
    config takes the state dict of a compressed one after the same plan. The weights that stay are
    kept, as is what is frozen.

    Args:
        model: Classifier, segmentor or detector: with any weights, or on the ``meta`` device.
        plan: What goes.
        example: Preprocessed images of shape (N, C, H, W), or their height and width; by default
            the smallest common size that the model takes.

    Returns:
        What was done, what could not be done and why, and the costs.

    Raises:
        CompressionError: If the plan belongs to another model, names what does not exist, or the
            model cannot be traced; the model is unchanged then, unless a cut is
            what fails.
    """
    plan.check_model(model)
    removed_channels(model, plan.channels)  # before anything changes
    if plan.head is not None and plan.head.get('pool') is None and example is None:
        raise CompressionError(
            'The plan flattens whole feature maps, so their size matters: give images of the right '
            'size, or their height and width (input_size of mmlayerwise.CompressedModel)'
        )
    skeleton = skeleton_of(model)
    images = example_images(skeleton, example)
    try:
        before = cost_of(skeleton, images)
    except Exception as error:  # the model's own code: anything may come
        raise cannot_run(model, images, error) from error
    report = SurgeryReport(before, before, plan.cut)
    if plan.cut is not None:
        report.dropped, report.fresh = truncate(model, plan.cut, skeleton, images)
        skeleton = skeleton_of(model)
    if plan.head is not None:
        report.fresh = [name for name in report.fresh if not name.startswith('head.')]
        report.fresh += replace_head(model, plan.head, skeleton, images)
        skeleton = skeleton_of(model)
    for name in plan.channels:
        if name in report.dropped:
            report.skipped[name] = 'it went with the cut'
        elif plan.head is not None and name.startswith('head.'):
            report.skipped[name] = 'the fully connected part is new'
    channels = {name: kept for name, kept in plan.channels.items() if name not in report.skipped}
    if channels:
        pruning = prune_channels(model, channels, skeleton, images)
        report.groups = pruning.decision.groups
        report.skipped.update(pruning.decision.skipped)
        report.slices, report.untraced = _of_old(pruning.slices, report.fresh), pruning.untraced
        skeleton = pruning.trial
    report.after = cost_of(skeleton, images)
    return report


def _of_old(slices: Slices, fresh: Sequence[str]) -> Slices:
    """Without those of modules that are new, to which nothing of the original belongs."""
    new = tuple(f'{name}.' for name in fresh)
    return {name: one for name, one in slices.items() if not name.startswith(new)}
