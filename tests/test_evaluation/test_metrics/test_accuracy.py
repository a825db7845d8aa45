import numpy as np
import pytest
import torch
from sklearn.metrics import top_k_accuracy_score

from mmlayerwise.evaluation import Accuracy
from mmlayerwise.registry import METRICS
from mmlayerwise.structures import ClassificationDataSample
from mmlayerwise.utils.errors import UserError


def as_dicts(scores: torch.Tensor, labels: torch.Tensor) -> list[dict]:
    return [
        ClassificationDataSample().set_gt_label(label).set_pred_score(score).to_dict()
        for score, label in zip(scores, labels, strict=True)
    ]


def evaluate(scores: torch.Tensor, labels: torch.Tensor, **kwargs) -> dict:
    metric = Accuracy(**kwargs)
    for part in torch.arange(len(labels)).split(7):
        metric.process(None, as_dicts(scores[part], labels[part]))
    return metric.evaluate(len(labels))


def test_agrees_with_scikit_learn():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 6, generator=generator).softmax(1)
    labels = torch.randint(6, (40,), generator=generator)
    actual = evaluate(scores, labels, topk=(1, 3))
    for k in (1, 3):
        expected = top_k_accuracy_score(labels, scores.double(), k=k, labels=np.arange(6))
        assert actual[f'accuracy/top{k}'] == pytest.approx(100 * expected)


def test_counts_by_hand():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1]])
    labels = torch.tensor([0, 1, 2, 2])
    assert evaluate(scores, labels, topk=(1, 2)) == {'accuracy/top1': 25.0, 'accuracy/top2': 75.0}


@pytest.mark.parametrize('value', [0.5, float('nan')])
def test_a_constant_or_broken_model_recognises_nothing(value):
    scores = torch.full((4, 2), value)
    assert evaluate(scores, torch.zeros(4, dtype=torch.long)) == {'accuracy/top1': 0.0}


def test_too_few_classes_are_explained():
    with pytest.raises(UserError, match='needs at least 5 classes, but the model predicts 3'):
        evaluate(torch.rand(2, 3), torch.zeros(2, dtype=torch.long), topk=(1, 5))


@pytest.mark.parametrize('topk', [0, (1, -1), ()])
def test_bad_topk_is_refused(topk):
    with pytest.raises(UserError, match='positive integers'):
        Accuracy(topk=topk)


def test_is_registered():
    assert isinstance(METRICS.build({'type': 'mmlayerwise.Accuracy'}), Accuracy)
