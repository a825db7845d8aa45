"""A tiny classifier that tells dark from bright digits, trained in a moment."""

from pathlib import Path

import torch
from mmengine.config import Config

CONFIG = """
_base_ = '{root}/configs/_base_/default_runtime.py'

pipeline = [
    dict(type='Resize', scale=(16, 16)),
    dict(type='mmlayerwise.PackClassificationInputs'),
]
loader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
)
model = dict(
    type='mmlayerwise.ImageClassifier',
    data_preprocessor=dict(
        type='mmlayerwise.ClassificationDataPreprocessor', mean=[78.0], std=[95.7]
    ),
    backbone=dict(
        type='mmlayerwise.ResNetCIFAR', depth=18, in_channels=1, base_channels=8, stem_channels=8
    ),
    neck=dict(type='mmlayerwise.GlobalAveragePooling'),
    head=dict(type='mmlayerwise.LinearClsHead', num_classes=10, in_channels=64),
)
train_dataloader = dict(
    **loader,
    dataset=dict(type='mmlayerwise.Digits', split='train', pipeline=pipeline, indices=500),
)
val_dataloader = dict(
    **loader,
    dataset=dict(type='mmlayerwise.Digits', split='test', pipeline=pipeline, indices=100),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='mmlayerwise.Accuracy', topk=(1,))
test_evaluator = val_evaluator
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.005))
"""


def write_config(folder: Path) -> Path:
    """Write the config of the classifier."""
    root = Path(__file__).parents[2]
    path = folder / 'digits.py'
    path.write_text(CONFIG.format(root=root))
    return path


def load(path: Path, work_dir: Path) -> Config:
    """Read a config as the tools do."""
    cfg = Config.fromfile(path)
    cfg.work_dir, cfg.launcher = str(work_dir), 'none'
    return cfg


def state_of(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a checkpoint, read without unpickling code."""
    return torch.load(path, map_location='cpu', weights_only=True)['state_dict']
