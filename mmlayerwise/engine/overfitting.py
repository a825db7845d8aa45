"""Whether a network can learn a few images by heart, the first thing to ask of an implementation.

A config keeps its model, losses and targets; data, schedule and hooks are replaced: the same few
images are trained on without augmentation and judged, until the metric passes a target.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from PIL import Image

from mmlayerwise.engine.from_scratch import set_classes, start_untrained
from mmlayerwise.utils.errors import UserError
from mmlayerwise.utils.files import write_atomically

CONFIGS = Path(__file__).parents[1] / '.mim' / 'configs'
DETECTION_METRIC, SEGMENTATION_METRIC = 'coco/bbox_mAP_50', 'mIoU'


@dataclass(frozen=True)
class OverfitSettings:
    """How to overfit.

    Attributes:
        num_images: Images to learn, one batch.
        image_size: (width, height) in pixels that the images are scaled to.
        keep_ratio: Scale them to fit into the size rather than to fill it.
        crop: (left, top, width, height) in pixels of the window of every frame that a segmentor
            learns and is judged by; whole frames by default.
        max_iterations: Steps after which to give up.
        interval: Steps between two evaluations.
        learning_rate: Of Adam.
        target: Share of the metric to reach: mAP at IoU 0.5, or mean IoU.
        model: Changes of the model by dotted key, such as ``{'backbone.depth': 18}``.
        seed: Of the initialisation.
    """

    num_images: int = 4
    image_size: tuple[int, int] = (256, 256)
    keep_ratio: bool = True
    crop: tuple[int, int, int, int] | None = None
    max_iterations: int = 600
    interval: int = 50
    learning_rate: float = 1e-3
    target: float = 0.9
    model: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def reduced(self) -> bool:
        """Whether the model is not the config's own."""
        return bool(self.model)


def prepare_overfitting(cfg: Config, settings: OverfitSettings) -> str:
    """Turn a config into one that learns a few images by heart.

    Args:
        cfg: A detector's or segmentor's config with ``work_dir``, changed in place. The images come
            from coco_mini or CamVid below ``MMLAYERWISE_DATA_ROOT``.
        settings: How to overfit.

    Returns:
        Name of the metric to watch.

    Raises:
        UserError: If the config is neither a detector's nor a segmentor's, or the window of
            ``settings.crop`` is not one of a segmentor's frames.
    """
    scope = _scope(cfg)
    if settings.crop and scope != 'mmseg':
        raise UserError("crop is for segmentors' frames; a detector's images stay whole")
    start_untrained(cfg)
    if 'visualizer' in cfg:
        # By a fixed name it would be that of an earlier run in the process, with its folder.
        cfg.visualizer.pop('name', None)
    if scope == 'mmdet':
        metric, target = DETECTION_METRIC, settings.target
        classes = _feed_detector(cfg, settings)
    else:
        metric, target = SEGMENTATION_METRIC, 100 * settings.target
        classes = _feed_segmentor(cfg, settings)
    set_classes(cfg, classes)
    cfg.merge_from_dict({f'model.{key}': value for key, value in settings.model.items()})
    _replace_schedule(cfg, settings, metric, target)
    return metric


def _scope(cfg: Config) -> str:
    scope = cfg.get('default_scope', 'mmengine')
    if scope not in ('mmdet', 'mmseg'):
        raise UserError(
            f'overfitting takes the config of a detector (default_scope mmdet) or of a segmentor '
            f'(mmseg), not one of {scope!r}'
        )
    return scope


