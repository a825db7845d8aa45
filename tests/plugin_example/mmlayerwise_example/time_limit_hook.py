"""A component: a config names it as ``mmlayerwise.TimeLimitHook``."""

import time

from mmengine.hooks import Hook

from mmlayerwise.registry import HOOKS


@HOOKS.register_module()
class TimeLimitHook(Hook):
    """Ends training at the end of the epoch in which the time is up.

    Args:
        minutes: How long training may take.
    """

    def __init__(self, minutes):
        if minutes < 0:
            raise ValueError(f'minutes must not be negative, got {minutes}')
        self.minutes = minutes

    def before_train(self, runner):
        """Start the clock."""
        self.end = time.monotonic() + 60 * self.minutes

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Look at the clock."""
        if time.monotonic() >= self.end and not runner.train_loop.stop_training:
            runner.logger.info(f'The time limit of {self.minutes} minutes is reached.')
            runner.train_loop.stop_training = True
