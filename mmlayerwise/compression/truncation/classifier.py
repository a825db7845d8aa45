"""A new fully connected part."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.compression.errors import CompressionError


def replace_head(
    model: nn.Module, head: Mapping[str, Any], skeleton: nn.Module, images: Tensor
) -> list[str]:
    """Give a classifier a new fully connected part for the units it has.

    Args:
        model: A classifier of this project, changed in place.
        head: ``hidden``, widths of hidden layers; ``dropout``; ``pool``, side of the grid (of a
            text the number of parts) that the maps are averaged to, None to flatten them as they
            are.
        skeleton: A copy that can run.
        images: What it runs with.

    Returns:
        Names of the modules that are new.

    Raises:
        CompressionError: If the model is no such classifier.
    """
    from mmlayerwise.models.heads import LinearClsHead, StackedLinearClsHead
    from mmlayerwise.models.heads.cls_head import ClsHead
    from mmlayerwise.models.necks import AdaptiveAveragePooling

    old = getattr(model, 'head', None)
    if not isinstance(old, ClsHead):
        raise CompressionError(
            f'{type(model).__name__} has no classification head of mmlayerwise, so the plan '
            'cannot replace it; leave `head` out of the plan'
        )
    with torch.no_grad():
        features = skeleton.backbone(images)
    last = features[-1] if isinstance(features, tuple) else features
    pool = head.get('pool')
    if hasattr(model, 'neck'):
        del model.neck
    cells = None
    if pool is not None:
        model.neck = AdaptiveAveragePooling(pool)
        cells = pool ** (last.ndim - 2)
    arguments = dict(
        num_classes=old.num_classes,
        in_channels=last[0].numel() if cells is None else last.shape[1] * cells,
        dropout_rate=head.get('dropout', 0.0),
        loss_weight=old.loss_weight,
    )
    hidden = list(head['hidden'])
    if hidden:
        new = StackedLinearClsHead(mid_channels=hidden, **arguments)
    else:
        new = LinearClsHead(**arguments)
    new.loss_module = old.loss_module
    reference = next(model.backbone.parameters())
    model.head = new.to(reference.device, reference.dtype).train(old.training)
    return ['head']
