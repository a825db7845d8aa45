"""A small classifier of noisy images that draws random numbers everywhere."""

import random

import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.registry import DATASETS, MODELS
from torch import nn
from torch.utils.data import Dataset

from tests.test_robustness import toy  # noqa: F401  (the hooks)


@DATASETS.register_module(force=True)
class NoisyImages(Dataset):
    """Images of three classes with noise from all three generators.

    Args:
        size: Number of images.
    """

    metainfo = {'classes': ('a', 'b', 'c')}

    def __init__(self, size: int = 24):
        self.size = size

    def __len__(self):
        return self.size

    def get_data_info(self, index):
        return dict(gt_label=index % 3)

    def __getitem__(self, index):
        noise = random.random() + np.random.rand() + torch.rand(1, 6, 6)
        noise[:, :, index % 3] += 1 + index / self.size
        return {'inputs': noise, 'labels': torch.tensor(index % 3)}


@MODELS.register_module(force=True)
class StackingPreprocessor(BaseDataPreprocessor):
    """Makes batches of lists."""

    def forward(self, data, training=False):
        data = self.cast_data(data)
        return {key: torch.stack(list(value)) for key, value in data.items()}


@MODELS.register_module(force=True)
class BlockClassifier(BaseModel):
    """Two blocks with batch normalisation and dropout."""

    def __init__(self):
        super().__init__(dict(type='StackingPreprocessor'))
        self.blocks = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2),
            nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
        )  # fmt: skip
        self.fc = nn.Linear(16, 3)

    def forward(self, inputs, labels=None, mode='tensor'):
        scores = self.fc(self.blocks(inputs))
        if mode == 'loss':
            return {'loss': nn.functional.cross_entropy(scores, labels)}
        return scores