def _feed_detector(cfg: Config, settings: OverfitSettings) -> tuple[str, ...]:
    """Give the detector a few images of coco_mini; returns the classes on them."""
    data = Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'coco_mini.py')
    annotations = Path(data.data_root, 'annotations', 'instances_train2017.json')
    if not annotations.is_file():
        raise UserError(
            f'{annotations} does not exist; set MMLAYERWISE_DATA_ROOT to the folder of coco_mini'
        )
    subset = choose_images(json.loads(annotations.read_text()), settings.num_images)
    path = Path(cfg.work_dir, 'overfit_annotations.json').absolute()
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(subset))
    classes = tuple(category['name'] for category in subset['categories'])
    resize = _resize(settings)
    load, boxes = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)
    keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
    for split, pipeline in (
        ('train', [load, boxes, resize, dict(type='PackDetInputs')]),
        # Boxes loaded last stay in the coordinates of the file, as predictions are.
        ('val', [load, resize, boxes, dict(type='PackDetInputs', meta_keys=keys)]),
    ):
        dataset = dict(
            type='CocoDataset',
            data_root=data.data_root,
            ann_file=str(path),
            data_prefix=dict(img='train2017/'),
            metainfo=dict(classes=classes),
            test_mode=split == 'val',
            pipeline=pipeline,
        )
        cfg[f'{split}_dataloader'] = _loader(dataset, settings.num_images, split == 'train')
    if _mode_switches(cfg):
        # What the hook asks to stop augmenting.
        loader = cfg.train_dataloader
        loader.dataset = dict(type='MultiImageMixDataset', dataset=loader.dataset, pipeline=[])
    cfg.val_evaluator = dict(type='CocoMetric', ann_file=str(path), metric='bbox')
    return classes


def choose_images(annotations: dict[str, Any], count: int) -> dict[str, Any]:
    """Take the first images of a COCO file whose objects a small network can tell apart.

    Args:
        annotations: Content of a COCO annotation file.
        count: How many images.

    Returns:
        The same with only these images, their boxes and the classes on them. Each has one to six
        objects, none a crowd and none below a hundredth of the image.

    Raises:
        UserError: If there are not so many.
    """
    boxes = {image['id']: [] for image in annotations['images']}
    for box in annotations['annotations']:
        boxes[box['image_id']].append(box)
    chosen = []
    for image in annotations['images']:
        smallest = 0.01 * image['width'] * image['height']
        objects = boxes[image['id']]
        if 1 <= len(objects) <= 6 and all(
            not box.get('iscrowd') and box['bbox'][2] * box['bbox'][3] >= smallest
            for box in objects
        ):
            chosen.append(image)
        if len(chosen) == count:
            break
    if len(chosen) < count:
        raise UserError(f'only {len(chosen)} images with one to six large objects, {count} wanted')
    kept = [box for image in chosen for box in boxes[image['id']]]
    present = {box['category_id'] for box in kept}
    return {
        'images': chosen,
        'annotations': kept,
        'categories': [one for one in annotations['categories'] if one['id'] in present],
    }


def _feed_segmentor(cfg: Config, settings: OverfitSettings) -> tuple[str, ...]:
    """Give the segmentor a few frames of CamVid; returns the classes."""
    data = Config.fromfile(CONFIGS / '_base_' / 'datasets' / 'camvid.py')
    frames = dict(data.train_dataloader.dataset, indices=settings.num_images)
    if settings.crop:
        frames.update(_cut_windows(frames, settings.crop, Path(cfg.work_dir, 'windows')))
    resize = _resize(settings)
    load, labels = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    pack = dict(type='PackSegInputs')
    for split, pipeline in (
        ('train', [load, labels, resize, pack]),
        ('val', [load, resize, labels, pack]),
    ):
        dataset = dict(frames, pipeline=pipeline)
        cfg[f'{split}_dataloader'] = _loader(dataset, settings.num_images, split == 'train')
    cfg.val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
    preprocessor = cfg.model.data_preprocessor
    if preprocessor.get('size') is not None:
        preprocessor['size'] = tuple(reversed(settings.image_size))
    cfg.model.test_cfg = dict(mode='whole')
    from mmlayerwise.datasets import CamVidDataset

    return tuple(CamVidDataset.METAINFO['classes'])


