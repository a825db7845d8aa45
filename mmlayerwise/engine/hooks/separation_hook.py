"""Measuring layers during training."""

from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from mmlayerwise.engine.separation import InferenceForward, MeasuringData
from mmlayerwise.engine.validation_reading import (
    ValidationReading,
    choose_forward_passes,
    refuse_validation_reading,
)
from mmlayerwise.registry import HOOKS
from mmlayerwise.separation import (
    Batch,
    SeparationError,
    SeparationMeter,
    SeparationProfile,
    undisturbed,
)
from mmlayerwise.separation.choice import LayerPooling
from mmlayerwise.separation.layers import LayerSelection
from mmlayerwise.separation.neighbors import DEFAULT_MEMORY
from mmlayerwise.separation.reading import LayerReading
from mmlayerwise.separation.record import Measurement, SeparationRecord
from mmlayerwise.separation.samples import build_sampler
from mmlayerwise.separation.sketch import DEFAULT_DISTORTION, FEATURE_MEMORY
from mmlayerwise.separation.table import format_table
from mmlayerwise.visualization.separation_plot import draw_separation

_FORWARD_PASSES = ('auto', 'own', 'validation')


@HOOKS.register_module()
class SeparationHook(Hook):
    """Measure the separation index of layers at every validation.

    Works for any detector, segmentor or classifier of mmengine. The measurement takes a fixed,
    class-balanced part of the validation data and changes no parameter, buffer, mode or random
    state. It writes ``separation.json`` and ``separation.png`` into the work directory, adds the
    indices to the metrics as ``separation/<layer>`` (so ``save_best`` can follow one) and to the
    visualizer, where those of small, medium and large objects are ``separation/<layer>/size/small``
    and so on, and those of the classes ``separation/<layer>/class/<class>`` if they are asked for.

    Args:
        layers: ``'stages'``, ``'auto'`` (every convolution, linear and attention block), or a list
            of module names and regular expressions.
        samples: What is compared: ``'auto'`` or ``dict(type=...)`` with ``ImageSamples``,
            ``BoxSamples``, ``PixelSamples``, ``InstanceSamples``, ``TextSamples`` or
            ``TokenSamples`` and their arguments.
        pooling: How a map becomes a vector, instead of the sampler's own way: ``'flatten'``,
            ``'average'`` or the side of a grid, for all layers or by their names and regular
            expressions, ``{'backbone.*': 'average'}``; the first that fits decides.
        max_samples: At most so many samples.
        interval: Measure at every n-th validation.
        initial: Also measure before training.
        order: Neighbours for the high-order, soft and anti index.
        seed: Of the choice of images and samples.
        max_memory: Bytes for the neighbour search.
        feature_memory: Bytes that the vectors of one layer may take; where they would take more,
            they are sketched.
        distortion: Relative error of the distances among sketches, between 0 and 1.
        backend: Which implementation searches for neighbours; plugins can give others.
        forward_passes: ``'validation'`` reads the layers while the validation runs the model, which
            costs no forward pass and no loading; for image and text samples. ``'own'`` runs the
            model once more on the chosen images. ``'auto'`` does the former where it can, and says
            which in the log. The samples are the same.
        class_scalars: Also give the visualizer the index of every class: layers times classes
            numbers a measurement.
    """

    # Before EMAHook (NORMAL) takes its averaged weights out again, and before the hooks that log
    # the metrics or choose a best checkpoint by them.
    priority = 'ABOVE_NORMAL'

    def __init__(
        self,
        layers: LayerSelection = 'stages',
        samples: str | dict = 'auto',
        pooling: LayerPooling | None = None,
        max_samples: int = 2000,
        interval: int = 1,
        initial: bool = False,
        order: int = 5,
        seed: int = 0,
        max_memory: int = DEFAULT_MEMORY,
        feature_memory: int = FEATURE_MEMORY,
        distortion: float = DEFAULT_DISTORTION,
        backend: str = 'exact',
        forward_passes: str = 'auto',
        class_scalars: bool = False,
    ) -> None:
        if forward_passes not in _FORWARD_PASSES:
            names = ', '.join(map(repr, _FORWARD_PASSES))
            raise SeparationError(
                f'SeparationHook: forward_passes must be one of {names}, got {forward_passes!r}.'
            )
        if interval < 1:
            raise SeparationError(f'SeparationHook: interval must be at least 1, got {interval}.')
        self.interval = interval
        self.initial = initial
        self.forward_passes = forward_passes
        self.class_scalars = class_scalars
        self.settings = dict(
            layers=layers if isinstance(layers, str) else list(layers),
            samples=samples,
            pooling=pooling,
            max_samples=max_samples,
            order=order,
            seed=seed,
        )
        self.meter = SeparationMeter(
            layers,
            samples,
            pooling=pooling,
            max_samples=max_samples,
            order=order,
            seed=seed,
            max_memory=max_memory,
            feature_memory=feature_memory,
            distortion=distortion,
            backend=backend,
            keep_going=True,
        )
        self.record = SeparationRecord(self.settings)
        self.data: MeasuringData | None = None
        self.forward: InferenceForward | None = None
        self.reading: ValidationReading | None = None
        self.validations = 0

    def before_train(self, runner: Any) -> None:
        """Settle the layers at once, so that a misspelt name shows before the first epoch."""
        if runner.val_loop is None:
            raise SeparationError(
                'SeparationHook measures on validation data; give val_dataloader, val_cfg and '
                'val_evaluator, or remove the hook.'
            )
        path = self.json_path(runner)
        if runner._resume and path.exists():
            self.record = SeparationRecord.load(path)
            self.record.settings = self.settings
            self.record.keep_until(runner.iter)
        self._prepare(runner)
        if self.initial and runner.iter == 0:
            self._measure(runner)

    def before_val_epoch(self, runner: Any) -> None:
        """Get ready to read the layers, if this validation's passes are read."""
        self._stop_reading()
        if (self.validations + 1) % self.interval:
            return
        if self.data is None:
            self._prepare(runner)
        if self.forward_passes == 'validation':
            model = _unwrapped(runner.model)
            reading = self.meter.start_reading(model)
            self.reading = ValidationReading(model, reading, self.data, runner.val_dataloader)

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Say which batch comes."""
        if self.reading is not None:
            self.reading.start_batch(batch_idx)

    def after_val_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Make sure that the batch's layers were read."""
        if self.reading is not None:
            self.reading.end_batch()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Measure, log, and write the files."""
        self.validations += 1
        if self.validations % self.interval:
            return
        reading = None if self.reading is None else self.reading.reading
        self._stop_reading()
        indices = self._measure(runner, reading)
        if metrics is not None:
            metrics.update(indices)

    def after_run(self, runner: Any) -> None:
        """Say where the results lie."""
        if not self.record.measurements or not is_main_process():
            return
        lines = [
            f'separation:  {self.json_path(runner)}',
            f'picture:     {self.png_path(runner)}',
        ]
        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        if checkpoint:
            lines.insert(0, f'checkpoint:  {checkpoint}')
        runner.logger.info('Results\n' + '\n'.join(lines))

    @staticmethod
    def json_path(runner: Any) -> Path:
        """The record of the run."""
        return Path(runner.work_dir) / 'separation.json'

    @staticmethod
    def png_path(runner: Any) -> Path:
        """The picture of the run."""
        return Path(runner.work_dir) / 'separation.png'

    def _prepare(self, runner: Any) -> None:
        model = _unwrapped(runner.model)
        self.data = MeasuringData.from_dataloader(runner.val_dataloader, self.meter.seed)
        self.meter.classes = self.data.classes
        with undisturbed(model, self.meter.seed):
            batch = self.data.first(model)
            self._choose_forward_passes(runner, model, batch)
            self.forward.settle(model, batch.inputs)
            self.meter.prepare(model, batch, self.forward)
            self.data.choose(self.meter.sampler, self.meter.max_samples)
        passes = "the validation's" if self.forward_passes == 'validation' else 'its own'
        message = (
            f'SeparationHook measures {len(self.meter.chosen)} layers by '
            f'{self.meter.sampler.kind} samples of {len(self.data.images)} images, in '
            f'{passes} forward passes.'
        )
        if self.meter.skipped:
            message += f' Without such samples: {", ".join(self.meter.skipped)}.'
        runner.logger.info(message)

    def _choose_forward_passes(self, runner: Any, model: nn.Module, batch: Batch) -> None:
        sampler = build_sampler(self.meter.samples, batch.truths)
        reason = None
        if self.forward_passes != 'own':
            reason = refuse_validation_reading(runner, model, sampler)
        self.forward_passes = choose_forward_passes(self.forward_passes, reason)
        # The layers are found in the mode in which they will be read.
        mode = 'predict' if self.forward_passes == 'validation' else None
        self.forward = InferenceForward(getattr(runner.val_loop, 'fp16', False), mode)
        self.settings['forward_passes'] = self.forward_passes

    def _stop_reading(self) -> None:
        if self.reading is not None:
            self.reading.close()
            self.reading = None

    def _measure(self, runner: Any, reading: LayerReading | None = None) -> dict[str, float]:
        model = _unwrapped(runner.model)
        if reading is None:
            profile = self.meter.measure(model, self.data.batches(model), self.forward)
        else:
            profile = self.meter.analyse(reading)
        before = self.record.measurements[-1].profile if self.record.measurements else None
        epoch, iteration = _progress(runner)
        self.record.add(Measurement(epoch, iteration, profile))
        if is_main_process():
            self.record.save(self.json_path(runner))
            draw_separation(self.record, self.png_path(runner))
        runner.logger.info(f'Separation of the layers\n{format_table(profile, before)}')
        indices = {
            f'separation/{layer.name}': layer.index
            for layer in profile.layers
            if layer.index is not None
        }
        runner.message_hub.update_scalars(indices)
        by_iteration = isinstance(runner._train_loop, IterBasedTrainLoop)
        scalars = {**indices, **divided_indices(profile, self.class_scalars)}
        runner.visualizer.add_scalars(scalars, step=iteration if by_iteration else epoch)
        return indices


def divided_indices(profile: SeparationProfile, classes: bool = False) -> dict[str, float]:
    """Scalars of the sizes, and on demand of the classes, of every layer.

    Args:
        profile: The measurement.
        classes: Whether to give the classes too.
    """
    found = {}
    for layer in profile.layers:
        groups = dict(size=layer.per_size, **({'class': layer.per_class} if classes else {}))
        for group, parts in groups.items():
            for part, (index, _) in parts.items():
                found[f'separation/{layer.name}/{group}/{part}'] = index
    return found


def _progress(runner: Any) -> tuple[int, int]:
    """Epochs and iterations trained; none where only validation runs."""
    # runner.epoch would build the training loop of a run that only validates.
    if runner._train_loop is None or isinstance(runner._train_loop, dict):
        return 0, 0
    return runner.epoch, runner.iter


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
