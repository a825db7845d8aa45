"""Hooks."""

from mmlayerwise.engine.hooks.qls_init_hook import QLSInitHook
from mmlayerwise.engine.hooks.random_state_hook import RandomStateHook
from mmlayerwise.engine.hooks.self_adversarial_training_hook import SelfAdversarialTrainingHook
from mmlayerwise.engine.hooks.separation_early_stopping_hook import SeparationEarlyStoppingHook
from mmlayerwise.engine.hooks.separation_hook import SeparationHook
from mmlayerwise.engine.hooks.separation_pruning_hook import SeparationPruningHook

__all__ = [
    'QLSInitHook',
    'RandomStateHook',
    'SelfAdversarialTrainingHook',
    'SeparationEarlyStoppingHook',
    'SeparationHook',
    'SeparationPruningHook',
]
