"""A config's model and data, ready to be measured."""

import copy
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from rich.progress import track
from torch import nn

from mmlayerwise.engine import testing
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.engine.separation import InferenceForward, MeasuringData
from mmlayerwise.separation import Batch, SeparationMeter, SeparationProfile, undisturbed
from mmlayerwise.utils.errors import UserError

# What measuring does not use.
_UNUSED = (
    'train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler',
    'test_dataloader', 'test_cfg', 'test_evaluator', 'custom_hooks',
)  # fmt: skip


class MeasuredModel:
    """A model with the data that it is measured on.

    Args:
        cfg: A whole config, as :func:`mmlayerwise.engine.launch.load_config` returns it; changed
            in place.
        checkpoint: File or address of the weights; None takes the initial ones.
        seed: Of the choice of images.

    Attributes:
        model: Without a distributed wrapper.
        data: The validation data.
        forward: Runs the model on preprocessed data.
        logger: Of the run.
        batch: The first images; there after :meth:`prepare`.

    Raises:
        UserError: If the config has no validation data, or names, checkpoint or data are wrong.
    """

    def __init__(self, cfg: Config, checkpoint: str | None, seed: int = 0) -> None:
        if cfg.get('val_dataloader') is None:
            raise UserError(
                f'{cfg.filename} has no val_dataloader; the layers are measured on validation data'
            )
        if checkpoint is not None:
            testing.load_checkpoint_from(cfg, checkpoint)
        for key in _UNUSED:
            cfg.pop(key, None)
        runner = build_runner(cfg, splits=('val',))
        if checkpoint is None:
            runner._init_model_weights()
        runner.load_or_resume()
        self.model: nn.Module = (
            runner.model.module if is_model_wrapper(runner.model) else runner.model
        )
        self.data = MeasuringData.from_dataloader(runner.val_dataloader, seed)
        self.forward = InferenceForward(getattr(runner.val_loop, 'fp16', False))
        self.logger: MMLogger = runner.logger
        self.batch: Batch | None = None

    def prepare(self, meter: SeparationMeter) -> None:
        """Settle what a meter measures, and on which images."""
        meter.classes = self.data.classes
        with undisturbed(self.model, meter.seed):
            self.batch = self.data.first(self.model)
            self.forward.settle(self.model, self.batch.inputs)
            meter.prepare(self.model, self.batch, self.forward)
            self.data.choose(meter.sampler, meter.max_samples)
        if meter.skipped:
            self.logger.info(f'Without {meter.sampler.kind} samples: {", ".join(meter.skipped)}.')

    def measure(self, meter: SeparationMeter) -> SeparationProfile:
        """Measure in one pass, with a progress bar; :meth:`prepare` comes first."""
        number = len(meter.chosen)
        batches = track(
            self.data.batches(self.model),
            f'Reading {number} layer{"" if number == 1 else "s"} of {len(self.data.images)} images',
            total=self.data.num_batches(),
            disable=not is_main_process(),
        )
        return meter.measure(self.model, batches, self.forward)


def prepare_output(measured: MeasuredModel, meter: SeparationMeter, layer: str | None) -> str:
    """Settle a meter on one layer: the named one, or the feature extractor's output.

    That is the last output of the neck for samples that are images, and of the backbone for others
    and for models without a neck.

    Args:
        measured: The model.
        meter: A meter; its layers are set.
        layer: Name of a layer, or None.

    Returns:
        Name of the layer.

    Raises:
        UserError: If no layer is named and the model has no backbone.
    """
    children = dict(measured.model.named_children())
    if layer is None and 'backbone' not in children:
        raise UserError(
            f'{type(measured.model).__name__} has no backbone whose output could be measured; '
            f'name a layer, one of {", ".join(children)} or inside of them'
        )
    meter.layers = [layer or 'backbone']
    measured.prepare(meter)
    if layer is None and meter.sampler.kind == 'image' and 'neck' in children:
        meter.layers = ['neck']
        measured.prepare(meter)
    meter.chosen = meter.chosen[-1:]
    return meter.chosen[0].name


def use_training_data(cfg: Config) -> None:
    """Measure on the training images, through the validation pipeline: nothing is augmented.

    Wrappers that repeat, mix or balance the images are left out.

    Args:
        cfg: The config, changed in place.

    Raises:
        UserError: If it has no training data.
    """
    if cfg.get('train_dataloader') is None or cfg.get('val_dataloader') is None:
        raise UserError(f'{cfg.filename} has no train_dataloader or no val_dataloader')
    inner = _innermost(cfg.val_dataloader.dataset)
    dataset = _with_pipeline(cfg.train_dataloader.dataset, inner.get('pipeline'))
    cfg.val_dataloader.dataset = dataset


def use_data_of(cfg: Config, target: Config) -> None:
    """Measure on the data of another config.

    Args:
        cfg: The config of the model, changed in place.
        target: The config of the data: its data loaders, pipelines and evaluator are taken.
    """
    scope = target.get('default_scope')
    for key in ('train_dataloader', 'val_dataloader', 'val_evaluator', 'val_cfg'):
        value = copy.deepcopy(target.get(key))
        if key.endswith('dataloader') and value is not None and scope != cfg.get('default_scope'):
            value.dataset._scope_ = scope
        if key == 'val_evaluator' and scope != cfg.get('default_scope'):
            for metric in value if isinstance(value, list | tuple) else [value]:
                metric._scope_ = scope
        cfg[key] = value


def _innermost(dataset: ConfigDict) -> ConfigDict:
    """The data set within wrappers; of several the first."""
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.dataset if 'dataset' in dataset else dataset.datasets[0]
    return dataset


def _with_pipeline(dataset: ConfigDict, pipeline: Any) -> ConfigDict:
    """A data set's config without wrappers that change images, with another pipeline."""
    scope = dataset.get('_scope_')
    while 'dataset' in dataset:
        dataset = dataset.dataset
    dataset = copy.deepcopy(dataset)
    if 'datasets' in dataset:
        dataset.datasets = [_with_pipeline(one, pipeline) for one in dataset.datasets]
    elif pipeline is not None:
        dataset.pipeline = copy.deepcopy(pipeline)
    if scope is not None:
        dataset._scope_ = scope
    return dataset
