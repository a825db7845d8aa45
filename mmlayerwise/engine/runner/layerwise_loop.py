"""Training layer by layer before, or instead of, backpropagation."""

import bisect
import copy
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, all_reduce_params, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop
from torch import nn
from torch.utils.data import DataLoader

from mmlayerwise.engine.hooks.layerwise_state_hook import LayerwiseStateHook
from mmlayerwise.engine.runner.layerwise_data import balanced_dataloader
from mmlayerwise.engine.runner.layerwise_layers import LayersToLearn
from mmlayerwise.engine.runner.layerwise_messages import (
    broken_loss,
    collapsed_features,
    no_triplets,
)
from mmlayerwise.engine.runner.layerwise_options import check_options, check_runner, with_adam
from mmlayerwise.engine.runner.layerwise_record import LayerwiseRecord, take_snapshot
from mmlayerwise.engine.runner.layerwise_stage import (
    forget_scalars,
    restart_averages,
    train_only,
)
from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.forward.layer_order import ForwardLayer
from mmlayerwise.registry import LOOPS, MODELS, TASK_UTILS
from mmlayerwise.separation.layers import LayerSelection
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY


@LOOPS.register_module()
class LayerwiseTrainLoop(EpochBasedTrainLoop):
    """Learns the first layers forward, one after the other, and the rest by backpropagation.

    After Karimi, Kalhor and Sadeghi Tabrizi, *Forward layer-wise learning of convolutional neural
    networks through separation index maximizing*, Scientific Reports 14, 2024. For layer 1, 2, ...
    a triplet loss on the layer's output draws every sample to its nearest friend and away from its
    nearest enemy, until the layer's separation index on training data no longer rises; the best
    weights are restored. The forward pass ends behind the layer. Then the ordinary epochs follow,
    with validation, schedulers and the optimizer of the config.

    Epochs and iterations are counted through. ``max_epochs`` of the runner is an upper bound until
    the last layer is learned.

    Args:
        runner: The runner.
        dataloader: The training data.
        num_forward_layers: How many layers to learn forward, or ``'all'``.
        max_epochs: Epochs of backpropagation afterwards.
        val_begin: First of these epochs behind which to validate.
        val_interval: Validate behind every n-th of these epochs.
        dynamic_intervals: As for :class:`mmengine.runner.EpochBasedTrainLoop`, in these epochs.
        scope: ``'joint'``: the loss of layer L trains layers 1 to L; ``'local'``: layer L alone.
        freeze: Whether the layers stay as learned during backpropagation. None: they do only if
            all were learned forward, so that nothing but the predictions is left to train.
        layers: ``'auto'``: the order of the plugins and the built-in rule, see
            :mod:`mmlayerwise.forward.layer_order`; ``'stages'``, or names and regular expressions.
        samples: What a sample is: ``'auto'`` or ``dict(type=...)`` as for ``SeparationHook``.
        batch_size: Images or texts of a class-balanced batch, while layers are learned from whole
            ones. None, and other kinds of samples, take the batches of the training data loader.
        loss: A triplet loss.
        miner: What finds the triplets.
        stop: When a layer has learned enough.
        optim_wrapper: Optimizer wrapper of the layers, made anew for each. None takes that of the
            config (mixed precision, accumulation, clipping) with Adam at 1e-3.
        num_samples: The separation index is measured on at most so many training samples.
        seed: Of their choice.
        max_memory: Bytes for the neighbour search.
        backend: Which implementation searches for neighbours.
    """

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        num_forward_layers: int | str,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        *,
        scope: str = 'joint',
        freeze: bool | None = None,
        layers: LayerSelection = 'auto',
        samples: str | dict = 'auto',
        batch_size: int | None = 250,
        loss: dict | None = None,
        miner: dict | None = None,
        stop: dict | None = None,
        optim_wrapper: dict | None = None,
        num_samples: int = 2000,
        seed: int = 0,
        max_memory: int = DEFAULT_MEMORY,
        backend: str = 'exact',
    ) -> None:
        check_options(num_forward_layers, max_epochs, scope, num_samples)
        super().__init__(runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals)
        check_runner(runner, self.dataloader)
        self.num_forward_layers = num_forward_layers
        self.rest_epochs = self._max_epochs
        self.scope = scope
        self.freeze = freeze
        self.selection = layers
        self.samples = samples
        self.batch_size = batch_size
        self.num_samples = num_samples
        self.seed = seed
        self.search = dict(max_memory=max_memory, backend=backend)
        self.loss = MODELS.build(loss or dict(type='mmlayerwise.HingeTripletLoss'))
        self.miner = TASK_UTILS.build(miner or dict(type='mmlayerwise.NearestTripletMiner'))
        self.stop = TASK_UTILS.build(stop or dict(type='mmlayerwise.SeparationStopRule'))
        self.optim_wrapper = optim_wrapper or with_adam(runner.optim_wrapper)
        self.found: LayersToLearn | None = None
        self.layers: list[ForwardLayer] = []
        self.fixed_modules: list[nn.Module] = []
        self.record = LayerwiseRecord()
        self.learned = 0
        self.forward_epochs = 0
        self._snapshot: dict[str, torch.Tensor] | None = None
        self._resumed: dict[str, Any] | None = None
        runner.register_hook(LayerwiseStateHook(self))

    # What has to be kept to go on later.

    @property
    def learning_forward(self) -> bool:
        """Whether a layer is being learned."""
        return self.learned < len(self.layers)

    @property
    def _all_are_learned(self) -> bool:
        return self.found is not None and self.found.are_all

    def state_dict(self) -> dict[str, Any]:
        """State at the end of an epoch, for a checkpoint."""
        return dict(
            layers=[layer.name for layer in self.layers],
            learned=self.learned,
            forward_epochs=self.forward_epochs,
            record=self.record.state_dict(),
            stop=self.stop.state_dict(),
            snapshot=self._snapshot,
        )

    def load_state_dict(self, state: dict[str, Any], optimizer: dict | None) -> None:
        """Take a state in; it is put into effect when the loop runs.

        Args:
            state: From :meth:`state_dict`.
            optimizer: State of the layer's optimizer wrapper, if a layer was being learned.
        """
        self._resumed = dict(state, optimizer=optimizer)

    # The loop.

    def run(self) -> nn.Module:
        """Launch training."""
        self.model = self.runner.model
        if is_model_wrapper(self.model):
            self.model = self.model.module
        self._find_layers()
        self._take_up()
        rest = self.dataloader, self.runner.optim_wrapper, self.runner.param_schedulers
        trainable = [one for one in self.model.parameters() if one.requires_grad]
        if self.learning_forward and self.batch_size and self.found.of_whole_inputs:
            self.dataloader = balanced_dataloader(self.dataloader, self.batch_size)
        self._bound_epochs()
        self.runner.call_hook('before_train')
        if self.learning_forward:
            if self.runner.param_schedulers is not None:
                self.runner.param_schedulers = []
            while self.learning_forward:
                self._learn_layer(self.layers[self.learned], trainable)
            self.dataloader._iterator = None  # ends its workers
        self.dataloader, self.runner.optim_wrapper, self.runner.param_schedulers = rest
        self._start_backpropagation(trainable)
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._decide_current_val_interval()
            epoch = self._epoch - self.forward_epochs
            due = epoch % self.val_interval == 0 or self._epoch == self._max_epochs
            if self.runner.val_loop is not None and epoch >= self.val_begin and due:
                self.runner.val_loop.run()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _decide_current_val_interval(self) -> None:
        """Count the milestones in epochs of backpropagation."""
        epoch = self._epoch - self.forward_epochs
        step = bisect.bisect(self.dynamic_milestones, epoch + 1)
        self.val_interval = self.dynamic_intervals[step - 1]

    def _find_layers(self) -> None:
        """Settle layers, samples and data; raises for what cannot work."""
        if self.num_forward_layers == 0:
            return
        self.found = LayersToLearn(
            self.model,
            self.dataloader,
            self.num_forward_layers,
            self.selection,
            self.samples,
            self.num_samples,
            self.seed,
            self.search,
        )
        self.layers = self.found.layers
        if self.found.skipped:
            self.runner.logger.info(
                f'Frozen, or without {self.found.kind} samples, so not learned by themselves: '
                f'{", ".join(self.found.skipped)}.'
            )
        for layer in self.layers:
            # Refuses what cannot work before anything is learned.
            self.found.learner(self.model, layer, self.miner, self.loss)

    def _take_up(self) -> None:
        """Go on where a checkpoint was made, if there is one."""
        if self._resumed is None:
            return
        names = [layer.name for layer in self.layers]
        if self._resumed['layers'] != names:
            raise ForwardLearningError(
                f'The checkpoint was made while learning the layers {self._resumed["layers"]}, but '
                f'the config asks for {names}. Resume with the config it was made with.'
            )
        self.learned = self._resumed['learned']
        self.forward_epochs = self._resumed['forward_epochs']
        self.record.load_state_dict(self._resumed['record'])

    def _bound_epochs(self) -> None:
        """Tell how long training can last at most."""
        forward = 0
        if self.learning_forward:
            forward = (len(self.layers) - self.learned) * self.stop.max_epochs
            forward -= self._epoch - self.forward_epochs
        start = self._epoch if self.learning_forward else self.forward_epochs
        self._max_epochs = start + forward + self.rest_epochs
        self._max_iters = self._iter + (self._max_epochs - self._epoch) * len(self.dataloader)
        self.runner.message_hub.update_info('max_epochs', self._max_epochs)
        self.runner.message_hub.update_info('max_iters', self._max_iters)

    # One layer.

    def _learn_layer(self, layer: ForwardLayer, trainable: list[nn.Parameter]) -> None:
        number, logger = self.learned + 1, self.runner.logger
        names = layer.parameters if self.scope == 'joint' else layer.own_parameters
        train_only(self.model, names, trainable)
        self._fix(self.layers[: self.learned] if self.scope == 'local' else [])
        learner = self.found.learner(self.model, layer, self.miner, self.loss)
        if self.runner.distributed:
            wrapper = copy.deepcopy(self.runner.cfg.get('model_wrapper_cfg'))
            learner = self.runner.wrap_model(wrapper, learner)
        self.runner.optim_wrapper = self.runner.build_optim_wrapper(
            copy.deepcopy(self.optim_wrapper)
        )
        self._bound_epochs()
        forget_scalars(self.runner.message_hub)
        logger.info(f'Learning layer {number} of {len(self.layers)} forward: {layer.name}')
        if not self._resume_layer():
            self.stop.reset()
            self.record.start(layer.name)
            self.found.estimate_statistics(self.model, layer)
            self._judge(layer)
        while not self.stop.should_stop:
            self._run_layer_epoch(layer, learner)
        self.model.load_state_dict(self._snapshot, strict=False)
        restart_averages(self.runner, self.model)
        self._snapshot = None
        logger.info(
            f'Layer {number} of {len(self.layers)}, {layer.name}, has the weights of epoch '
            f'{self.stop.best_epoch}, separation index {self.stop.best:.4f} '
            f'(start {self.record.first:.4f}).'
        )
        if self.record.collapsed:
            logger.warning(collapsed_features(layer.name, self.record.last))
        self.runner.optim_wrapper.zero_grad()
        self.learned += 1
        self.forward_epochs = self._epoch

    def _resume_layer(self) -> bool:
        """Go on with the layer of a checkpoint, if there is one."""
        state, self._resumed = self._resumed, None
        if state is None:
            return False
        self.stop.load_state_dict(state['stop'])
        self._snapshot = state['snapshot']
        if state['optimizer'] is not None:
            self.runner.optim_wrapper.load_state_dict(state['optimizer'])
        return True

    def _run_layer_epoch(self, layer: ForwardLayer, learner: nn.Module) -> None:
        runner, start = self.runner, time.perf_counter()
        self.miner.reset()
        # What was accumulated is applied by the end of the epoch, which may be the layer's last.
        runner.optim_wrapper.initialize_count_status(self.model, 0, len(self.dataloader))
        runner.call_hook('before_train_epoch')
        runner.model.train()
        sums = torch.zeros(4, dtype=torch.float64)
        for index, data in enumerate(islice(self.dataloader, len(self.dataloader))):
            sums += self._run_layer_iter(index, data, layer, learner)
        if not sums[1]:
            raise ForwardLearningError(no_triplets(len(self.dataloader), self.batch_size))
        seconds = time.perf_counter() - start
        loss, _, _, distance = (sums / sums[1]).tolist()
        self._judge(layer, loss, distance, seconds)
        runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _run_layer_iter(
        self, index: int, data: Any, layer: ForwardLayer, learner: nn.Module
    ) -> torch.Tensor:
        runner = self.runner
        runner.call_hook('before_train_iter', batch_idx=index, data_batch=data)
        with runner.optim_wrapper.optim_context(learner):
            count = len(data['inputs'] if isinstance(data, dict) else data[0])
            images = range(self._iter * count, (self._iter + 1) * count)
            batch = self.found.data.prepare(self.model, images, data, training=True)
            loss, sums = learner(batch, self._iter)
        all_reduce(sums)
        sums = sums.cpu()
        if sums[4]:
            raise ForwardLearningError(broken_loss(layer.name, self._iter))
        runner.optim_wrapper.update_params(loss)
        found = max(1.0, float(sums[1]))
        outputs = dict(
            loss=torch.tensor(float(sums[0]) / found),
            layer=self.learned + 1,
            batch_separation_index=float(sums[2]) / found,
            separation_index=self.record.last['separation_index'],
        )
        runner.call_hook('after_train_iter', batch_idx=index, data_batch=data, outputs=outputs)
        self._iter += 1
        return sums[:4]

    def _judge(
        self,
        layer: ForwardLayer,
        loss: float | None = None,
        distance: float | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Measure the layer, decide whether it is the best so far, and tell."""
        if self.runner.distributed:
            all_reduce_params(self.model.buffers(), op='mean')
        value = self.found.separation_index(self.model, layer)
        if self.stop.update(value):
            self._snapshot = take_snapshot(self.model, self.layers[: self.learned + 1])
        self.record.add(loss, distance, value, seconds)
        self._report(layer, loss, value)

    def _report(self, layer: ForwardLayer, loss: float | None, value: float) -> None:
        told = '' if loss is None else f', loss {loss:.4f}'
        self.runner.logger.info(
            f'Layer {self.learned + 1} of {len(self.layers)}, {layer.name}, epoch '
            f'{self.stop.epoch}{told}, separation index {value:.4f} (best {self.stop.best:.4f} of '
            f'epoch {self.stop.best_epoch})'
        )
        self.runner.visualizer.add_scalar(f'layerwise/{layer.name}', value, step=self._iter)
        if is_main_process():
            self.record.save(Path(self.runner.work_dir) / 'layerwise.json')

    # The rest.

    def _start_backpropagation(self, trainable: list[nn.Parameter]) -> None:
        freeze = self.freeze if self.freeze is not None else self._all_are_learned
        frozen = self.layers if freeze else []
        names = {name for layer in frozen for name in layer.parameters}
        others = {name for name, _ in self.model.named_parameters()} - names
        train_only(self.model, others, trainable)
        self._fix(frozen)
        if frozen and is_model_wrapper(self.runner.model):
            # The wrapper was made to wait for the gradients of all parameters.
            wrapper = copy.deepcopy(self.runner.cfg.get('model_wrapper_cfg'))
            self.runner.model = self.runner.wrap_model(wrapper, self.model)
        forget_scalars(self.runner.message_hub)
        self._bound_epochs()
        done = (self._epoch - self.forward_epochs) * len(self.dataloader)
        self.runner.optim_wrapper.initialize_count_status(
            self.model, done, self.rest_epochs * len(self.dataloader)
        )
        if self.layers:
            self.runner.logger.info(
                f'{len(self.layers)} layers are learned forward and '
                f'{"frozen" if frozen else "trained on"}; backpropagation follows.'
            )

    def _fix(self, layers: list[ForwardLayer]) -> None:
        """Keep the modules of some layers in evaluation mode."""
        names = [name for layer in layers for name in layer.own_modules]
        self.fixed_modules = [self.model.get_submodule(name) for name in names]
