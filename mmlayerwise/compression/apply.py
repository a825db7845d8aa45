"""Carrying out a plan: the physically smaller model."""

from torch import nn

from mmlayerwise.compression.dependency.pruning import prune_channels
from mmlayerwise.compression.dependency.skeleton import skeleton_of
from mmlayerwise.compression.flops import cost_of
from mmlayerwise.compression.outputs import Example, example_images
from mmlayerwise.compression.plan import CompressionPlan
from mmlayerwise.compression.report import SurgeryReport


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
            model cannot be traced; the model is unchanged then, unless the plan cuts layers too.
    """
    plan.check_model(model)
    skeleton = skeleton_of(model)
    images = example_images(skeleton, example)
    before = cost_of(skeleton, images)
    report = SurgeryReport(before, before)
    if plan.channels:
        pruning = prune_channels(model, plan.channels, skeleton, images)
        report.groups, report.skipped = pruning.decision.groups, pruning.decision.skipped
        report.slices, report.untraced = pruning.slices, pruning.untraced
        skeleton = pruning.trial
    report.after = cost_of(skeleton, images)
    return report
