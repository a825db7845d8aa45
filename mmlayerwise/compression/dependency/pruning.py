"""Carrying out the removal of channels, once it is known to work."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmlayerwise.compression.dependency.decision import CoupledGroup, Decision, decide
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.dependency.skeleton import is_roi_extractor
from mmlayerwise.compression.dependency.slicing import (
    Cut,
    TensorSlice,
    channels_of,
    slice_module,
    slice_parameter,
)
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.outputs import every_output

Slices = dict[str, TensorSlice]


@dataclass
class Pruning:
    """What a removal of channels did.

    Attributes:
        decision: What went, and what could not.
        slices: Parameter or buffer -> how it was sliced.
        untraced: Layers that did not run when the network was traced.
        trial: A copy of the smaller network that can run.
    """

    decision: Decision
    slices: Slices
    untraced: list[str]
    trial: nn.Module


def prune_channels(
    model: nn.Module,
    channels: Mapping[str, Sequence[int]],
    skeleton: nn.Module,
    images: Tensor,
) -> Pruning:
    """Remove output channels of layers and all that depends on them.

    Args:
        model: The network, changed in place once everything has been checked on copies.
        channels: Convolution or linear layer -> its output channels that stay.
        skeleton: A copy of the network that can run.
        images: What it is traced with.

    Returns:
        What was done.

    Raises:
        CompressionError: If a layer does not exist or has no such channels, or the model cannot be
            traced.
    """
    modules = dict(model.named_modules())
    wanted = {name: gone for name, gone in removed_channels(model, channels).items() if gone}
    graph = ChannelGraph(skeleton, images)
    decision = decide(graph, modules, {name: wanted[name] for name in wanted if name in graph})
    decision.skipped.update(
        (name, 'it did not run when the network was traced') for name in wanted if name not in graph
    )
    trial = _keep_what_works(skeleton, decision, images)
    slices = carry_out(model, decision.groups)
    _copy_widths(trial, model)
    return Pruning(decision, slices, graph.untraced, trial)


def removed_channels(
    model: nn.Module, channels: Mapping[str, Sequence[int]]
) -> dict[str, list[int]]:
    """Turn what stays into what goes.

    Args:
        model: The network.
        channels: Layer -> its output channels that stay.

    Returns:
        Layer -> its output channels that go.

    Raises:
        CompressionError: If a layer does not exist, or has no such channels, or none would stay.
    """
    modules = dict(model.named_modules())
    return {name: _removed(modules, name, kept) for name, kept in channels.items()}


def _removed(modules: Mapping[str, nn.Module], name: str, kept: Sequence[int]) -> list[int]:
    """The complement of what stays, checked."""
    module = modules.get(name)
    if module is None:
        raise CompressionError(
            f'The plan names the layer {name!r}, which the model does not have. Use the config '
            'that the plan was made with'
        )
    width = channels_of(module, 'out')
    if width is None:
        raise CompressionError(
            f'The plan names {name!r} ({type(module).__name__}), which has no output channels to '
            'remove; name convolutions and linear layers'
        )
    if not kept:
        raise CompressionError(
            f'The plan leaves nothing of {name!r}; keep at least one of its {width} channels'
        )
    wrong = [channel for channel in kept if not 0 <= channel < width]
    if wrong:
        raise CompressionError(
            f'The plan keeps channel {wrong[0]} of {name!r}, which has the channels 0 to '
            f'{width - 1}. Use the config that the plan was made with'
        )
    return sorted(set(range(width)) - set(kept))


def carry_out(model: nn.Module, groups: Sequence[CoupledGroup]) -> Slices:
    """Slice the modules of groups in place.

    Args:
        model: The network.
        groups: What goes.

    Returns:
        Parameter or buffer -> how it was sliced.
    """
    cuts: dict[str, Cut] = {}
    for group in groups:
        for name, cut in group.cuts.items():
            # One group may take inputs of a layer and another its outputs.
            other = cuts.get(name, cut)
            cuts[name] = Cut(
                cut.inputs if cut.inputs is not None else other.inputs,
                cut.outputs if cut.outputs is not None else other.outputs,
            )
    slices: Slices = {}
    modules = dict(model.named_modules())
    for name, cut in cuts.items():
        if name in modules:
            found = slice_module(modules[name], cut)
            slices.update((f'{name}.{leaf}' if name else leaf, one) for leaf, one in found.items())
        else:
            slices[name] = slice_parameter(model, name, cut)
    return slices


def _keep_what_works(skeleton: nn.Module, decision: Decision, images: Tensor) -> nn.Module:
    """Drop groups without which the network runs no more; return the network without the others."""
    shapes = _output_shapes(skeleton, images)
    trial, reason = _try(skeleton, decision.groups, images, shapes)
    if reason is None:
        return trial
    working = []
    for group in decision.groups:
        _, reason = _try(skeleton, [group], images, shapes)
        if reason is None:
            working.append(group)
        else:
            decision.skipped.update((name, reason) for name in group.asked)
    decision.groups[:] = working
    trial, reason = _try(skeleton, working, images, shapes)
    if reason is not None:
        raise CompressionError(
            f'{type(skeleton).__name__} runs without each of the groups of channels, but not '
            f'without all of them: {reason}. Leave out some layers of the plan'
        )
    return trial


def _try(
    skeleton: nn.Module, groups: Sequence[CoupledGroup], images: Tensor, shapes: list
) -> tuple[nn.Module, str | None]:
    trial = copy.deepcopy(skeleton)
    try:
        carry_out(trial, groups)
        found = _output_shapes(trial, images)
    except Exception as error:  # the model's own code: anything may come
        text = str(error).strip().partition('\n')[0][:200]
        return trial, f'the model does not run without them ({type(error).__name__}: {text})'
    if found != shapes:
        return trial, 'the shapes of the outputs of the model would change'
    return trial, None


def _output_shapes(model: nn.Module, images: Tensor) -> list[tuple[int, ...]]:
    """Run the network; extractors of regions learn how wide the maps are that they read.

    They make room for as many channels as they were told when they were built.
    """

    def adapt(module: nn.Module, inputs: tuple) -> None:
        module.out_channels = inputs[0][0].shape[1]

    handles = [
        module.register_forward_pre_hook(adapt)
        for module in model.modules()
        if is_roi_extractor(module)
    ]
    try:
        with torch.no_grad():
            return [tuple(output.shape) for output in every_output(model, images)]
    finally:
        for handle in handles:
            handle.remove()


def _copy_widths(trial: nn.Module, model: nn.Module) -> None:
    modules = dict(model.named_modules())
    for name, module in trial.named_modules():
        if is_roi_extractor(module):
            modules[name].out_channels = module.out_channels
