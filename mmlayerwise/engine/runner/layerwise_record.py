"""What layer-wise learning did, and the weights to go back to."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmlayerwise.forward.layer_order import ForwardLayer
from mmlayerwise.utils.files import write_atomically

# Squared distance of neighbours over the squared length of features, below which they are alike.
ALIKE = 1e-3


class LayerwiseRecord:
    """Loss and separation index of every layer after every epoch.

    Attributes:
        layers: One dict a layer: its name and the list of its epochs, the first of which, 0, is
            before any training.
    """

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []

    def start(self, layer: str) -> None:
        """Begin with a layer."""
        self.layers.append(dict(layer=layer, epochs=[]))

    def add(
        self,
        loss: float | None,
        relative_distance: float | None,
        separation_index: float,
        seconds: float,
    ) -> None:
        """Note an epoch of the layer.

        Args:
            loss: Mean triplet loss; None before the first epoch.
            relative_distance: Mean squared distance of neighbours over the squared length of the
                features; None before the first epoch.
            separation_index: That of the layer afterwards.
            seconds: What the epoch's iterations took.
        """
        epochs = self.layers[-1]['epochs']
        epochs.append(
            dict(
                epoch=len(epochs),
                loss=loss,
                relative_distance=relative_distance,
                separation_index=separation_index,
                seconds=seconds,
            )
        )

    @property
    def first(self) -> float:
        """Separation index of the present layer before it was trained."""
        return self.layers[-1]['epochs'][0]['separation_index']

    @property
    def last(self) -> dict[str, Any]:
        """What was noted of the present layer's last epoch."""
        return self.layers[-1]['epochs'][-1]

    @property
    def collapsed(self) -> bool:
        """Whether training made the present layer's features alike and separated nothing."""
        first, *later = self.layers[-1]['epochs']
        if not later or later[-1]['relative_distance'] >= ALIKE:
            return False
        return max(epoch['separation_index'] for epoch in later) <= first['separation_index']

    def state_dict(self) -> list[dict[str, Any]]:
        """The record as plain lists and dicts."""
        return copy.deepcopy(self.layers)

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take a record in."""
        self.layers = copy.deepcopy(state)

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(self.layers, indent=2) + '\n')


def take_snapshot(model: nn.Module, layers: Sequence[ForwardLayer]) -> dict[str, torch.Tensor]:
    """Copy everything that learning changes, parameters and running statistics.

    Args:
        model: The model.
        layers: The layers up to and with the one that is learned.
    """
    modules = {name for layer in layers for name in layer.own_modules}
    parameters = {name for layer in layers for name in layer.parameters}
    return {
        key: value.detach().clone()
        for key, value in model.state_dict().items()
        if key in parameters or key.rpartition('.')[0] in modules
    }
