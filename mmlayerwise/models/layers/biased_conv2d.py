"""A convolution that keeps its bias in front of a normalisation."""

from typing import Any

from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class BiasedConv2d(nn.Conv2d):
    """A convolution with a bias, whatever is asked for.

    ``ConvModule`` leaves the bias out where a normalisation follows. Networks that were written
    without it have it, and their parameter counts include it: ``conv_cfg=dict(type=...)``.

    Args:
        *args: As for :class:`torch.nn.Conv2d`.
        bias: Ignored.
        **kwargs: As for :class:`torch.nn.Conv2d`.
    """

    def __init__(self, *args: Any, bias: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, bias=True, **kwargs)
