"""Self-adversarial training of detectors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmlayerwise.registry import HOOKS
from mmlayerwise.utils.errors import UserError


@HOOKS.register_module()
class SelfAdversarialTrainingHook(Hook):
    """Let a detector hide the objects of its training images from itself before it learns them.

    Bochkovskiy et al., "YOLOv4", 2020 (https://arxiv.org/abs/2004.10934), section 3.3: in a first
    stage the network changes the image instead of its weights, so that it sees no object there; in
    the second it is trained on the changed image with the true boxes as ever. The paper gives no
    step; here it is that of the fast gradient sign method (Goodfellow et al., 2015,
    https://arxiv.org/abs/1412.6572): every value moves by ``epsilon`` along the sign of the
    gradient, downhill in the loss of the same image without boxes, and stays in the range of
    images.

    Works for every detector of mmdet whose ``loss`` takes images and data samples and accepts
    images without objects. The first stage changes neither gradients nor buffers of the model. All
    processes attack in the same iterations.

    Args:
        prob: Probability that an iteration begins with the attack.
        epsilon: Size of the change in pixel values, 0 to 255.
        begin: First iteration that may attack; before it the network does not see objects anyway.
        seed: Of the choice of iterations.

    Raises:
        UserError: An argument is out of its range.
    """

    priority = 'LOW'

    def __init__(
        self, prob: float = 0.5, epsilon: float = 4.0, begin: int = 1000, seed: int = 0
    ) -> None:
        if not 0 <= prob <= 1:
            raise UserError(f'SelfAdversarialTrainingHook: prob must be in [0, 1], but is {prob}')
        if epsilon <= 0:
            raise UserError(
                f'SelfAdversarialTrainingHook: epsilon must be positive, but is {epsilon}'
            )
        self.prob = prob
        self.epsilon = epsilon
        self.begin = begin
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        """Put the attack before the model's loss."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'loss') or not hasattr(model, 'parse_losses'):
            raise UserError(
                f'SelfAdversarialTrainingHook needs a detector of mmdet, but the model is '
                f'{type(model).__name__}, which has no method loss'
            )
        train_as_ever = model.loss

        def loss(inputs: torch.Tensor, data_samples: Sequence[Any], **kwargs: Any) -> dict:
            if self.attacks(runner.iter):
                model.loss = train_as_ever
                try:
                    inputs = self.hide_objects(model, inputs, data_samples)
                finally:
                    model.loss = loss
            return train_as_ever(inputs, data_samples, **kwargs)

        self._model = model
        model.loss = loss

    def after_train(self, runner: Runner) -> None:
        """Give the model its own loss back."""
        del self._model.loss

    def attacks(self, iteration: int) -> bool:
        """Whether an iteration begins with the attack; the same in all processes."""
        if iteration < self.begin:
            return False
        return np.random.default_rng((self.seed, iteration)).random() < self.prob

    def hide_objects(
        self, model: nn.Module, inputs: torch.Tensor, data_samples: Sequence[Any]
    ) -> torch.Tensor:
        """Change images so that the model sees fewer objects.

        Args:
            model: The detector, in training.
            inputs: Preprocessed images of shape (N, 3, H, W).
            data_samples: Their annotations.

        Returns:
            The changed images, of the same shape and without gradient.
        """
        empty = [_without_objects(sample) for sample in data_samples]
        images = inputs.detach().clone().requires_grad_()
        with torch.enable_grad(), kept_buffers(model):
            total, _ = model.parse_losses(model.loss(images, empty))
            (gradient,) = torch.autograd.grad(total, images)
        step, low, high = self._limits(model, inputs)
        changed = images.detach() - step * gradient.sign()
        return torch.minimum(torch.maximum(changed, low), high)

    def _limits(
        self, model: nn.Module, inputs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Epsilon, the least and the greatest value of images after normalisation."""
        preprocessor = model.data_preprocessor
        if getattr(preprocessor, '_enable_normalize', False):
            mean, std = preprocessor.mean.to(inputs), preprocessor.std.to(inputs)
        else:
            mean, std = inputs.new_zeros(1), inputs.new_ones(1)
        # Padding may lie outside of the range of images.
        low = torch.minimum((0 - mean) / std, inputs.amin((0, 2, 3), keepdim=True))
        high = torch.maximum((255 - mean) / std, inputs.amax((0, 2, 3), keepdim=True))
        return self.epsilon / std, low, high


def _without_objects(sample: Any) -> Any:
    empty = sample.new()
    empty.gt_instances = sample.gt_instances[:0]
    return empty


@contextmanager
def kept_buffers(model: nn.Module) -> Iterator[None]:
    """Let buffers, such as running statistics and counters, come back as they were."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.data.copy_(value)
