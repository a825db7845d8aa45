import numpy as np
import pytest
import torch

from mmlayerwise.models.heads import LinearClsHead
from mmlayerwise.structures import ClassificationDataSample
from mmlayerwise.utils.errors import UserError

SMOOTHED = {'type': 'torch.nn.CrossEntropyLoss', 'label_smoothing': 0.1}


def samples(*labels: int) -> list[ClassificationDataSample]:
    return [ClassificationDataSample().set_gt_label(label) for label in labels]


def reference_cross_entropy(logits: np.ndarray, labels: list[int], smoothing: float) -> float:
    """Szegedy et al. 2016, equation (7), in float64."""
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    num_classes = logits.shape[1]
    targets = np.eye(num_classes)[labels] * (1 - smoothing) + smoothing / num_classes
    return float(-(targets * log_probabilities).sum(1).mean())


@pytest.mark.parametrize(('loss', 'smoothing'), [(None, 0.0), (SMOOTHED, 0.1)])
def test_loss_is_the_cross_entropy(loss, smoothing):
    torch.manual_seed(0)
    head = LinearClsHead(5, 8, loss_weight=0.5, **({'loss': loss} if loss else {}))
    features, labels = torch.randn(4, 8), [0, 4, 2, 2]
    actual = head.loss((features,), samples(*labels))['loss_cls'].item()
    weight, bias = (p.detach().double().numpy() for p in (head.fc.weight, head.fc.bias))
    logits = features.double().numpy() @ weight.T + bias
    expected = 0.5 * reference_cross_entropy(logits, labels, smoothing)
    assert actual == pytest.approx(expected, rel=1e-6)


def test_loss_of_any_registered_kind():
    mmdet_loss = pytest.importorskip('mmdet.models.losses')
    head = LinearClsHead(3, 4, loss={'type': 'mmdet.CrossEntropyLoss', 'loss_weight': 2.0})
    assert isinstance(head.loss_module, mmdet_loss.CrossEntropyLoss)
    features = (torch.randn(2, 4),)
    expected = 2 * torch.nn.functional.cross_entropy(head(features), torch.tensor([0, 2]))
    torch.testing.assert_close(head.loss(features, samples(0, 2))['loss_cls'], expected)


def test_predicts_probabilities_and_the_likeliest_class():
    head = LinearClsHead(3, 3)
    torch.nn.init.eye_(head.fc.weight)
    torch.nn.init.zeros_(head.fc.bias)
    predictions = head.predict((torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]),))
    assert [sample.pred_label.tolist() for sample in predictions] == [[1], [0]]
    expected = np.exp([0, 2, 1]) / np.exp([0, 2, 1]).sum()
    np.testing.assert_allclose(predictions[0].pred_score.detach(), expected, rtol=1e-5)


def test_predictions_are_written_to_the_given_samples():
    given = samples(2, 0)
    predicted = LinearClsHead(3, 4).predict((torch.randn(2, 4),), given)
    assert all(a is b for a, b in zip(given, predicted, strict=True))
    assert given[0].gt_label.item() == 2


def test_flattens_and_takes_the_chosen_features():
    head = LinearClsHead(2, 12, in_index=0)
    chosen = torch.randn(1, 3, 2, 2)
    torch.testing.assert_close(head((chosen, torch.randn(1, 5))), head.fc(chosen.flatten(1)))


def test_labels_beyond_num_classes_are_explained():
    head = LinearClsHead(10, 4)
    with pytest.raises(UserError, match=r'range from 3 to 57, but the head has num_classes=10'):
        head.loss((torch.randn(2, 4),), samples(57, 3))


def test_no_classes_are_refused():
    with pytest.raises(UserError, match='num_classes must be at least 1, but is 0'):
        LinearClsHead(0, 4)
