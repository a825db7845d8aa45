"""The activation Mish."""

from torch import nn

from mmlayerwise.registry import MODELS

# x * tanh(softplus(x)) (Misra 2019, https://arxiv.org/abs/1908.08681), which mmcv has no name for:
# act_cfg=dict(type='mmlayerwise.Mish').
MODELS.register_module(name='Mish', module=nn.Mish)
Mish = nn.Mish
