"""What the layer-wise loop asks of the runner's hooks."""

from typing import Any

from mmengine.hooks import Hook

from mmlayerwise.forward.errors import ForwardLearningError


class LayerwiseStateHook(Hook):
    """Keeps the state of a layer-wise loop in checkpoints and fixed layers in evaluation mode.

    The loop registers it itself.

    Args:
        loop: A :class:`~mmlayerwise.engine.runner.LayerwiseTrainLoop`.
    """

    priority = 'VERY_HIGH'

    def __init__(self, loop: Any) -> None:
        self.loop = loop

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Put fixed layers into evaluation mode, out of which each epoch takes them."""
        for module in self.loop.fixed_modules:
            module.training = False

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Add the loop's state."""
        checkpoint['layerwise'] = self.loop.state_dict()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Take the loop's state, and the optimizer of a layer away from that of the rest."""
        if not runner._resume:
            return
        state = checkpoint.get('layerwise')
        if state is None:
            raise ForwardLearningError(
                'The checkpoint to resume from was made by another training loop than '
                'LayerwiseTrainLoop, so it does not tell which layer comes next. To start from its '
                'weights, set load_from without resume.'
            )
        in_layer = state['learned'] < len(state['layers'])
        optimizer = checkpoint.pop('optimizer', None) if in_layer else None
        self.loop.load_state_dict(state, optimizer)
