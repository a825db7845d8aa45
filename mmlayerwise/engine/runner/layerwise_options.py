"""Checks and defaults of the layer-wise loop's options."""

import copy
from collections.abc import Sequence
from typing import Any

from mmengine.model import MMDistributedDataParallel, is_model_wrapper
from torch.utils.data import DataLoader

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.layer_order import ForwardLayer


def check_options(
    num_forward_layers: int | str, max_epochs: int, scope: str, num_samples: int
) -> None:
    """Refuse options that cannot work.

    Raises:
        ForwardLearningError: With the option, its value and what it may be.
    """
    whole = isinstance(num_forward_layers, int) and not isinstance(num_forward_layers, bool)
    if num_forward_layers != 'all' and not (whole and num_forward_layers >= 0):
        raise ForwardLearningError(
            "LayerwiseTrainLoop: num_forward_layers must be a whole number from 0 or 'all', got "
            f'{num_forward_layers!r}.'
        )
    if max_epochs < 1:
        raise ForwardLearningError(
            'LayerwiseTrainLoop: max_epochs, those of backpropagation, must be at least 1, since '
            f'the predictions are trained by it; got {max_epochs!r}.'
        )
    if scope not in ('joint', 'local'):
        raise ForwardLearningError(
            f"LayerwiseTrainLoop: scope must be 'joint' or 'local', got {scope!r}."
        )
    if num_samples < 4:
        raise ForwardLearningError(
            f'LayerwiseTrainLoop: num_samples must be at least 4, got {num_samples!r}.'
        )


def check_number_of_samples(number: int, classes: Sequence[str] | None) -> None:
    """Refuse to measure whole images with fewer than two of each class.

    Raises:
        ForwardLearningError: If they are fewer.
    """
    least = 2 * len(classes or ())
    if number < least:
        raise ForwardLearningError(
            f'LayerwiseTrainLoop: num_samples={number} are too few for {len(classes)} classes: a '
            'nearest friend and a nearest enemy need two samples a class, so give at least '
            f'{least}.'
        )


def check_runner(runner: Any, loader: DataLoader) -> None:
    """Refuse model wrappers and data loaders that the loop cannot work with.

    Raises:
        ForwardLearningError: If there is such a one.
    """
    if is_model_wrapper(runner.model) and not isinstance(runner.model, MMDistributedDataParallel):
        raise ForwardLearningError(
            'LayerwiseTrainLoop works with MMDistributedDataParallel, not with '
            f'{type(runner.model).__name__}, which wraps or keeps the parameters in pieces.'
        )
    sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    if type(sampler).__name__.startswith('Infinite'):
        raise ForwardLearningError(
            f'LayerwiseTrainLoop counts epochs, but {type(sampler).__name__} never ends. Set '
            "train_dataloader.sampler=dict(type='DefaultSampler', shuffle=True)."
        )


def with_adam(wrapper: Any) -> dict[str, Any]:
    """The config's optimizer wrapper with Adam at 1e-3."""
    settings = dict(type='OptimWrapper')
    if isinstance(wrapper, dict) and 'optimizer' in wrapper:
        settings.update(copy.deepcopy(dict(wrapper)))
        for name in ('constructor', 'paramwise_cfg'):
            settings.pop(name, None)
    return dict(settings, optimizer=dict(type='Adam', lr=1e-3))


def first_layers(layers: list[ForwardLayer], number: int | str) -> list[ForwardLayer]:
    """The layers to learn.

    Raises:
        ForwardLearningError: If there are fewer; they are listed.
    """
    if number == 'all':
        return layers
    if number > len(layers):
        names = '\n'.join(f'  {place}. {layer.name}' for place, layer in enumerate(layers, 1))
        raise ForwardLearningError(
            f'num_forward_layers={number}, but the model has {len(layers)} layers that can be '
            f'learned forward:\n{names}'
        )
    return layers[:number]
