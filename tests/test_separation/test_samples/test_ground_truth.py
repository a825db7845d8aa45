import pytest
import torch

from mmlayerwise.separation import GroundTruth, SeparationError


@pytest.mark.parametrize(
    ('truth', 'message'),
    [
        (dict(label=-1), r'Label -1 \(gt_label of image 7\) is none of the 3 classes'),
        (dict(box_labels=torch.tensor([0, 3])), r'Label 3 \(gt_instances.labels of image 7\)'),
        (dict(label_map=torch.tensor([[255, 4]])), r'Label 4 \(gt_sem_seg of image 7\)'),
    ],
)
def test_labels_that_are_no_class_are_refused(truth, message):
    with pytest.raises(SeparationError, match=message):
        GroundTruth(7, **truth).check_labels(3)


def test_labels_of_classes_pass():
    GroundTruth(0, label=2, box_labels=torch.zeros(0)).check_labels(3)
    GroundTruth(0, label_map=torch.tensor([[255, 2, 0]])).check_labels(3)
    GroundTruth(0, label=7).check_labels(None)  # how many there are is not known
    with pytest.raises(SeparationError, match=r'is none: labels count from 0'):
        GroundTruth(0, label=-1).check_labels(None)
