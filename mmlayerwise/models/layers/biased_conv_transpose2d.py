"""A transposed convolution that keeps its bias in front of a normalisation."""

from typing import Any

from torch import nn

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class BiasedConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution with a bias, whatever is asked for.

    What :class:`BiasedConv2d` is to a convolution: ``conv_cfg=dict(type=...)`` of a ``ConvModule``.

    Args:
        *args: As for :class:`torch.nn.ConvTranspose2d`.
        bias: Ignored.
        **kwargs: As for :class:`torch.nn.ConvTranspose2d`.
    """

    def __init__(self, *args: Any, bias: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, bias=True, **kwargs)
