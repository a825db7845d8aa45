"""Learning the first convolution by quasi least squares before training starts."""

import json
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import broadcast, broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from rich.progress import track
from torch import nn

from mmlayerwise.engine.qls_data import TrainingSamples
from mmlayerwise.engine.separation import InferenceForward
from mmlayerwise.forward import (
    FirstConvolution,
    ForwardLearningError,
    LayerSamples,
    QLSEpoch,
    QuasiLeastSquares,
    collect_samples,
    find_first_convolution,
    read_input,
)
from mmlayerwise.forward.layer_samples import check_samples
from mmlayerwise.registry import HOOKS
from mmlayerwise.separation import Batch, undisturbed
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY
from mmlayerwise.separation.samples import ImageSamples, Sampler, build_sampler
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically
from mmlayerwise.visualization.filters_plot import draw_filters


@HOOKS.register_module()
class QLSInitHook(Hook):
    """Learn the first convolution from labelled training samples, before the first iteration.

    Works for any classifier, detector or segmentor of mmengine. The samples are whole images by
    their class, texts as the convolution reads them, windows round ground-truth boxes by the box's
    class, or windows round pixels by their most frequent class, balanced over the classes and read
    from the training data by a loader of the hook's own; random states of the run stay as they are.
    What comes before the layer, the embedding of a text, is not changed. The layer is then trained
    with the rest or, with ``freeze``, not any more. A resumed run learns nothing anew.

    With several processes the first one learns and broadcasts. ``qls.json`` and ``qls_filters.png``
    are written into the work directory.

    Args:
        layer: Name of the convolution; the first that runs by default.
        samples: What a sample is: ``'auto'`` or ``dict(type=...)`` with ``ImageSamples``,
            ``TextSamples``, ``BoxSamples`` or ``PixelSamples`` and their arguments.
        num_samples: At most so many samples.
        crop_size: Side, in pixels, of the windows round boxes and pixels. Whole images are taken
            as they are unless it is given.
        freeze: Whether the layer stays as learned.
        epochs: See :class:`~mmlayerwise.forward.QuasiLeastSquares`, as the following.
        step: ``'mm'``, ``'ls'``, ``'gradient'``, or None for the eigenvectors alone.
        negatives: Whether every eigenvector is followed by its negative.
        pooling: Side of the squares over which features are averaged for the neighbour search.
        max_positions: Output positions of a sample to learn from.
        seed: Of the choice of samples and of random filters.
        max_memory: Bytes for the neighbour search.
        backend: Which implementation searches for neighbours.
    """

    # Before SeparationHook, which may measure before training.
    priority = 'HIGH'

    def __init__(
        self,
        layer: str | None = None,
        samples: str | dict = 'auto',
        num_samples: int = 2000,
        crop_size: int | None = None,
        freeze: bool = False,
        epochs: int = 8,
        step: str | None = 'mm',
        negatives: bool = True,
        pooling: int = 2,
        max_positions: int = 1024,
        seed: int = 0,
        max_memory: int = DEFAULT_MEMORY,
        backend: str = 'exact',
    ) -> None:
        for name, value in (('num_samples', num_samples), ('crop_size', crop_size)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ForwardLearningError(
                    f'QLSInitHook: {name} must be a positive whole number, got {value!r}.'
                )
        self.layer = layer
        self.samples = samples
        self.num_samples = num_samples
        self.crop_size = crop_size
        self.freeze = freeze
        self.seed = seed
        self.learner = QuasiLeastSquares(
            epochs,
            step,
            negatives=negatives,
            pooling=pooling,
            max_positions=max_positions,
            seed=seed,
            max_memory=max_memory,
            backend=backend,
        )

    def before_train(self, runner: Any) -> None:
        """Learn the layer, unless training goes on from a checkpoint of this run."""
        resumed = runner.iter > 0
        if resumed:
            runner.logger.info('QLSInitHook: a resumed run keeps the layer as it is.')
            if not self.freeze:
                return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        problem, name = None, None
        if is_main_process():
            try:
                name = self._find_and_learn(runner, model, learn=not resumed)
            except UserError as error:
                problem = error
        # The other processes wait here; without the message they would wait for ever.
        told = [None if problem is None else str(problem), name]
        broadcast_object_list(told, src=0)
        if told[0] is not None:
            raise problem or ForwardLearningError(told[0])
        layer = model.get_submodule(told[1])
        if not resumed:
            for parameter in layer.parameters():
                broadcast(parameter.data, src=0)
        if self.freeze:
            self._freeze(runner, layer, told[1])

    def _find_and_learn(self, runner: Any, model: nn.Module, learn: bool) -> str:
        """Settle the layer and, if asked, learn it; returns its name."""
        with undisturbed(model, self.seed):
            data = TrainingSamples.from_dataloader(runner.train_dataloader, self.seed)
            forward = InferenceForward()
            batch = data.first(model)
            found = find_first_convolution(model, lambda: forward(model, batch.inputs), self.layer)
            if learn:
                sampler = build_sampler(self.samples, batch.truths)
                samples = self._collect(model, data, found, sampler, forward)
                self._learn(runner, model, found, sampler, samples)
        return found.name

    def _collect(
        self,
        model: nn.Module,
        data: TrainingSamples,
        found: FirstConvolution,
        sampler: Sampler,
        forward: InferenceForward,
    ) -> LayerSamples:
        whole = isinstance(sampler, ImageSamples)
        if not whole:
            # Images of several sizes can't share a batch in every data preprocessor.
            data.batch_size = 1
        data.choose(sampler, self.num_samples)

        def read(batch: Batch) -> torch.Tensor:
            return read_input(model, found.module, lambda: forward(model, batch.inputs))

        batches = track(
            data.batches(model),
            f'Reading {len(data.images)} {sampler.kind if whole else "image"}s for {found.name}',
            total=data.num_batches(),
        )
        crop_size = self.crop_size or (None if whole else 32)
        samples = collect_samples(batches, read, sampler, self.num_samples, crop_size, self.seed)
        classes = None if data.classes is None else len(data.classes)
        check_samples(samples.labels, classes if whole else None, self.num_samples)
        return samples

    def _learn(
        self,
        runner: Any,
        model: nn.Module,
        found: FirstConvolution,
        sampler: Sampler,
        samples: LayerSamples,
    ) -> None:
        layer, logger = found.module, runner.logger
        behind = f', before the batch normalisation {found.batch_norm}' if found.batch_norm else ''
        logger.info(
            f'QLSInitHook learns {found.name}: {layer.out_channels} filters{behind}, from '
            f'{len(samples.labels)} {sampler.kind} samples of shape '
            f'{tuple(samples.inputs.shape[1:])}.'
        )

        def report(epoch: QLSEpoch) -> None:
            logger.info(describe_epoch(epoch))

        before = layer.weight.detach().clone()
        result = self.learner.fit(
            layer,
            samples.inputs.float(),
            samples.labels,
            samples.sources,
            batch_norm=found.batch_norm is not None,
            report=report,
        )
        paths = [Path(runner.work_dir) / name for name in ('qls.json', 'qls_filters.png')]
        entry = dict(layer=found.name, samples=sampler.kind, **result.to_dict())
        with write_atomically(paths[0]) as temporary:
            temporary.write_text(json.dumps(entry, indent=2) + '\n')
        draw_filters(
            before,
            layer.weight,
            paths[1],
            title=f'{found.name}, before and after quasi least squares',
            bgr=not getattr(model.data_preprocessor, '_channel_conversion', False),
        )
        lonely = len(samples.labels) - result.num_samples
        if lonely:
            logger.info(f'{lonely} samples without another of their class elsewhere were left out.')
        best = result.history[[one.epoch for one in result.history].index(result.best_epoch)]
        logger.info(
            f'QLSInitHook: {found.name} has the filters of epoch {best.epoch}, separation index '
            f'{best.separation_index:.4f} (start {result.history[0].separation_index:.4f}).\n'
            f'record:   {paths[0]}\npicture:  {paths[1]}'
        )

    @staticmethod
    def _freeze(runner: Any, layer: nn.Module, name: str) -> None:
        for parameter in layer.parameters():
            parameter.requires_grad_(False)
        if is_model_wrapper(runner.model):
            # The wrapper was made to wait for the gradients of all parameters.
            wrapper = runner.cfg.get('model_wrapper_cfg')
            runner.model = runner.wrap_model(wrapper, runner.model.module)
        runner.logger.info(f'QLSInitHook: {name} is frozen.')


def describe_epoch(epoch: QLSEpoch) -> str:
    """One line of the log."""
    line = (
        f'QLS epoch {epoch.epoch}: J {epoch.loss:.5g}, margin {epoch.margin:.4f}, separation '
        f'index {epoch.separation_index:.4f}'
    )
    if epoch.epoch == 0:
        line += ' (eigenvectors)'
    elif epoch.step_size is None:
        line += ', no step size raises the margin: done'
    else:
        line += f', step size {epoch.step_size:g}'
    return line + (f', {epoch.replaced} dead filters replaced' if epoch.replaced else '')
