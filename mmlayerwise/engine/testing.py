"""The options of ``tools/test.py`` that change a config or a runner."""

import copy
import inspect
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from mmlayerwise.utils.errors import UserError

PICKLE_SUFFIXES = ('.pkl', '.pickle')


def load_checkpoint_from(cfg: Config, checkpoint: str) -> None:
    """Name the weights to test.

    Args:
        cfg: The config, changed in place.
        checkpoint: A file or an address.

    Raises:
        UserError: If the file does not exist.
    """
    if '://' not in checkpoint and not os.path.isfile(checkpoint):
        raise UserError(f'checkpoint {checkpoint!r} does not exist')
    cfg.load_from = checkpoint
    cfg.resume = False


def show_predictions(cfg: Config, show: bool, folder: str | None, wait_time: float) -> None:
    """Draw the predictions on the images.

    Args:
        cfg: The config, changed in place.
        show: Open a window for each picture.
        folder: Where to save the pictures; None saves none. For a detector it is relative to
            ``<work_dir>/<timestamp>``, as in mmdet.
        wait_time: How long a window stays open, in seconds.

    Raises:
        UserError: If the config has no visualization hook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise UserError(
            '--show and --show-dir need a hook that draws; add it to the config, for detection as '
            "default_hooks=dict(visualization=dict(type='mmdet.DetVisualizationHook')), for "
            "segmentation with type='mmseg.SegVisualizationHook'"
        )
    hook.draw = True
    if show:
        hook.show = True
        hook.wait_time = wait_time
    if folder is None:
        return
    if 'test_out_dir' in _parameters_of_hook(cfg, hook.type):
        hook.test_out_dir = folder
    else:
        cfg.visualizer.save_dir = folder


def enable_tta(cfg: Config) -> None:
    """Test with test-time augmentation.

    Args:
        cfg: The config, changed in place. ``tta_model`` and ``tta_pipeline`` say how; a detector
            without them is tested on the image and its mirror image, as in mmdet.

    Raises:
        UserError: If they are missing and the config is not a detector's.
    """
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if 'tta_model' not in cfg or 'tta_pipeline' not in cfg:
        if not _packs_detections(cfg):
            raise UserError('--tta needs tta_model and tta_pipeline in the config')
        print_log('--tta: the config does not say how, so images are also mirrored.', 'current')
        cfg.setdefault('tta_model', _flip_model())
        cfg.setdefault('tta_pipeline', _flip_pipeline(dataset.pipeline))
    cfg.model = ConfigDict(cfg.tta_model, module=cfg.model)
    dataset.pipeline = cfg.tta_pipeline


def save_predicted_maps(cfg: Config, folder: str) -> None:
    """Save the predicted segmentation maps as images.

    Args:
        cfg: The config, changed in place.
        folder: Where to save them.

    Raises:
        UserError: If the config's evaluator does not compare segmentation maps.
    """
    evaluators = cfg.test_evaluator
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    maps = [e for e in evaluators if str(e.get('type')).endswith('IoUMetric')]
    if not maps:
        raise UserError(
            f'--out {folder}: only segmentation writes its predictions to a folder; name a file '
            'ending in .pkl to have the predictions pickled'
        )
    for evaluator in maps:
        evaluator.output_dir = folder


def dump_predictions(runner: Runner, path: str) -> None:
    """Pickle the predictions after the test.

    Args:
        runner: A runner that is about to test.
        path: The file, ending in .pkl or .pickle. Instance masks are run-length encoded.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    dump = DumpResults
    if _packs_detections(runner.cfg):
        from mmdet.evaluation import DumpDetResults as dump
    runner.test_evaluator.metrics.append(dump(out_file_path=path))


def _parameters_of_hook(cfg: Config, name: str) -> set[str]:
    """Return the names of a hook's arguments."""
    with HOOKS.switch_scope_and_registry(cfg.get('default_scope', 'mmengine')) as registry:
        hook = registry.get(name)
    return set() if hook is None else set(inspect.signature(hook).parameters)


def _packs_detections(cfg: Config) -> bool:
    """Tell whether the test data are a detector's."""
    dataset = cfg.test_dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    steps = dataset.get('pipeline') or []
    return any(str(step.get('type')).endswith('PackDetInputs') for step in _flatten(steps))


def _flatten(steps: list) -> list[dict]:
    """Return the transforms of a pipeline, those inside TestTimeAug included."""
    flat = []
    for step in steps:
        if isinstance(step, list):
            flat += _flatten(step)
        else:
            flat += [step, *_flatten(step.get('transforms', []))]
    return flat


def _flip_model() -> dict[str, Any]:
    """Return mmdet's way to merge the detections of several views."""
    import mmdet.models  # noqa: F401  (registers the model, and in mmengine's own scope)

    return {
        'type': 'DetTTAModel',
        'tta_cfg': {'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 100},
    }


def _flip_pipeline(pipeline: list[dict]) -> list[dict]:
    """Return a pipeline that feeds each image as it is and mirrored."""
    pack = copy.deepcopy(pipeline[-1])
    keys = ['img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor']
    pack['meta_keys'] = (*keys, 'flip', 'flip_direction')
    flips = [{'type': 'mmdet.RandomFlip', 'prob': prob} for prob in (1.0, 0.0)]
    views = {'type': 'TestTimeAug', 'transforms': [flips, [pack]]}
    return [*copy.deepcopy(pipeline[:-1]), views]
