"""Building models without memory for their weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _LinspaceOnCPU(TorchFunctionMode):
    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.linspace:
            kwargs.setdefault('device', 'cpu')
        return function(*args, **kwargs)


@contextmanager
def meta_device() -> Iterator[None]:
    """Make new tensors on the meta device, which knows shapes but holds no values.

    ``torch.linspace`` stays on the CPU: mmdet's and mmseg's EfficientNet, Swin and others read
    their drop path rates out of one while they are built.
    """
    with torch.device('meta'), _LinspaceOnCPU():
        yield
