"""Stopping a training run when a layer's separation index no longer rises."""

from typing import Any

from mmengine.hooks import EarlyStoppingHook

from mmlayerwise.engine.hooks.separation_hook import SeparationHook
from mmlayerwise.registry import HOOKS
from mmlayerwise.separation import SeparationError, wilson_interval
from mmlayerwise.separation.profile import LayerSeparation


@HOOKS.register_module()
class SeparationEarlyStoppingHook(EarlyStoppingHook):
    """Stop training when the index of a layer tends to rise no more.

    mmengine's hook can follow the metric ``separation/<layer>`` of :class:`SeparationHook` as it
    is. This one adds what that metric needs: the layer is checked before the first epoch,
    validations without a measurement don't count, a resumed run decides like one that was not
    interrupted (from ``separation.json``), and a rise can be asked to be significant.

    Args:
        layer: Name of a measured layer.
        min_delta: Smallest rise that counts.
        patience: Measurements without a rise after which training stops.
        confidence: Let a rise count only if the index lies above the Wilson interval of the best
            one so far, at this confidence, such as 0.95; None asks for ``min_delta`` alone.
        stopping_threshold: Stop as soon as the index exceeds this one.

    Raises:
        SeparationError: Before training, if there is no SeparationHook, it does not measure the
            layer, or an argument is out of range.
    """

    def __init__(
        self,
        layer: str,
        min_delta: float = 0.002,
        patience: int = 3,
        confidence: float | None = None,
        stopping_threshold: float | None = None,
    ) -> None:
        if patience < 1 or min_delta < 0 or not (confidence is None or 0 < confidence < 1):
            raise SeparationError(
                'SeparationEarlyStoppingHook: expected patience of at least 1, min_delta of at '
                f'least 0 and confidence in (0, 1) or None; got {patience}, {min_delta} and '
                f'{confidence}.'
            )
        super().__init__(
            f'separation/{layer}',
            rule='greater',
            min_delta=min_delta,
            patience=patience,
            stopping_threshold=stopping_threshold,
        )
        self.layer = layer
        self.confidence = confidence
        self._least = min_delta
        self._counted = 0

    def before_train(self, runner: Any) -> None:
        """Find the measurements, and count those that a resumed run has already made."""
        measuring = self._separation_hook(runner)
        names = [layer.name for layer in measuring.meter.chosen]
        if self.layer not in names:
            raise SeparationError(
                f'SeparationEarlyStoppingHook: {self.layer!r} is not among the measured layers; '
                f'there are {", ".join(names)}.'
            )
        for measurement in measuring.record.measurements:
            self._decide(runner, measurement.profile[self.layer])

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Stop if the latest measurement is the last one that patience waits for."""
        record = self._separation_hook(runner).record
        if len(record.measurements) == self._counted:
            return  # this validation was not measured
        self._decide(runner, record.measurements[-1].profile[self.layer])

    def _decide(self, runner: Any, entry: LayerSeparation) -> None:
        self._counted += 1
        index = float('nan') if entry.index is None else entry.index
        stop, reason = self._check_stop_condition(index)
        if self.confidence is not None and self.best_score == index:
            upper = wilson_interval(index, entry.num_samples, self.confidence)[1]
            self.min_delta = max(self._least, upper - index)
        if stop:
            runner.train_loop.stop_training = True
            runner.logger.info(f'Training stops: {reason}')

    @staticmethod
    def _separation_hook(runner: Any) -> SeparationHook:
        for hook in runner.hooks:
            if isinstance(hook, SeparationHook):
                return hook
        raise SeparationError(
            'SeparationEarlyStoppingHook follows a measured layer; add '
            "dict(type='mmlayerwise.SeparationHook') to custom_hooks."
        )
