"""What ``tools/compress.py`` does: from a config and a checkpoint to smaller ones."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.head_fit import FittedHead, fit_head, has_replaceable_head, pooling_of
from mmlayerwise.compression.head_search import HeadSearch
from mmlayerwise.compression.plan import CompressionPlan
from mmlayerwise.compression.planner import CompressionPlanner, Planned
from mmlayerwise.compression.reading import LayerReader, Progress
from mmlayerwise.compression.settings import PlannerSettings
from mmlayerwise.engine import compressed_files as files
from mmlayerwise.engine.launch import build_runner
from mmlayerwise.engine.planning_data import PlanningBatches, training_data
from mmlayerwise.engine.separation import InferenceForward
from mmlayerwise.engine.testing import load_checkpoint_from
from mmlayerwise.separation.samples import ImageSamples
from mmlayerwise.utils.checkpoint_check import PRUNING_KEY, load_safely
from mmlayerwise.utils.environment import describe_environment
from mmlayerwise.utils.errors import UserError
from mmlayerwise.visualization.compression_report import CompressionPage, write_compression_report


@dataclass(frozen=True)
class CompressionOptions:
    """Options of a compression beside the planner's.

    Args:
        samples: What is compared, see :class:`mmlayerwise.separation.SeparationMeter`.
        max_samples: At most so many samples decide.
        head_samples: At most so many images teach a new fully connected part.
        head: How it is chosen.
        batch_size: Images a forward pass; by default as in validation.
        test: Whether both models are tested.
        overwrite: Whether an earlier compression in the folder may be replaced.
    """

    samples: str | dict = 'auto'
    max_samples: int = 2000
    head_samples: int = 10000
    head: HeadSearch = field(default_factory=HeadSearch)
    batch_size: int | None = None
    test: bool = True
    overwrite: bool = False


@dataclass
class SmallerModel:
    """A model made smaller.

    Attributes:
        model: The smaller model.
        planned: What went, and what was measured.
        head: The new fully connected part, if there is one.
        blocks_after: Block -> its separation in the smaller model, as far as it is still there.
        input_size: Height and width that it was traced with.
    """

    model: nn.Module
    planned: Planned
    head: FittedHead | None
    blocks_after: list[tuple[str, Agreement]]
    input_size: tuple[int, int]


@dataclass
class Compressed:
    """What came out.

    Attributes:
        result: The smaller model and its plan.
        before: Metrics of the original on the test data; empty if it was not tested.
        after: Likewise of the smaller model.
    """

    result: SmallerModel
    before: dict[str, float]
    after: dict[str, float]


def compress(
    cfg: Config,
    name: str,
    checkpoint: str,
    folder: Path,
    settings: PlannerSettings | None = None,
    options: CompressionOptions | None = None,
    progress: Progress | None = None,
) -> Compressed:
    """Compress a trained model and write config, plan, weights and report into a folder.

    Decisions are made on training images; the test data only judge the result.

    Args:
        cfg: A whole config, as :func:`mmlayerwise.engine.launch.load_config` returns it.
        name: The config's name, which the new config inherits.
        checkpoint: File of the weights.
        folder: Where the results go, all or nothing.
        settings: What the planner may do.
        options: The rest.
        progress: Called as ``progress(text, done, total)``.

    Raises:
        UserError: If config, checkpoint, data or folder are wrong, the index is at chance level,
            or the budget cannot be met.
    """
    settings, options = settings or PlannerSettings(), options or CompressionOptions()
    files.check_folder(folder, options.overwrite)
    original = copy.deepcopy(cfg)
    pruned = _earlier_plans(checkpoint)
    runner = _runner(cfg, checkpoint, 'original')
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    before = dict(runner.test()) if options.test and cfg.get('test_dataloader') else {}
    result = plan_and_carry_out(cfg, model, settings, options, progress)
    plan = result.planned.plan
    plan.settings = _described(name, checkpoint, settings, options)
    with files.whole_folder(folder) as temporary:
        plan.save(temporary / files.PLAN)
        meta = {'dataset_meta': _plain(_metainfo(checkpoint)), 'compression': plan.instructions()}
        files.write_weights(result.model, meta, temporary / files.WEIGHTS)
        files.write_config(
            temporary / files.CONFIG, original, name, [*pruned, plan], result.input_size
        )
        after = _test_again(temporary, cfg) if before else {}
        page = CompressionPage(
            title=f'Compression of {Path(name).stem}',
            plan=plan,
            blocks=[(one.name, one.agreement) for one in result.planned.blocks],
            blocks_after=result.blocks_after,
            refused=result.planned.refused,
            before=before,
            after=after,
            head=result.head,
            environment=describe_environment(),
        )
        write_compression_report(page, temporary / files.REPORT)
    _say(runner.logger, page, folder)
    return Compressed(result, before, after)


def plan_and_carry_out(
    cfg: Config,
    model: nn.Module,
    settings: PlannerSettings,
    options: CompressionOptions,
    progress: Progress | None = None,
) -> SmallerModel:
    """Plan on the training images of a config and make the smaller model.

    Args:
        cfg: A whole config.
        model: The trained model; it is left as it was found.
        settings: What the planner may do.
        options: What is measured, and how a new fully connected part is learned.
        progress: Called as ``progress(text, done, total)``.
    """
    data = training_data(cfg, options.batch_size, settings.seed)
    batches = PlanningBatches(data, model, options.samples, options.max_samples, settings.seed)
    forward = InferenceForward()
    reader = LayerReader(
        batches, forward, batches.sampler, max_samples=options.max_samples, seed=settings.seed
    )
    size = reader.first.input_size
    planned = CompressionPlanner(reader, settings, size, progress).plan(model)
    plan, head = planned.plan, None
    whole = isinstance(reader.sampler, ImageSamples)  # texts too
    if not plan.empty and whole and has_replaceable_head(model):
        named = {block.name: block for block in planned.blocks}
        end = named[plan.cut] if plan.cut else planned.blocks[-1]
        positions = reader.read_one(model, end.layer).features.shape[2]
        data = training_data(cfg, options.batch_size, settings.seed)
        more = PlanningBatches(data, model, reader.sampler, options.head_samples, settings.seed)
        pool = pooling_of(end.layer.shape, positions)
        small, head = fit_head(model, plan, more, forward, options.head, pool, size)
    else:
        small = copy.deepcopy(model)
        apply_plan(small, plan, size)
    plan.savings = apply_plan(copy.deepcopy(model), plan, size).savings
    after = measure_blocks(reader, small, [block.name for block in planned.blocks])
    return SmallerModel(small, planned, head, after, size)


def measure_blocks(
    reader: LayerReader, model: nn.Module, names: Sequence[str]
) -> list[tuple[str, Agreement]]:
    """Separation of those blocks that a model still has."""
    trace = reader.trace(model)
    found = {layer.name: layer for name in names for layer in trace.outputs(name)}
    layers = [found[name] for name in names if name in found and reader.accepts(found[name])]
    return [
        (layer.name, samples.agreement(max_memory=reader.max_memory))
        for layer, samples in reader.read(model, layers)
    ]


def check_fits(checkpoint: str, model: nn.Module) -> None:
    """Make sure that a checkpoint fills a model: a share of random weights would be measured.

    Raises:
        UserError: If it does not; the message names parameters that differ.
    """
    found = load_safely(checkpoint, map_location='cpu')
    weights = found.get('state_dict', found)
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    wrong = [
        f'{key} {tuple(weights[key].shape) if key in weights else "is missing"} instead of '
        f'{tuple(value.shape)}'
        for key, value in model.named_parameters()
        if getattr(weights.get(key), 'shape', None) != value.shape
    ]
    if wrong:
        shown = '; '.join(wrong[:3])
        raise UserError(
            f'{checkpoint} does not fit the config: {len(wrong)} of '
            f'{len(list(model.parameters()))} parameters differ ({shown}). Give the checkpoint '
            'that was trained with this config, or the config of this checkpoint'
        )


def _runner(cfg: Config, checkpoint: str, purpose: str) -> Runner:
    cfg = copy.deepcopy(cfg)
    load_checkpoint_from(cfg, checkpoint)
    cfg.experiment_name = f'{Path(cfg.filename).stem}_{purpose}'
    splits = ('train', 'test') if cfg.get('test_dataloader') else ('train',)
    runner = build_runner(cfg, splits=splits)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    pruned = bool(_earlier_plans(checkpoint))
    if not pruned:  # before the loader tells the same at length
        check_fits(checkpoint, model)
    runner.load_or_resume()
    if pruned:  # SeparationPruningHook has made the model as small as the checkpoint
        check_fits(checkpoint, model)
    return runner


def _test_again(folder: Path, cfg: Config) -> dict[str, float]:
    """Test from the written files, as ``tools/test.py`` will."""
    written = Config.fromfile(folder / files.CONFIG)
    written.work_dir, written.launcher = cfg.work_dir, cfg.launcher
    load_checkpoint_from(written, str(folder / files.WEIGHTS))
    written.experiment_name = f'{Path(cfg.filename).stem}_compressed'
    return dict(build_runner(written, splits=('test',)).test())


def _earlier_plans(checkpoint: str) -> list[CompressionPlan]:
    """What a training with SeparationPruningHook removed."""
    if not Path(checkpoint).is_file():
        return []  # said where it is loaded
    found = load_safely(checkpoint, map_location='cpu')
    entries = found.get(PRUNING_KEY, ()) if isinstance(found, dict) else ()
    return [CompressionPlan.from_dict(entry['plan']) for entry in entries]


def _metainfo(checkpoint: str) -> dict[str, Any]:
    meta = load_safely(checkpoint, map_location='cpu').get('meta') or {}
    return meta.get('dataset_meta') or {}


def _plain(value: Any) -> Any:
    """Without types that a reader of tensors only would refuse."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, 'tolist'):
        return value.tolist()
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def _described(
    name: str, checkpoint: str, settings: PlannerSettings, options: CompressionOptions
) -> dict[str, Any]:
    return {
        'config': name,
        'checkpoint': checkpoint,
        'criterion': settings.criterion,
        'budget': settings.budget,
        'budget_of': settings.budget_of,
        'cut': settings.cut,
        'least_gain': settings.significance.least,
        'z': settings.significance.z,
        'map_tolerance': settings.map_tolerance,
        'max_drop': settings.max_drop,
        'drop_limit': settings.drop_limit,
        'samples': options.samples,
        'max_samples': options.max_samples,
        'head_samples': options.head_samples,
        'seed': settings.seed,
        'torch': torch.__version__,
    }


def _say(logger: MMLogger, page: CompressionPage, folder: Path) -> None:
    lines = ['Before and after', *page.table_lines(), 'Results']
    for label, file in (
        ('config', files.CONFIG),
        ('weights', files.WEIGHTS),
        ('plan', files.PLAN),
        ('report', files.REPORT),
    ):
        lines.append(f'{label + ":":<10} {folder / file}')
    logger.info('\n'.join(lines))
