"""Pruning by the separation index within a training."""

import gc
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import BaseAveragedModel, is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.plan import CompressionPlan
from mmlayerwise.compression.planner import CompressionPlanner
from mmlayerwise.compression.reading import LayerReader
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.engine.optimizer_surgery import move_optimizer
from mmlayerwise.engine.planning_data import PlanningBatches, training_data
from mmlayerwise.engine.separation import InferenceForward
from mmlayerwise.registry import HOOKS
from mmlayerwise.utils.checkpoint_check import PRUNING_KEY


@HOOKS.register_module()
class SeparationPruningHook(Hook):
    """Make the model smaller while it is trained: measure, remove channels, train on.

    After the chosen epochs channels that the separation index does not need are removed, on
    training images read by the pipeline of validation. The optimizer keeps its state for the
    channels that stay. Layers are not cut: use ``tools/compress.py`` for that.

    Checkpoints hold what was removed. They resume, and are tested, with the same config: the hook
    makes the model smaller before their weights are loaded. With several processes the first one
    plans, and all follow.

    Args:
        epochs: After which epochs, counted from 1.
        budget: Share of the cost that may stay *each time*; None removes what costs no index.
        budget_of: ``'flops'`` or ``'parameters'``.
        criterion: ``'si'``, ``'magnitude'`` or ``'random'``.
        max_drop: How far the index may fall each time.
        drop_limit: How far it may fall to meet the budget.
        samples: What is compared, see :class:`mmlayerwise.separation.SeparationMeter`.
        max_samples: At most so many samples decide.
        batch_size: Images a forward pass; by default as in validation.
        seed: Of the choice of images.
    """

    # Before EMAHook (NORMAL) loads its averaged weights, and before checkpoints are written.
    priority = 'ABOVE_NORMAL'

    def __init__(
        self,
        epochs: Sequence[int],
        budget: float | None = None,
        budget_of: str = 'flops',
        criterion: str = 'si',
        max_drop: float = 0.01,
        drop_limit: float = 0.05,
        samples: str | dict = 'auto',
        max_samples: int = 1000,
        batch_size: int | None = None,
        seed: int = 0,
    ) -> None:
        if not epochs or min(epochs) < 1:
            raise CompressionError(
                f'SeparationPruningHook: epochs are counted from 1, at least one; got {epochs}'
            )
        self.epochs = set(epochs)
        self.settings = PlannerSettings(
            criterion=criterion,
            budget=budget,
            budget_of=budget_of,
            cut='none',
            max_drop=max_drop,
            drop_limit=drop_limit,
            seed=seed,
        )
        self.samples = samples
        self.max_samples = max_samples
        self.batch_size = batch_size
        self.plans: list[dict[str, Any]] = []

    def after_train_epoch(self, runner: Any) -> None:
        """Prune, if this is one of the epochs."""
        if runner.epoch + 1 not in self.epochs:
            return
        plan, size = self._agree(runner)
        entry = {'plan': plan.instructions(), 'input_size': list(size)}
        savings = self._carry_out(runner, entry)
        self.plans.append(entry)
        runner.logger.info(
            f'SeparationPruningHook: {len(plan.channels)} layers lost channels; '
            f'{savings.kept("parameters"):.1%} of the parameters and '
            f'{savings.kept("flops"):.1%} of the FLOPs stay '
            f'({savings.after.parameters:,} and {savings.after.flops:,.0f}).'
        )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Store what was removed."""
        if self.plans:
            checkpoint[PRUNING_KEY] = self.plans

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Make the model as small as the one whose weights are about to be loaded."""
        for entry in checkpoint.get(PRUNING_KEY, ())[len(self.plans) :]:
            self._carry_out(runner, entry)
            self.plans.append(entry)

    def _agree(self, runner: Any) -> tuple[CompressionPlan, Sequence[int]]:
        """Plan in the first process and tell the others."""
        found: list[Any] = [None]
        if is_main_process():
            try:
                plan, size = self._plan(runner)
                found = [(plan.instructions(), list(size))]
            except CompressionError as error:
                found = [str(error)]
        broadcast_object_list(found)
        if isinstance(found[0], str):
            raise CompressionError(f'SeparationPruningHook: {found[0]}')
        return CompressionPlan.from_dict(found[0][0]), found[0][1]

    def _plan(self, runner: Any) -> tuple[CompressionPlan, Sequence[int]]:
        model, seed = _unwrapped(runner.model), self.settings.seed
        data = training_data(runner.cfg, self.batch_size, seed)
        batches = PlanningBatches(data, model, self.samples, self.max_samples, seed)
        reader = LayerReader(
            batches,
            InferenceForward(),
            batches.sampler,
            max_samples=self.max_samples,
            seed=seed,
        )
        size = reader.first.input_size
        return CompressionPlanner(reader, self.settings, size).plan(model).plan, size

    def _carry_out(self, runner: Any, entry: Mapping[str, Any]) -> Any:
        """Remove the channels from model, averaged model and optimizer."""
        model = _unwrapped(runner.model)
        plan = CompressionPlan.from_dict(entry['plan'])
        before = dict(model.named_parameters())
        report = apply_plan(model, plan, entry['input_size'])
        for hook in runner.hooks:
            if isinstance(getattr(hook, 'ema_model', None), BaseAveragedModel):
                _shrink(hook.ema_model, plan, entry['input_size'])
        wrapper = getattr(runner, 'optim_wrapper', None)
        if isinstance(wrapper, OptimWrapper | OptimWrapperDict):  # else it is not built yet
            move_optimizer(wrapper, before, model, report.slices, report.survivors)
        if is_model_wrapper(runner.model):
            # The old wrapper would go on synchronising gradients of parameters that are gone.
            runner.model = model
            gc.collect()
            runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
        return report.savings


def _shrink(averaged: BaseAveragedModel, plan: CompressionPlan, size: Sequence[int]) -> None:
    """Make an averaged model as small as its source."""
    apply_plan(averaged.module, plan, size)
    # It keeps its parameters once more.
    averaged.avg_parameters = (
        averaged.module.state_dict()
        if averaged.update_buffers
        else dict(averaged.module.named_parameters())
    )


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
