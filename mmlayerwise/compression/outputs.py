"""One pass through all of a network, whatever kind of model it is.

Surgery has to see every layer that reads a feature map: the auxiliary heads of a segmentor and the
second stage of a detector too, which mode ``'tensor'`` of the toolboxes leaves out or feeds with
proposals that depend on the weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.compression.errors import CompressionError

Example = Tensor | Sequence[int]

# Sides of a square image to try, the cheapest first.
_SIDES = (32, 64, 96, 128, 224, 300, 512)
# A region a little larger than the smallest of its level.
_REGION = 1.1


def every_output(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Run backbone, neck and all heads once.

    Args:
        model: A classifier, segmentor or detector of the toolboxes, or any module that takes
            images.
        images: Preprocessed images, float tensor of shape (N, C, H, W).

    Returns:
        Everything that the heads give, in a fixed order: tensors of floats before any decoding.
    """
    if hasattr(model, 'decode_head'):
        found = _segmentor(model, images)
    elif hasattr(model, 'roi_head') or hasattr(model, 'rpn_head'):
        found = _two_stage_detector(model, images)
    elif hasattr(model, 'backbone') and hasattr(model, 'head'):
        found = _classifier(model, images)
    elif hasattr(model, 'data_preprocessor'):
        found = model(images, mode='tensor')
    else:
        found = model(images)
    return floats_of(found)


def floats_of(values: Any) -> list[Tensor]:
    """Tensors of floats in nested tuples, lists and dicts, in order."""
    if isinstance(values, Tensor):
        return [values] if values.is_floating_point() else []
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, tuple | list):
        return [tensor for value in values for tensor in floats_of(value)]
    return []


def example_images(model: nn.Module, example: Example | None = None) -> Tensor:
    """Give images to run a network with.

    Args:
        model: The network.
        example: Such images, their height and width (or channels, height and width), or None to
            try common sizes, the smallest first. The width of a text is its length.

    Returns:
        Float tensor of shape (1, C, H, W) on the model's device; for a network that begins with
        an embedding int64 tokens of shape (1, W).

    Raises:
        CompressionError: If the model runs with none of the sizes.
    """
    first = next(model.parameters())
    if isinstance(example, Tensor):
        return example.to(first.device, first.dtype if example.is_floating_point() else None)
    if example is not None:
        return _blank(model, first, *example)
    reason: Exception | None = None
    for side in _SIDES:
        images = _blank(model, first, side, side)
        try:
            with torch.no_grad():
                every_output(model, images)
        except Exception as error:  # the model's own code: anything may come
            reason = error
        else:
            return images
    raise cannot_run(model, images, reason) from reason


def _blank(model: nn.Module, like: Tensor, *sizes: int) -> Tensor:
    """An empty image, or the tokens of an empty text."""
    *channels, height, width = sizes
    with_parameters = (part for part in model.modules() if list(part.parameters(recurse=False)))
    if isinstance(next(with_parameters, None), nn.Embedding):
        return like.new_zeros(1, width, dtype=torch.int64)
    return like.new_zeros(1, *(channels or [_input_channels(model)]), height, width)


def _input_channels(model: nn.Module) -> int:
    """Of an image: 1 where the first convolution reads one channel, else 3.

    Its own number is not what an image has where a stem rearranges pixels, as YOLOX's does.
    """
    convolutions = (part for part in model.modules() if isinstance(part, nn.Conv2d))
    first = next(convolutions, None)
    return 1 if first is not None and first.in_channels == 1 else 3


def cannot_run(model: nn.Module, images: Tensor, reason: Exception | None) -> CompressionError:
    """The error for a model that does not run on the example."""
    text = str(reason).strip().partition('\n')[0][:200]
    return CompressionError(
        f'{type(model).__name__} cannot be traced with images of shape {tuple(images.shape)} '
        f'({type(reason).__name__}: {text}). Give images that it takes: an example of the right '
        'size (input_size of mmlayerwise.CompressedModel), with the number of channels in front if '
        'that is neither 3 nor 1. If they are not what is wrong: torch-pruning follows the '
        'gradients through the model in evaluation mode, which its forward has to allow'
    )


def _classifier(model: nn.Module, images: Tensor) -> list[Any]:
    features = model.backbone(images)
    features = features if isinstance(features, tuple) else (features,)
    neck = getattr(model, 'neck', None)
    found = [model.head(features if neck is None else neck(features))]
    found += [head(features) for head in _listed(getattr(model, 'auxiliary_head', None))]
    return found


def _segmentor(model: nn.Module, images: Tensor) -> list[Any]:
    features = model.extract_feat(images)
    first, *others = _listed(model.decode_head)
    found = [_in_training(first)(features)]
    for head in others:  # a cascade
        found.append(head(features, found[-1]))
    auxiliary = _listed(getattr(model, 'auxiliary_head', None))
    return found + [_in_training(head)(features) for head in auxiliary]


def _in_training(head: nn.Module) -> Callable[..., Any]:
    """What gives all that a head learns from, where that is more than its prediction."""
    return getattr(head, 'training_outputs', head)


def _two_stage_detector(model: nn.Module, images: Tensor) -> list[Any]:
    features = model.extract_feat(images)
    found = []
    for name in ('rpn_head', 'semantic_head'):
        if getattr(model, name, None) is not None:
            found.append(getattr(model, name)(features))
    head = getattr(model, 'roi_head', None)
    for part in ('bbox', 'mask'):
        if getattr(head, f'with_{part}', False):
            found += _regions(head, part, features)
    return found


def _regions(head: nn.Module, part: str, features: Sequence[Tensor]) -> list[Any]:
    """Run the second stage on one fixed region of every level."""
    run = getattr(head, f'_{part}_forward')
    stages = _listed(getattr(head, f'{part}_head'))
    extractors = _listed(getattr(head, f'{part}_roi_extractor', None)) or _listed(
        head.bbox_roi_extractor
    )
    found = []
    for stage, _ in enumerate(stages):
        extractor = extractors[min(stage, len(extractors) - 1)]
        finest = getattr(extractor, 'finest_scale', 56)
        sides = [_REGION * finest * 2**level for level in range(len(extractor.featmap_strides))]
        regions = features[0].new_tensor([[0, 0, 0, side, side] for side in sides])
        several = isinstance(getattr(head, f'{part}_head'), nn.ModuleList)
        results = run(stage, features, regions) if several else run(features, regions)
        # The pooled features are in it too, but they are no output.
        found.append({key: value for key, value in results.items() if not key.endswith('_feats')})
    return found


def _listed(modules: nn.Module | None) -> list[nn.Module]:
    if modules is None:
        return []
    return list(modules) if isinstance(modules, nn.ModuleList) else [modules]