def _cut_windows(
    frames: dict[str, Any], crop: tuple[int, int, int, int], folder: Path
) -> dict[str, Any]:
    """Write the same window of every frame and label map; returns where the data set finds them."""
    from mmlayerwise.datasets import CamVidDataset

    shutil.rmtree(folder, ignore_errors=True)
    settings = {key: value for key, value in frames.items() if key not in ('type', 'pipeline')}
    infos = list(CamVidDataset(**settings))
    prefix = dict(img_path='img_dir', seg_map_path='ann_dir')
    for key, name in prefix.items():
        cut_windows((Path(info[key]) for info in infos), crop, folder / name)
    return dict(data_root=str(folder), data_prefix=prefix, img_suffix='.png')


def cut_windows(paths: Iterable[Path], crop: tuple[int, int, int, int], folder: Path) -> None:
    """Cut the same window out of images or label maps, pixel by pixel.

    Args:
        paths: The files.
        crop: (left, top, width, height) of the window in pixels.
        folder: Gets a PNG of the same stem for every file.

    Raises:
        UserError: If the window is not within an image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left, top, width, height = crop
    box = (left, top, left + width, top + height)
    for path in paths:
        with Image.open(path) as image:
            if min(crop) < 0 or not (left < box[2] <= image.width and top < box[3] <= image.height):
                raise UserError(
                    f'crop: the window (left, top, width, height) = {tuple(crop)} is not within '
                    f'{path.name} of {image.width}x{image.height} pixels'
                )
            image.crop(box).save(folder / f'{path.stem}.png')


def _resize(settings: OverfitSettings) -> dict[str, Any]:
    scale = tuple(settings.image_size)
    return dict(type='Resize', scale=scale, keep_ratio=settings.keep_ratio)


def _loader(dataset: dict[str, Any], batch_size: int, training: bool) -> dict[str, Any]:
    # Annotations are few, so all images come in every batch, in one order.
    sampler = dict(type='InfiniteSampler' if training else 'DefaultSampler', shuffle=False)
    return dict(batch_size=batch_size, num_workers=0, sampler=sampler, dataset=dataset)


def _mode_switches(cfg: Config) -> list[dict[str, Any]]:
    """The hook by which YOLOX ends its training: no augmentation, and an L1 loss of the boxes.

    Overfitting begins there. The IoU loss alone has no gradient for a box that has left its object.
    """
    hooks = cfg.get('custom_hooks') or []
    return [hook for hook in hooks if hook['type'].endswith('YOLOXModeSwitchHook')]


def _replace_schedule(cfg: Config, settings: OverfitSettings, metric: str, target: float) -> None:
    cfg.optim_wrapper = dict(
        type='OptimWrapper',
        optimizer=dict(type='Adam', lr=settings.learning_rate),
        clip_grad=dict(max_norm=35.0),
    )
    warmup = max(1, settings.max_iterations // 20)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=warmup),
        dict(
            type='CosineAnnealingLR',
            eta_min=0.02 * settings.learning_rate,
            by_epoch=False,
            begin=warmup,
            end=settings.max_iterations,
        ),
    ]
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop',
        max_iters=settings.max_iterations,
        val_interval=settings.interval,
    )
    cfg.val_cfg = dict(type='ValLoop')
    cfg.test_dataloader, cfg.test_evaluator, cfg.test_cfg = None, None, None
    stop = dict(
        type='EarlyStoppingHook',
        monitor=metric,
        rule='greater',
        stopping_threshold=target,
        patience=settings.max_iterations,
        strict=False,
    )
    cfg.custom_hooks = [stop, *_mode_switches(cfg)]
    logger = dict(type='LoggerHook', interval=settings.interval, log_metric_by_epoch=False)
    cfg.default_hooks = dict(checkpoint=None, logger=logger)
    cfg.log_processor = dict(type='LogProcessor', by_epoch=False, window_size=settings.interval)
    cfg.randomness = dict(seed=settings.seed)
    cfg.auto_scale_lr = None
    cfg.tta_model = None
