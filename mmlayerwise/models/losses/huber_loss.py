"""The Huber loss."""

from mmdet.models.losses import SmoothL1Loss

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class HuberLoss(SmoothL1Loss):
    """e^2 / 2 where the error is at most delta, and delta (|e| - delta / 2) beyond.

    It is delta times the smooth L1 loss; EfficientDet takes delta 0.1 and weight 50.

    Args:
        delta: Error at which the square ends.
        reduction: 'none', 'mean' or 'sum'.
        loss_weight: Factor.

    Raises:
        ValueError: If delta is not positive.
    """

    def __init__(
        self, delta: float = 1.0, reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        if delta <= 0:
            raise ValueError(f'delta must be positive, but is {delta}')
        super().__init__(beta=delta, reduction=reduction, loss_weight=loss_weight * delta)
