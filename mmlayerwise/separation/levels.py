"""Which level of a feature pyramid a detector assigns a box to.

The rules read a model's own modules by the attributes that mmdet gives them, and need no toolbox.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.plugins import installed_plugins

# Box area at which FPN moves one level up from its finest one (Lin et al., arXiv 1612.03144).
_FINEST_SCALE = 56


@dataclass(frozen=True)
class PyramidLevels:
    """The levels of a detector's feature pyramid and its rule of assigning boxes to them.

    Attributes:
        strides: Input pixels a cell covers, (vertical, horizontal), of every level.
        rule: Takes float boxes of shape (num_boxes, 4) in input pixels and the (height, width) of
            their image, returns the int64 level of each.
    """

    strides: tuple[tuple[float, float], ...]
    rule: Callable[[Tensor, tuple[int, int] | None], Tensor]

    def assign(self, boxes: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Level of every box, int64 of shape (num_boxes,)."""
        if not len(boxes):
            return torch.zeros(0, dtype=torch.int64)
        return self.rule(boxes, size).long()

    def level_of(self, stride: tuple[float, float]) -> int | None:
        """The level whose stride a map has; None if it is none's within a factor of sqrt(2)."""
        gaps = [
            max(abs(log2(own / other)) for own, other in zip(stride, level, strict=True))
            for level in self.strides
        ]
        nearest = min(range(len(gaps)), key=gaps.__getitem__)
        return nearest if gaps[nearest] < 0.5 else None


def pyramid_levels(model: nn.Module) -> PyramidLevels | None:
    """Find a detector's levels and its rule; None for a model without several levels.

    A plugin that knows the model goes first (the hook ``pyramid_levels``), then these rules in
    their order:

    1. *Region extractor* (two-stage detectors): ``map_roi_levels`` of ``SingleRoIExtractor``, the
       model's own function.
    2. *Ranges* (FCOS): the level whose ``regress_ranges`` holds the distance from the box's centre
       to its farthest side.
    3. *Anchors* (RetinaNet, RPN, SSD, YOLO): the level of the anchor with the highest IoU, the
       first among equals. It is the one that IoU assigners always give to the box.
    4. *Points* (YOLOX, RTMDet and other heads whose assignment depends on predictions): the rule of
       FPN, floor(log2(sqrt(area) / 56)) levels above the finest of stride 4.
    """
    found = installed_plugins().ask('pyramid_levels', model=model)
    if found is not None:
        return found
    answers = (rule(model) for rule in (region_levels, range_levels, anchor_levels, point_levels))
    return next((one for one in answers if one is not None and len(one.strides) > 1), None)


def region_levels(model: nn.Module) -> PyramidLevels | None:
    """Levels of the region extractor of a two-stage detector."""
    for head in _heads(model):
        extractor = getattr(head, 'bbox_roi_extractor', None)
        if isinstance(extractor, nn.ModuleList):  # the stages of a cascade map alike
            extractor = extractor[0]
        if hasattr(extractor, 'map_roi_levels'):
            strides = _pairs(extractor.featmap_strides)
            return PyramidLevels(strides, _RegionRule(extractor, len(strides)))
    return None


class _RegionRule:
    def __init__(self, extractor: Any, num_levels: int) -> None:
        self.extractor = extractor
        self.num_levels = num_levels

    def __call__(self, boxes: Tensor, size: tuple[int, int] | None) -> Tensor:
        regions = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
        return self.extractor.map_roi_levels(regions, self.num_levels).cpu()


def range_levels(model: nn.Module) -> PyramidLevels | None:
    """Levels of a head that assigns by ranges of the regressed distance."""
    for head in _heads(model):
        ranges, strides = getattr(head, 'regress_ranges', None), _strides(head)
        if ranges is not None and len(ranges) == len(strides):
            upper = torch.tensor([float(high) for _, high in ranges[:-1]])
            return PyramidLevels(strides, _RangeRule(upper))
    return None


class _RangeRule:
    def __init__(self, upper: Tensor) -> None:
        self.upper = upper

    def __call__(self, boxes: Tensor, size: tuple[int, int] | None) -> Tensor:
        distance = (boxes[:, 2:] - boxes[:, :2]).amax(1) / 2
        return torch.searchsorted(self.upper, distance.cpu())


def anchor_levels(model: nn.Module) -> PyramidLevels | None:
    """Levels of a head with anchors."""
    for head in _heads(model):
        generator = getattr(head, 'prior_generator', None)
        if hasattr(generator, 'base_anchors') and len(generator.base_anchors):
            return PyramidLevels(_strides(head), _AnchorRule(generator, _strides(head)))
    return None


class _AnchorRule:
    def __init__(self, generator: Any, strides: tuple[tuple[float, float], ...]) -> None:
        self.generator = generator
        self.strides = strides

    def __call__(self, boxes: Tensor, size: tuple[int, int] | None) -> Tensor:
        if size is None:
            size = tuple(ceil(float(boxes[:, side].max())) for side in (3, 2))
        maps = [
            tuple(ceil(side / step) for side, step in zip(size, stride, strict=True))
            for stride in self.strides
        ]
        anchors = self.generator.grid_priors(maps, device='cpu')
        best = torch.stack([_best_iou(boxes, one.float()) for one in anchors])
        return best.argmax(0)


def point_levels(model: nn.Module) -> PyramidLevels | None:
    """Levels of a head with points, by the rule of FPN."""
    for head in _heads(model):
        if len(_strides(head)) > 1:
            return PyramidLevels(_strides(head), _ScaleRule(_strides(head)))
    return None


class _ScaleRule:
    def __init__(self, strides: tuple[tuple[float, float], ...]) -> None:
        self.octaves = torch.tensor([log2(max(stride)) for stride in strides])

    def __call__(self, boxes: Tensor, size: tuple[int, int] | None) -> Tensor:
        scale = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt()
        octave = 2 + (scale / _FINEST_SCALE + 1e-6).log2().floor()
        return (octave[:, None] - self.octaves).abs().argmin(1)


def _heads(model: nn.Module) -> Iterator[nn.Module]:
    """The heads of a detector; the head of the regions goes before the one that proposes them."""
    heads = [(name, child) for name, child in model.named_children() if 'head' in name]
    for _, head in sorted(heads, key=lambda pair: pair[0].startswith('rpn')):
        yield head


def _strides(head: nn.Module) -> tuple[tuple[float, float], ...]:
    strides = getattr(getattr(head, 'prior_generator', None), 'strides', None)
    if strides is None:
        strides = getattr(head, 'strides', ())
    return _pairs(strides)


def _pairs(strides: Any) -> tuple[tuple[float, float], ...]:
    """(vertical, horizontal) from mmdet's numbers or (horizontal, vertical) pairs."""
    if not isinstance(strides, list | tuple):
        return ()
    pairs = [stride if isinstance(stride, list | tuple) else (stride, stride) for stride in strides]
    return tuple((float(vertical), float(horizontal)) for horizontal, vertical in pairs)


def _best_iou(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Highest IoU of every box with any of the anchors."""
    corner = torch.maximum(boxes[:, None, :2], anchors[:, :2])
    opposite = torch.minimum(boxes[:, None, 2:], anchors[:, 2:])
    shared = (opposite - corner).clamp(min=0).prod(2)
    own, other = ((one[:, 2:] - one[:, :2]).prod(1) for one in (boxes, anchors))
    return (shared / (own[:, None] + other - shared)).amax(1)
