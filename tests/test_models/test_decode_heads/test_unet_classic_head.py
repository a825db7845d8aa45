import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

pytest.importorskip('mmseg')
from mmseg.structures import SegDataSample

from mmlayerwise.models.decode_heads import UNetClassicHead


def make_sample(labels: np.ndarray, weights: np.ndarray | None = None) -> SegDataSample:
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(labels)[None])
    if weights is not None:
        sample.border_weights = PixelData(data=torch.from_numpy(weights)[None])
    return sample


@pytest.mark.parametrize('weighted', [True, False])
def test_loss_is_the_weighted_cross_entropy_of_the_middle(weighted):
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 3, 4, 6))
    labels = random.integers(0, 3, (2, 8, 12))
    weights = random.uniform(1, 9, labels.shape).astype(np.float32)
    head = UNetClassicHead(3, num_classes=3, dropout_ratio=0.0)
    samples = [
        make_sample(a, b if weighted else None) for a, b in zip(labels, weights, strict=True)
    ]
    losses = head.loss_by_feat(torch.from_numpy(logits), samples)
    middle = np.s_[:, 2:6, 3:9]
    log_sum = np.log(np.exp(logits).sum(1))
    chosen = np.take_along_axis(logits, labels[middle][:, None], 1)[:, 0]
    expected = (log_sum - chosen) * (weights[middle] if weighted else 1)
    np.testing.assert_allclose(losses['loss_ce'].item(), expected.mean(), rtol=1e-6)
    accuracy = 100 * (logits.argmax(1) == labels[middle]).mean()
    np.testing.assert_allclose(losses['acc_seg'].item(), accuracy, rtol=1e-5)
