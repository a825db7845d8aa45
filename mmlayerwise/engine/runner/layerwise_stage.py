"""What changes when a layer, or backpropagation, begins or ends."""

from collections.abc import Collection
from typing import Any

from mmengine.hooks import EMAHook
from mmengine.logging import MessageHub
from torch import nn

# What the log goes on averaging when another stage begins.
_LASTING = ('train/time', 'train/data_time')


def train_only(
    model: nn.Module, names: Collection[str], trainable: Collection[nn.Parameter]
) -> None:
    """Let some parameters be trained, and no others.

    Args:
        model: The model.
        names: Names of the parameters.
        trainable: Those that the model itself does not freeze.
    """
    allowed = {id(one) for one in trainable}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names and id(parameter) in allowed)


def restart_averages(runner: Any, model: nn.Module) -> None:
    """Let exponential averages of the weights go on from the present weights."""
    for hook in runner.hooks:
        if isinstance(hook, EMAHook):
            hook.ema_model.module.load_state_dict(model.state_dict())


def forget_scalars(message_hub: MessageHub) -> None:
    """Let the log average no values of the stage before, nor repeat them."""
    scalars = message_hub.log_scalars
    for name in [name for name in scalars if name.startswith('train/')]:
        if name not in _LASTING:
            del scalars[name]
