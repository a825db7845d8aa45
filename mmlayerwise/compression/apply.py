"""Carrying out a plan: the physically smaller model."""

from collections.abc import Iterable, Mapping, Sequence

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
    planned = dict(plan.channels)
    if plan.cut is not None:
        modules = dict(model.named_modules())
        parameters = [name for name, _ in model.named_parameters()]
        report.dropped, report.fresh = truncate(model, plan.cut, skeleton, images)
        now = _names_now(modules, model.named_modules())
        report.survivors = _parameters_now(parameters, now)
        planned = _after_cut(planned, now, report)
        skeleton = skeleton_of(model)
    if plan.head is not None:
        report.fresh = [name for name in report.fresh if not name.startswith('head.')]
        report.fresh += replace_head(model, plan.head, skeleton, images)
        skeleton = skeleton_of(model)
        for name in [name for name in planned if name.startswith('head.')]:
            report.skipped[name] = 'the fully connected part is new'
            del planned[name]
    if planned:
        pruning = prune_channels(model, planned, skeleton, images)
        report.groups = pruning.decision.groups
        report.skipped.update(pruning.decision.skipped)
        report.slices, report.untraced = _of_old(pruning.slices, report.fresh), pruning.untraced
        skeleton = pruning.trial
    report.after = cost_of(skeleton, images)
    return report


def _after_cut(
    channels: dict[str, list[int]], now: Mapping[str, str], report: SurgeryReport
) -> dict[str, list[int]]:
    """The planned channels by the names of today; what went with the cut is noted as skipped."""
    gone = [name for name in channels if name not in now]
    report.skipped.update(dict.fromkeys(gone, 'it went with the cut'))
    return {now[name]: kept for name, kept in channels.items() if name in now}


def _names_now(
    before: Mapping[str, nn.Module], after: Iterable[tuple[str, nn.Module]]
) -> dict[str, str]:
    """Old name -> new name of the modules still there.

    A list that loses its first items, as the way up of a U-Net, counts the others anew.
    """
    names = {id(one): name for name, one in after}
    return {name: names[id(one)] for name, one in before.items() if id(one) in names}


def _parameters_now(before: Sequence[str], now: Mapping[str, str]) -> dict[str, str]:
    """Old name -> new name of the parameters whose modules are still there."""
    owners = [(name, *name.rpartition('.')[::2]) for name in before]
    return {
        name: f'{now[owner]}.{own}' if now[owner] else own
        for name, owner, own in owners
        if owner in now
    }


def _of_old(slices: Slices, fresh: Sequence[str]) -> Slices:
    """Without those of modules that are new, to which nothing of the original belongs."""
    new = tuple(f'{name}.' for name in fresh)
    return {name: one for name, one in slices.items() if not name.startswith(new)}
