import numpy as np
import pytest
import torch

from mmlayerwise.structures import ClassificationDataSample


@pytest.mark.parametrize('label', [3, np.int64(3), [3], np.array([3]), torch.tensor(3)])
def test_label_becomes_a_tensor_of_one_index(label):
    sample = ClassificationDataSample().set_gt_label(label).set_pred_label(label)
    for tensor in (sample.gt_label, sample.pred_label):
        assert tensor.dtype == torch.int64
        assert tensor.tolist() == [3]


def test_scores_are_kept():
    scores = torch.tensor([0.25, 0.75])
    assert ClassificationDataSample().set_pred_score(scores).pred_score is scores


def test_scores_of_a_batch_are_refused():
    with pytest.raises(ValueError, match=r'shape \(num_classes,\), but has \(1, 2\)'):
        ClassificationDataSample().set_pred_score(torch.zeros(1, 2))


def test_converts_to_a_dict_of_its_fields():
    sample = ClassificationDataSample(metainfo={'sample_idx': 7}).set_gt_label(1)
    assert sample.to_dict().keys() == {'sample_idx', 'gt_label'}
