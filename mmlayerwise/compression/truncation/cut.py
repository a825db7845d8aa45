"""Cutting a whole model behind one of its layers."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.compression.dependency.skeleton import skeleton_of
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.outputs import every_output, floats_of
from mmlayerwise.compression.truncation.readers import (
    Levels,
    adapt_detector,
    adapt_heads,
    adapt_neck,
)
from mmlayerwise.compression.truncation.refit import refit
from mmlayerwise.compression.truncation.rules import RULES
from mmlayerwise.plugins import installed_plugins

_OUTPUT = re.compile(r'(.*?)(?:#\d+)?(?:\[(\d+)\])?')


def truncate(
    model: nn.Module, layer: str, skeleton: nn.Module, images: Tensor
) -> tuple[list[str], list[str]]:
    """Remove what lies behind a layer of the backbone and let the rest work on.

    Args:
        model: The network, changed in place.
        layer: Name of the last layer that stays, by the measure's names: a module of the backbone,
            or one of its outputs as ``backbone[2]``. Inside a block, the block's end counts.
        skeleton: A copy that can run.
        images: What it runs with.

    Returns:
        Names of the modules that went, and of those that read other features now and have new
        weights.

    Raises:
        CompressionError: If the layer is not in the backbone, or there is no rule for the backbone
            or what reads it.
    """
    before = {name for name, _ in model.named_modules()}
    inside = _inside_backbone(model, layer, skeleton, images)
    old = _levels(skeleton, images, ('backbone', 'neck'), every_output)
    backbone = installed_plugins().ask('truncate_backbone', backbone=model.backbone, layer=inside)
    if backbone is None:
        raise CompressionError(
            f'There is no rule for cutting {type(model.backbone).__name__}; there are rules for '
            f'{", ".join(RULES)} and what inherits from them. A plugin can give one by the hook '
            'truncate_backbone'
        )
    model.backbone = backbone
    new = _levels(skeleton_of(model), images, ('backbone',), _run_backbone)
    levels = Levels(old['backbone'], new['backbone'])
    fresh: list[str] = []
    if 'neck' in old:
        adapt_neck(model.neck, levels)
        trial = skeleton_of(model)
        fresh = refit(model, trial, lambda network: network.extract_feat(images))
        new = _levels(trial, images, ('neck',), lambda network, one: network.extract_feat(one))
        levels = Levels(old['neck'], new['neck'])
    adapt_heads(model, levels)
    adapt_detector(model, levels)
    try:
        fresh += refit(model, skeleton_of(model), lambda network: every_output(network, images))
    except CompressionError:
        raise
    except Exception as error:  # the heads' own code: anything may come
        raise _reader_fails(model, layer, error) from error
    after = {name for name, _ in model.named_modules()}
    return sorted(before - after), fresh


def _reader_fails(model: nn.Module, layer: str, error: Exception) -> CompressionError:
    heads = [name for name in ('decode_head', 'bbox_head', 'head') if hasattr(model, name)]
    readers = ', '.join(f'{name} ({type(getattr(model, name)).__name__})' for name in heads)
    text = str(error).strip().partition('\n')[0][:200]
    return CompressionError(
        f'Behind {layer!r} {readers or type(model).__name__} does not run any more '
        f'({type(error).__name__}: {text}). Cut later, or leave the cut out'
    )


def _inside_backbone(model: nn.Module, layer: str, skeleton: nn.Module, images: Tensor) -> str:
    """The name within the backbone of the module that a layer's name means."""
    name, output = _OUTPUT.fullmatch(layer).groups()
    if not hasattr(model, 'backbone'):
        raise CompressionError(
            f'{type(model).__name__} has no module `backbone`, which a cut needs; leave the cut '
            'out of the plan'
        )
    if name == 'backbone' and output is not None:
        name = f'backbone.{_maker(skeleton, images, int(output))}'
    if name not in dict(model.named_modules()) or not name.startswith('backbone.'):
        raise CompressionError(
            f'The plan cuts behind {layer!r}, which is no layer of the backbone of this '
            f'{type(model).__name__}; only layers of the backbone can be the last ones'
        )
    return name.removeprefix('backbone.')


def _maker(skeleton: nn.Module, images: Tensor, output: int) -> str:
    """Name of the largest module of the backbone that returns one of its outputs."""
    makers: dict[int, str] = {}

    def note(name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, result: Any) -> None:
            if isinstance(result, Tensor):
                makers[id(result)] = name

        return hook

    handles = [
        module.register_forward_hook(note(name))
        for name, module in skeleton.backbone.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            outputs = skeleton.backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    if not 0 <= output < len(outputs) or id(outputs[output]) not in makers:
        raise CompressionError(
            f'The plan cuts behind backbone[{output}], but the backbone returns {len(outputs)} '
            'maps and this is none that one of its layers makes; name a layer'
        )
    return makers[id(outputs[output])]


def _run_backbone(network: nn.Module, images: Tensor) -> Any:
    return network.backbone(images)


def _levels(
    network: nn.Module,
    images: Tensor,
    names: Sequence[str],
    run: Callable[[nn.Module, Tensor], Any],
) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of what some modules return."""
    found: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str) -> Callable:
        def hook(module: nn.Module, args: tuple, result: Any) -> None:
            found[name] = [tuple(tensor.shape) for tensor in floats_of(result)]

        return hook

    handles = [
        getattr(network, name).register_forward_hook(note(name))
        for name in names
        if getattr(network, name, None) is not None
    ]
    try:
        with torch.no_grad():
            run(network, images)
    finally:
        for handle in handles:
            handle.remove()
    return found
