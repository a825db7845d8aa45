"""When a layer has learned enough."""

from typing import Any

from mmlayerwise.forward.errors import ForwardLearningError


class SeparationStopRule:
    """Stops when the separation index no longer rises.

    The index rises where it exceeds the last value that counted as a rise by ``min_delta``.

    Args:
        patience: Epochs without a rise after which to stop.
        min_delta: Least rise that counts.
        max_epochs: Most epochs of one layer.

    Attributes:
        epoch: Number of values seen; the first is of the time before the first epoch.
        best: Highest value so far.
        best_epoch: When it was seen, 0 meaning before the first epoch.
    """

    def __init__(self, patience: int = 3, min_delta: float = 0.002, max_epochs: int = 30) -> None:
        for name, value, least in (
            ('patience', patience, 1),
            ('min_delta', min_delta, 0),
            ('max_epochs', max_epochs, 1),
        ):
            if value < least:
                raise ForwardLearningError(
                    f'SeparationStopRule: {name} must be at least {least}, got {value!r}.'
                )
        self.patience = patience
        self.min_delta = min_delta
        self.max_epochs = max_epochs
        self.reset()

    def reset(self) -> None:
        """Start with a new layer."""
        self.epoch = -1
        self.best = float('-inf')
        self.best_epoch = 0
        self._risen_to = float('-inf')
        self._risen_at = 0

    def update(self, separation_index: float) -> bool:
        """Take the index after one more epoch, first that before any.

        Returns:
            Whether it is the highest so far.
        """
        self.epoch += 1
        if separation_index > self._risen_to + self.min_delta:
            self._risen_to, self._risen_at = separation_index, self.epoch
        if separation_index <= self.best:
            return False
        self.best, self.best_epoch = separation_index, self.epoch
        return True

    @property
    def should_stop(self) -> bool:
        """Whether to go on to the next layer."""
        return self.epoch >= self.max_epochs or self.epoch - self._risen_at >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """What has to be kept to go on later."""
        names = ('epoch', 'best', 'best_epoch', '_risen_to', '_risen_at')
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a kept state."""
        for name, value in state.items():
            setattr(self, name, value)
