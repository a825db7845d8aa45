"""What every valid prediction has in common, by task."""

from typing import Any

import torch

from tests.zoo.configs import NUM_SEMANTIC_CLASSES, NUM_THINGS

# mmdet: an instance's id in a panoptic map is its label + 1000 times its number.
_INSTANCE_OFFSET = 1000


def check_predictions(
    task: str, predictions: list[Any], image_size: int, boxes_leave_the_image: bool
) -> None:
    """Assert shapes, ranges and labels of the predictions of one batch."""
    check = {
        'det': _check_boxes,
        'inst': _check_masks,
        'pan': _check_panoptic,
        'sem': _check_semantic,
        'cls': _check_class,
        'text': _check_class,
    }[task]
    for sample in predictions:
        check(sample, image_size)
        if task in ('det', 'inst') and not boxes_leave_the_image:
            boxes = sample.pred_instances.bboxes
            assert ((boxes >= 0) & (boxes <= image_size)).all()


def predicted_tensors(task: str, predictions: list[Any]) -> list[torch.Tensor]:
    """The tensors that make up the predictions, for comparing two models."""
    fields = {
        'det': ('pred_instances.bboxes', 'pred_instances.scores', 'pred_instances.labels'),
        'inst': ('pred_instances.bboxes', 'pred_instances.scores', 'pred_instances.masks'),
        'pan': ('pred_panoptic_seg.sem_seg',),
        'sem': ('seg_logits.data', 'pred_sem_seg.data'),
        'cls': ('pred_score', 'pred_label'),
        'text': ('pred_score', 'pred_label'),
    }[task]
    return [_get(sample, path) for sample in predictions for path in fields]


def _get(sample: Any, path: str) -> Any:
    for name in path.split('.'):
        sample = getattr(sample, name)
    return sample


def _check_boxes(sample: Any, image_size: int) -> None:
    instances = sample.pred_instances
    count = len(instances)
    assert count > 0
    assert instances.bboxes.shape == (count, 4)
    assert instances.bboxes.isfinite().all()
    assert (instances.bboxes[:, 2:] >= instances.bboxes[:, :2]).all()
    assert instances.scores.shape == instances.labels.shape == (count,)
    assert ((instances.scores >= 0) & (instances.scores <= 1)).all()
    assert ((instances.labels >= 0) & (instances.labels < NUM_THINGS)).all()


def _check_masks(sample: Any, image_size: int) -> None:
    _check_boxes(sample, image_size)
    masks = sample.pred_instances.masks
    assert masks.dtype == torch.bool
    assert masks.shape == (len(sample.pred_instances), image_size, image_size)


def _check_panoptic(sample: Any, image_size: int) -> None:
    segments = sample.pred_panoptic_seg.sem_seg
    assert segments.shape == (1, image_size, image_size)
    labels = segments % _INSTANCE_OFFSET
    # The label after the last class is void.
    assert ((labels >= 0) & (labels <= NUM_SEMANTIC_CLASSES)).all()
    things = labels[segments >= _INSTANCE_OFFSET]
    assert (things < NUM_THINGS).all()
    stuff = labels[segments < _INSTANCE_OFFSET]
    assert (stuff >= NUM_THINGS).all()


def _check_semantic(sample: Any, image_size: int) -> None:
    labels, logits = sample.pred_sem_seg.data, sample.seg_logits.data
    assert labels.shape == (1, image_size, image_size)
    assert logits.shape == (NUM_SEMANTIC_CLASSES, image_size, image_size)
    assert logits.isfinite().all()
    assert torch.equal(labels[0], logits.argmax(0))


def _check_class(sample: Any, image_size: int) -> None:
    scores = sample.pred_score
    assert ((scores >= 0) & (scores <= 1)).all()
    torch.testing.assert_close(scores.sum(), torch.ones(()))
    assert sample.pred_label.item() == scores.argmax().item()
