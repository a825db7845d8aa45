"""Weights of well-known PyTorch implementations of a detector, under our names and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmlayerwise.utils.errors import UserError

# How many keys a message lists.
_NUM_LISTED = 5


class PortedNames:
    """How an implementation names and stores the tensors of one of our models.

    Attributes:
        source: What the implementation is called, for messages.
    """

    source: str

    def their_name(self, key: str) -> str:
        """Their key of one of ours.

        Args:
            key: A key of our model's state dict.

        Raises:
            KeyError: Their model has no such tensor.
        """
        raise NotImplementedError

    def to_ours(self, key: str, tensor: Tensor, shape: torch.Size) -> Tensor:
        """Their tensor in our layout.

        Args:
            key: Our key.
            tensor: Their tensor.
            shape: Shape of ours.
        """
        return tensor

    def to_theirs(self, key: str, tensor: Tensor) -> Tensor:
        """Our tensor in their layout."""
        return tensor

    def is_superfluous(self, their_key: str) -> bool:
        """Whether their file may have a tensor that the network does not use."""
        return False


def import_weights(model: nn.Module, checkpoint: Mapping[str, Any], names: PortedNames) -> None:
    """Fill a model with the tensors of another implementation.

    Args:
        model: Our model.
        checkpoint: Their state dict, or a dict with it under ``state_dict``; a ``module.`` before
            all keys is dropped.
        names: How they name the model's tensors.

    Raises:
        UserError: A tensor is missing, fits nowhere or has another shape; the model stays as it is.
    """
    theirs = _state_dict(checkpoint)
    ours = model.state_dict()
    their_names = _their_names(ours, names)
    missing = [
        name
        for key, name in their_names.items()
        if name not in theirs and not key.endswith('num_batches_tracked')
    ]
    if missing:
        raise UserError(
            f'the file lacks {len(missing)} tensors that {names.source} has of this model: '
            f'{_list(missing)}; take the config that the file was trained with'
        )
    unknown = sorted(
        key for key in theirs.keys() - set(their_names.values()) if not names.is_superfluous(key)
    )
    if unknown:
        raise UserError(
            f'{len(unknown)} tensors of the file fit nowhere in the model: {_list(unknown)}; take '
            f'the config that the file was trained with, and a file of {names.source}'
        )
    converted = {}
    for key, name in their_names.items():
        if name not in theirs:
            continue
        tensor = names.to_ours(key, theirs[name], ours[key].shape)
        if tensor.shape != ours[key].shape:
            raise UserError(
                f'{name} has the shape {tuple(theirs[name].shape)}, which does not fit '
                f'{tuple(ours[key].shape)} of {key} in the model; take the config that the file '
                'was trained with, with its num_classes'
            )
        converted[key] = tensor
    model.load_state_dict(converted, strict=False)


def export_weights(model: nn.Module, names: PortedNames) -> dict[str, Tensor]:
    """Give a model's tensors under the names of another implementation.

    Args:
        model: Our model.
        names: How they name the model's tensors.

    Returns:
        Their state dict.
    """
    ours = model.state_dict()
    return {
        name: names.to_theirs(key, ours[key]) for key, name in _their_names(ours, names).items()
    }


def _state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    state = checkpoint.get('state_dict', checkpoint)
    state = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if not state:
        raise UserError('the file has no tensors: it is no state dict')
    if all(key.startswith('module.') for key in state):
        return {key.removeprefix('module.'): value for key, value in state.items()}
    return state


def _their_names(ours: Mapping[str, Tensor], names: PortedNames) -> dict[str, str]:
    found = {}
    for key in ours:
        try:
            found[key] = names.their_name(key)
        except KeyError as error:
            raise UserError(
                f'{names.source} has no counterpart of {key}: the config is none of its models'
            ) from error
    return found


def _list(keys: list[str]) -> str:
    shown = ', '.join(keys[:_NUM_LISTED])
    return shown + (', ...' if len(keys) > _NUM_LISTED else '')
