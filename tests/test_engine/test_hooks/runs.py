"""Quickstart configs cut down to seconds."""

from copy import deepcopy
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

QUICKSTART = Path(__file__).parents[3] / 'configs' / 'quickstart'

RETINANET = dict(
    _delete_=True,
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(
        type='ResNet', depth=18, base_channels=8, out_indices=(1, 2, 3), norm_eval=False
    ),
    neck=dict(type='FPN', in_channels=[16, 32, 64], out_channels=16, num_outs=3),
    bbox_head=dict(
        type='RetinaHead',
        num_classes=10,
        in_channels=16,
        feat_channels=16,
        stacked_convs=2,
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=1,
            ratios=[1.0],
            strides=[8, 16, 32],
        ),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0.0] * 4, target_stds=[1.0] * 4
        ),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True),
        loss_bbox=dict(type='L1Loss'),
    ),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        sampler=dict(type='PseudoSampler'),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=50, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5),
        max_per_img=10,
    ),
)  # fmt: skip


def tiny_config(task, work_dir, hook=None, **options):
    """A quickstart config on a few images for two epochs (or four iterations).

    Args:
        task: ``detection``, ``segmentation`` or ``classification``.
        work_dir: Where results go.
        hook: Arguments of the SeparationHook; None leaves the hook out.
        **options: Merged into the config.
    """
    cfg = Config.fromfile(QUICKSTART / f'{task}.py')
    cfg.work_dir = str(work_dir)
    cfg.custom_hooks = [] if hook is None else [dict(type='mmlayerwise.SeparationHook', **hook)]
    small = dict(num_workers=0, persistent_workers=False, batch_size=4)
    sizes = dict(indices=24) if task == 'classification' else dict(num_scenes=8)
    train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2, val_interval=1, _delete_=True)
    if task == 'segmentation':
        train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2, _delete_=True)
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=2)
    else:
        cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=1)
    if task == 'detection':
        cfg.merge_from_dict(dict(model=deepcopy(RETINANET)))
    cfg.param_scheduler = None
    for split in ('train', 'val'):
        cfg.merge_from_dict({f'{split}_dataloader': dict(small, dataset=sizes)})
    cfg.merge_from_dict(dict(train_cfg=train_cfg))
    cfg.merge_from_dict(options)
    return cfg


def forget_earlier_runs():
    """Runs of one second share a name, and by it mmengine would share their log."""
    visualizers = Visualizer, *Visualizer.__subclasses__()
    for singletons in (MMLogger, MessageHub, DefaultScope, *visualizers):
        singletons._instance_dict.clear()


def runner_of(cfg):
    """Build a runner that knows nothing of earlier ones."""
    forget_earlier_runs()
    return Runner.from_cfg(cfg)


def log_of(work_dir):
    """The text of the latest log."""
    return max(Path(work_dir).glob('*/*.log')).read_text()
