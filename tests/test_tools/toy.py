"""A model, data and metric small enough to test command lines with; `custom_imports` finds them."""

import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset


@DATASETS.register_module()
class ToyDataset(Dataset):
    """Points labelled by the sign of their first coordinate."""

    def __init__(self, size=8):
        self.points = torch.randn(size, 4, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return len(self.points)

    def __getitem__(self, index):
        return dict(inputs=self.points[index], label=int(self.points[index, 0] > 0))


@MODELS.register_module()
class ToyClassifier(BaseModel):
    def __init__(self, sync_bn=False):
        super().__init__()
        self.norm = (nn.SyncBatchNorm if sync_bn else nn.BatchNorm1d)(4)
        self.linear = nn.Linear(4, 2)

    def forward(self, inputs, label, mode='tensor'):
        logits = self.linear(self.norm(inputs))
        if mode == 'loss':
            return dict(loss=functional.cross_entropy(logits, label))
        return [dict(pred=row.argmax(), label=y) for row, y in zip(logits, label, strict=True)]


@METRICS.register_module()
class ToyAccuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [float(s['pred'] == s['label']) for s in data_samples]

    def compute_metrics(self, results):
        return dict(accuracy=sum(results) / len(results))
