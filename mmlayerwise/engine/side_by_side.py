"""Systems of one kind, made small, trained with the same short budget on the same data.

A comparison is a YAML file: a base config of the data, the budget, and the systems with what makes
each of them small. All see the same images in the same order under the same schedule.
"""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner
from torch import nn

from mmlayerwise.compression.flops import measure_cost
from mmlayerwise.engine.from_scratch import set_classes, start_untrained
from mmlayerwise.engine.launch import build_runner, find_config
from mmlayerwise.engine.scalar_log import curve_of, read_scalars
from mmlayerwise.engine.speed import measure_speed
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.meta_device import meta_device


@dataclass(frozen=True)
class ComparedSystem:
    """One system of a comparison.

    Attributes:
        name: What the table calls it.
        config: Its config, as on a command line.
        full_size: (height, width) in pixels of the images of the config, for its cost.
        model: Changes that make the model small, by dotted key.
        scale: (width, height) in pixels that the images are scaled to where the system cannot
            take them as they are.
        learning_rate: Where it differs from the comparison's.
        note: What a reader of the table must know.
    """

    name: str
    config: str
    full_size: tuple[int, int]
    model: dict[str, Any] = field(default_factory=dict)
    scale: tuple[int, int] | None = None
    learning_rate: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        name: Of the folder of results, and of the table's markers in the document.
        dataset: Base config with the loaders and evaluators.
        document: Markdown file with the table.
        metrics: Column of the table -> the evaluator's name of the metric.
        image_size: (height, width) in pixels of the data's images.
        iterations: Training steps.
        batch_size: Images a step.
        learning_rate: Peak of AdamW's.
        systems: What is compared.
        speed_images: Test images to time.
        seed: Of initialisation and order.
        decimals: Of the metrics in the table.
    """

    name: str
    dataset: str
    document: str
    metrics: dict[str, str]
    image_size: tuple[int, int]
    iterations: int
    batch_size: int
    learning_rate: float
    systems: tuple[ComparedSystem, ...]
    speed_images: int = 40
    seed: int = 0
    decimals: int = 3

    @classmethod
    def load(cls, path: str | Path) -> 'Comparison':
        """Read a comparison.

        Args:
            path: The YAML file; ``systems`` maps names to their settings.

        Raises:
            UserError: It is no such file, or a key is unknown or missing.
        """
        path = Path(path)
        try:
            values = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f'cannot read the comparison: {error}') from error
        if not isinstance(values, dict) or not isinstance(values.get('systems'), dict):
            raise UserError(f'{path}: expected a mapping with `systems`, a mapping of names')
        systems = tuple(
            _make(ComparedSystem, {'name': name, **(one or {})}, f'{path}: {name}')
            for name, one in values['systems'].items()
        )
        values = {'name': path.stem, **values, 'systems': systems}
        return _make(cls, values, str(path))

    def choose(self, names: Iterable[str] | None) -> tuple[ComparedSystem, ...]:
        """The systems of some names, in the comparison's order; all by default.

        Raises:
            UserError: There is no system of a name.
        """
        if names is None:
            return self.systems
        known = [one.name for one in self.systems]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UserError(f'no system {", ".join(unknown)}; choose from {", ".join(known)}')
        return tuple(one for one in self.systems if one.name in names)


def _make(kind: type, values: dict[str, Any], where: str) -> Any:
    known = {one.name for one in fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UserError(
            f'{where}: unknown key {", ".join(unknown)}; choose from {", ".join(sorted(known))}'
        )
    try:
        return kind(**values)
    except TypeError as error:
        raise UserError(f'{where}: {str(error).partition(") ")[2] or error}') from error


def run_system(comparison: Comparison, system: ComparedSystem, work_dir: str) -> dict[str, Any]:
    """Train a system with the comparison's budget, test it, time it, and count its cost.

    Args:
        comparison: The comparison.
        system: One of its systems.
        work_dir: For the log.

    Returns:
        The result for a JSON file.
    """
    cfg = prepare(comparison, system, work_dir)
    full_size = cost_of_config(Config.fromfile(find_config(system.config)), system.full_size)
    width, height = system.scale or comparison.image_size[::-1]
    runner = build_runner(copy.deepcopy(cfg), splits=('train', 'test'))
    started, cpu_started = time.perf_counter(), time.process_time()
    runner.train()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    metrics = runner.test()
    return {
        'system': system.name,
        'config': system.config,
        'metrics': choose_metrics(metrics, comparison.metrics),
        'frames_per_second': time_images(runner, comparison.speed_images),
        'trained': {'input': [height, width], **cost_of_config(cfg, (height, width))},
        'full_size': {'input': list(system.full_size), **full_size},
        'budget': {
            'iterations': comparison.iterations,
            'batch_size': comparison.batch_size,
            'learning_rate': system.learning_rate or comparison.learning_rate,
            'seed': comparison.seed,
        },
        'model': system.model,
        'loss': curve_of(read_scalars(runner), 'loss'),
        'seconds': round(seconds, 1),
        'cpu_seconds': round(cpu_seconds, 1),
        'environment': describe_environment(),
    }


def prepare(comparison: Comparison, system: ComparedSystem, work_dir: str) -> Config:
    """Make the config of a run: the system's model, made small, with the comparison's data.

    Args:
        comparison: The comparison.
        system: One of its systems.
        work_dir: For the log.

    Returns:
        The config.

    Raises:
        UserError: There is no comparison of systems of the config's toolbox.
    """
    cfg = Config.fromfile(find_config(system.config))
    scope = cfg.get('default_scope', 'mmengine')
    if scope not in ADAPTERS:
        raise UserError(
            f'{system.config} has default_scope {scope!r}; systems of {" and ".join(ADAPTERS)} can '
            'be compared'
        )
    start_untrained(cfg)
    data = Config.fromfile(find_config(comparison.dataset))
    for key in ('train_dataloader', 'test_dataloader', 'test_evaluator'):
        cfg[key] = copy.deepcopy(data[key])
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=comparison.batch_size)
    if system.scale:
        resize = dict(type=f'{scope}.Resize', scale=tuple(system.scale), keep_ratio=False)
        _insert_resize(cfg.train_dataloader.dataset.pipeline, resize, training=True)
        _insert_resize(cfg.test_dataloader.dataset.pipeline, resize, training=False)
    ADAPTERS[scope](cfg, comparison)
    cfg.merge_from_dict({f'model.{key}': value for key, value in system.model.items()})
    _replace_schedule(cfg, comparison, system)
    cfg.work_dir, cfg.launcher = work_dir, 'none'
    return cfg


def _insert_resize(pipeline: list[dict], resize: dict, training: bool) -> None:
    """Scale behind loading; in testing the truth stays in the coordinates of the file."""
    pipeline[:] = [one for one in pipeline if not one['type'].endswith('Resize')]
    pipeline.insert(2 if training else 1, resize)


def _adapt_detector(cfg: Config, comparison: Comparison) -> None:
    """Nothing but the classes is particular to detectors."""
    set_classes(cfg, _classes(cfg))


def _adapt_segmentor(cfg: Config, comparison: Comparison) -> None:
    """A segmentor knows the size of its training images; it tests on whole ones."""
    set_classes(cfg, _classes(cfg))
    preprocessor = cfg.model.data_preprocessor
    if preprocessor.get('size') is not None:
        preprocessor['size'] = tuple(comparison.image_size)
    cfg.model.test_cfg = dict(mode='whole')


# What the systems of a toolbox need, by its scope.
ADAPTERS: dict[str, Callable[[Config, Comparison], None]] = {
    'mmdet': _adapt_detector,
    'mmseg': _adapt_segmentor,
}


def _classes(cfg: Config) -> tuple[str, ...]:
    dataset = DATASETS.get(cfg.train_dataloader.dataset.type)
    return tuple(dataset.METAINFO['classes'])


def _replace_schedule(cfg: Config, comparison: Comparison, system: ComparedSystem) -> None:
    rate = system.learning_rate or comparison.learning_rate
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler', shuffle=True)
    cfg.optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=rate, weight_decay=0.05),
        clip_grad=dict(max_norm=20),
    )
    cfg.param_scheduler = dict(
        type='OneCycleLR', eta_max=rate, total_steps=comparison.iterations, by_epoch=False
    )
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=comparison.iterations)
    cfg.test_cfg = dict(type='TestLoop')
    cfg.val_dataloader, cfg.val_evaluator, cfg.val_cfg = None, None, None
    interval = max(1, comparison.iterations // 10)
    logger = dict(type='LoggerHook', interval=interval, log_metric_by_epoch=False)
    cfg.default_hooks = dict(checkpoint=None, logger=logger)
    # Without a name of its own a visualizer would be that of the system before.
    cfg.visualizer = dict(type='mmengine.Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    cfg.log_processor = dict(type='LogProcessor', by_epoch=False, window_size=interval)
    cfg.custom_hooks, cfg.auto_scale_lr, cfg.tta_model = [], None, None
    cfg.randomness = dict(seed=comparison.seed)


def cost_of_config(cfg: Config, size: tuple[int, int]) -> dict[str, float]:
    """Count parameters and multiply-adds of a config's model without memory for its weights.

    Args:
        cfg: The config.
        size: Height and width of an image in pixels.

    Returns:
        ``parameters`` and ``multiply_adds`` of convolutions and linear layers for one image.
    """
    start_untrained(cfg)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        with meta_device():
            model = MODELS.build(copy.deepcopy(cfg.model))
        cost = measure_cost(model, tuple(size))
    return {'parameters': cost.parameters, 'multiply_adds': round(cost.flops)}


def choose_metrics(measured: dict[str, float], names: dict[str, str]) -> dict[str, float]:
    """Take the metrics of the table.

    Args:
        measured: What the evaluator gave; mmdet's gives nothing where nothing was detected.
        names: Column of the table -> name of the metric.

    Returns:
        Column -> value; zeros where nothing was detected.

    Raises:
        UserError: The evaluator gave others.
    """
    missing = sorted(set(names.values()) - set(measured))
    if measured and missing:
        known = ', '.join(sorted(measured))
        raise UserError(f'the evaluator gives no {", ".join(missing)}; choose from {known}')
    return {column: float(measured.get(name, 0.0)) for column, name in names.items()}


def time_images(runner: Runner, count: int) -> float:
    """Time a trained model on the first test images, as ``tools/analysis_tools/benchmark.py`` does.

    Without an accelerator the processor's time counts, so that other programs don't matter.

    Returns:
        Images a second.
    """
    dataset = runner.test_loop.dataloader.dataset
    batches = (pseudo_collate([dataset[index]]) for index in range(min(count, len(dataset))))
    on_cpu = next(runner.model.parameters()).device.type == 'cpu'
    clock = time.process_time if on_cpu else time.perf_counter
    *_, speed = measure_speed(_unwrapped(runner.model), batches, count, clock=clock)
    return round(1 / speed.median_seconds, 2)


def _unwrapped(model: nn.Module) -> nn.Module:
    return getattr(model, 'module', model)
