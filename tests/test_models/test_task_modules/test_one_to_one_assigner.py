from itertools import permutations

import pytest
import torch
from mmengine.structures import InstanceData

pytest.importorskip('mmdet')

from mmlayerwise.models.task_modules import OneToOneAssigner


def intersection_over_union(a, b):
    width = (min(a[2], b[2]) - max(a[0], b[0])).clamp(min=0)
    height = (min(a[3], b[3]) - max(a[1], b[1])).clamp(min=0)
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize('seed', range(5))
def test_the_sum_of_qualities_is_the_highest_of_all_matchings(seed):
    torch.manual_seed(seed)
    boxes = torch.tensor([[0.0, 0, 20, 20], [10, 10, 30, 30], [5, 5, 25, 25]])
    labels = torch.tensor([0, 1, 1])
    priors = torch.cat([torch.rand(6, 2) * 10 + 10.0, torch.full((6, 2), 8.0)], 1)
    predicted = boxes[torch.arange(6) % 3] + torch.rand(6, 4) * 5
    scores = torch.rand(6, 2)
    result = OneToOneAssigner(alpha=0.8).assign(
        InstanceData(priors=priors, bboxes=predicted, scores=scores),
        InstanceData(bboxes=boxes, labels=labels),
    )

    def quality(row, one):
        overlap = intersection_over_union(predicted[row], boxes[one])
        return scores[row, labels[one]] ** 0.2 * overlap**0.8

    # Every cell's middle lies inside every box.
    best = max(
        permutations(range(6), 3), key=lambda rows: sum(quality(r, i) for i, r in enumerate(rows))
    )
    expected = [0] * 6
    for one, row in enumerate(best):
        expected[row] = one + 1
    assert result.gt_inds.tolist() == expected
    for row in best:
        one = result.gt_inds[row] - 1
        assert result.labels[row] == labels[one]
        overlap = intersection_over_union(predicted[row], boxes[one])
        assert result.max_overlaps[row] == pytest.approx(float(overlap))


def test_only_cells_inside_an_object_can_be_its_match():
    priors = torch.tensor([[5.0, 5, 8, 8], [50, 50, 8, 8]])
    boxes = torch.tensor([[40.0, 40, 60, 60], [90, 90, 95, 95]])
    result = OneToOneAssigner().assign(
        # The first cell predicts perfectly, but lies outside.
        InstanceData(
            priors=priors, bboxes=torch.stack([boxes[0], boxes[1]]), scores=torch.ones(2, 1)
        ),
        InstanceData(bboxes=boxes, labels=torch.tensor([0, 0])),
    )
    assert result.gt_inds.tolist() == [0, 1]
