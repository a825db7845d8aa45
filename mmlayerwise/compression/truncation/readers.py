"""What reads a backbone, after it lost levels: necks and heads."""

from collections.abc import Sequence
from math import log2
from typing import Any

from torch import nn

from mmlayerwise.compression.errors import CompressionError

# Attributes of dense heads with one entry a level.
_PER_LEVEL = (
    'strides',
    'regress_ranges',
    'scales',
    'multi_level_cls_convs',
    'multi_level_reg_convs',
    'multi_level_conv_cls',
    'multi_level_conv_reg',
    'multi_level_conv_obj',
)
# Of generators of anchors and points.
_PER_LEVEL_PRIOR = ('strides', 'base_sizes', 'base_anchors', 'ratios', 'scales')


class Levels:
    """How the outputs of a module changed when layers behind some of them went.

    Args:
        before: Shapes of the outputs before.
        after: Shapes after.

    Attributes:
        before: As given.
        after: As given.
        count: How many outputs there are.
        lost: How many outputs fewer there are.
        from_end: Whether the outputs that stayed are the last ones, as in a U-Net, whose deepest
            output comes first.
    """

    def __init__(self, before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> None:
        self.before, self.after = list(before), list(after)
        self.count = len(after)
        self.lost = len(before) - len(after)
        same_start = list(before[: self.count - 1]) == list(after[:-1])
        same_end = list(before[self.lost + 1 :]) == list(after[1:])
        self.from_end = not same_start and same_end

    def position(self, index: int) -> int | None:
        """Where an output is now; None if it is gone."""
        index = index + self.count + self.lost if index < 0 else index
        index -= self.lost if self.from_end else 0
        return index if 0 <= index < self.count else None

    @property
    def doublings(self) -> int:
        """By how many powers of two the last map is larger than the last map was."""
        return round(log2(self.after[-1][-1] / self.before[-1][-1]))


def adapt_heads(model: nn.Module, levels: Levels) -> list[str]:
    """Let the heads that choose maps of the backbone by ``in_index`` find theirs.

    Args:
        model: A classifier or segmentor without neck, or a classifier.
        levels: Of the backbone.

    Returns:
        Names of the auxiliary heads that went because their map did.
    """
    for name in ('decode_head', 'head'):
        for head in _listed(getattr(model, name, None)):
            _move(head, levels, name)
    return _drop_auxiliary_heads(model, levels)


def _move(head: nn.Module, levels: Levels, name: str) -> None:
    index = getattr(head, 'in_index', None)
    if isinstance(index, int) and (index >= 0 or levels.from_end):
        position = levels.position(index)
        head.in_index = levels.count - 1 if position is None else position
    elif isinstance(index, list | tuple) and levels.lost:
        found = [levels.position(one) for one in index]
        if hasattr(head, 'keep_levels') and not levels.from_end:
            head.keep_levels(len(found) - found.count(None))
            return
        if None in found and head.input_transform != 'resize_concat':
            raise CompressionError(
                f'{name} ({type(head).__name__}) reads the maps {list(index)} of the backbone, of '
                'which the cut takes some, and has layers for each of them. Cut later, or choose '
                'a head that reads fewer maps'
            )
        head.in_index = [one for one in found if one is not None]


def _drop_auxiliary_heads(model: nn.Module, levels: Levels) -> list[str]:
    heads = getattr(model, 'auxiliary_head', None)
    dropped, kept = [], []
    for number, head in enumerate(_listed(heads)):
        position = levels.position(head.in_index) if isinstance(head.in_index, int) else None
        if position is None:
            several = isinstance(heads, nn.ModuleList)
            dropped.append(f'auxiliary_head.{number}' if several else 'auxiliary_head')
        else:
            head.in_index = position
            kept.append(head)
    if dropped:
        del model.auxiliary_head
        if kept:
            model.auxiliary_head = type(heads)(kept)
    return dropped


def adapt_neck(neck: nn.Module, levels: Levels) -> None:
    """Take the lost levels out of a neck.

    Args:
        neck: The neck, changed in place.
        levels: Of the backbone.

    Raises:
        CompressionError: If there is no rule for this neck.
    """
    names = {kind.__name__ for kind in type(neck).__mro__}
    lost = levels.lost
    if 'CTResNetNeck' in names:
        _shorten_upsampling(neck, levels.doublings)
        return
    if not lost or 'AdaptiveAveragePooling' in names:
        return
    if 'FPN' in names and names.isdisjoint(('PAFPN', 'FPN_CARAFE')):
        _shorten_fpn(neck, lost)
    elif 'YOLOXPAFPN' in names:
        _shorten_path_aggregation(neck, lost)
    else:
        raise CompressionError(
            f'The neck {type(neck).__name__} has layers for each map of the backbone, and there is '
            'no rule for taking levels out of it; there are rules for FPN and YOLOXPAFPN. Cut '
            'inside the last stage, or take another neck'
        )


def _shorten_fpn(neck: nn.Module, lost: int) -> None:
    laterals = len(neck.lateral_convs)
    if lost >= laterals:
        raise CompressionError(
            f'The cut leaves no level of the neck ({type(neck).__name__}); cut later'
        )
    convolutions = list(neck.fpn_convs)
    neck.fpn_convs = nn.ModuleList(convolutions[: laterals - lost] + convolutions[laterals:])
    del neck.lateral_convs[laterals - lost :]
    neck.in_channels = list(neck.in_channels)[:-lost]
    neck.num_ins -= lost
    neck.num_outs -= lost
    neck.backbone_end_level -= lost


def _shorten_upsampling(neck: nn.Module, doublings: int) -> None:
    steps = len(neck.deconv_layers) // 2  # a convolution and a transposed one each
    if doublings >= steps:
        raise CompressionError(
            f'The cut leaves nothing for {type(neck).__name__} to enlarge, whose {steps} steps '
            f'each double the resolution; cut later'
        )
    neck.deconv_layers = neck.deconv_layers[2 * doublings :]


def _shorten_path_aggregation(neck: nn.Module, lost: int) -> None:
    kept = len(neck.in_channels) - lost
    # These two start with the deepest level, ...
    for name in ('reduce_layers', 'top_down_blocks'):
        setattr(neck, name, getattr(neck, name)[lost:])
    # ... these with the finest.
    for name in ('downsamples', 'bottom_up_blocks'):
        setattr(neck, name, getattr(neck, name)[: kept - 1])
    neck.out_convs = neck.out_convs[:kept]
    neck.in_channels = list(neck.in_channels)[:kept]


def adapt_detector(model: nn.Module, levels: Levels) -> None:
    """Take the lost levels out of the heads of a detector: strides, anchors, extractors.

    Args:
        model: The detector, changed in place.
        levels: Of what the heads read, the neck or the backbone.

    Raises:
        CompressionError: If a level has another resolution than before, for which there are no
            anchors.
    """
    heads = [
        head for name in ('bbox_head', 'rpn_head') for head in _listed(getattr(model, name, None))
    ]
    for head in heads:
        for old, new in zip(levels.before, levels.after, strict=False):
            if hasattr(head, 'prior_generator') and old[2:] != new[2:]:
                raise CompressionError(
                    f'Behind the cut a map of {new[2]}x{new[3]} would be read instead of '
                    f'{old[2]}x{old[3]}, but the anchors of {type(head).__name__} are made for the '
                    'strides of before; cut in the same stage'
                )
        _shorten_dense_head(head, levels)
    if not levels.lost:
        return
    regions = getattr(model, 'roi_head', None)
    for name in ('bbox_roi_extractor', 'mask_roi_extractor'):
        for extractor in _listed(getattr(regions, name, None)):
            kept = len(extractor.featmap_strides) - levels.lost
            extractor.featmap_strides = extractor.featmap_strides[:kept]
            extractor.roi_layers = extractor.roi_layers[:kept]


def _shorten_dense_head(head: nn.Module, levels: Levels) -> None:
    if not levels.lost:
        return
    total = levels.count + levels.lost
    owners = [(head, _PER_LEVEL)]
    for name in ('prior_generator', 'anchor_generator'):
        if hasattr(head, name):
            owners.append((getattr(head, name), _PER_LEVEL_PRIOR))
    for owner, attributes in owners:
        for attribute in attributes:
            value: Any = getattr(owner, attribute, None)
            several = isinstance(value, list | tuple | nn.ModuleList)
            if several and len(value) == total and not _is_property(owner, attribute):
                setattr(owner, attribute, value[: levels.count])


def _is_property(owner: Any, attribute: str) -> bool:
    return isinstance(getattr(type(owner), attribute, None), property)


def _listed(modules: nn.Module | None) -> list[nn.Module]:
    if modules is None:
        return []
    return list(modules) if isinstance(modules, nn.ModuleList) else [modules]
