import pytest
import torch

from mmlayerwise.separation import BoxSamples, GroundTruth, SeparationError

BOXES = torch.tensor([[0.0, 0, 16, 16], [16, 8, 32, 24], [40, 40, 90, 90], [5, 5, 5, 9]])


def box_truth(image=0):
    labels = torch.tensor([1, 2, 1, 0])
    return GroundTruth(image, (64, 64), boxes=BOXES, box_labels=labels)


def test_boxes_are_clipped_and_empty_ones_left_out():
    found = BoxSamples().candidates(box_truth(), seed=0)
    assert found.places.tolist() == [[0, 0, 16, 16], [16, 8, 32, 24], [40, 40, 64, 64]]
    assert found.labels.tolist() == [1, 2, 1]
    assert len(BoxSamples(max_per_image=2).candidates(box_truth(), seed=0).labels) == 2


def test_box_samples_pool_the_cells_under_the_box():
    sampler = BoxSamples(output_size=2)
    truths = [box_truth(0), GroundTruth(1, (64, 64), boxes=BOXES[:0], box_labels=torch.zeros(0))]
    batch = [sampler.candidates(truth, seed=0) for truth in truths]
    # A plane: every bin's mean is the value at the bin's centre.
    column = torch.arange(16).float() + 0.5
    output = (column[None, :] * 4).expand(16, 16)[None, None].repeat(2, 1, 1, 1)
    found = sampler.extract(output, batch, (64, 64))
    assert found.features.shape == (3, 4)
    assert torch.allclose(found.features[1], torch.tensor([20.0, 28, 20, 28]))
    assert found.images.tolist() == [0, 0, 0]


def test_pooling_a_box_sets_its_bins():
    sampler = BoxSamples(output_size=5)
    found = [sampler.pooled(pooling).output_size for pooling in ('flatten', 'average', 2)]
    assert found == [5, 1, 2]
    with pytest.raises(SeparationError, match="'flatten', 'average' or a grid size, got 'auto'"):
        sampler.pooled('auto')


def test_areas_are_those_of_the_original_image():
    truth = box_truth()
    truth.scale = (2.0, 4.0)
    assert BoxSamples().candidates(truth, seed=0).areas.tolist() == [32, 32, 72]


def test_boxes_of_a_class_may_be_capped():
    found = BoxSamples(max_per_class=1).candidates(box_truth(), seed=0)
    assert sorted(found.labels.tolist()) == [1, 2]


@pytest.mark.parametrize('name', ['output_size', 'max_per_image', 'max_images', 'max_per_class'])
def test_limits_below_one_are_refused(name):
    with pytest.raises(SeparationError, match=f'{name} must be at least 1, got 0'):
        BoxSamples(**{name: 0})


def test_unknown_levels_are_refused():
    with pytest.raises(SeparationError, match="levels must be 'all' or 'assigned', got 'own'"):
        BoxSamples(levels='own')


def test_assigned_levels_need_a_pyramid():
    with pytest.raises(SeparationError, match=r"Conv2d has no feature pyramid .* levels='all'"):
        BoxSamples(levels='assigned').for_model(torch.nn.Conv2d(1, 1, 1))
    assert BoxSamples().for_model(torch.nn.Conv2d(1, 1, 1)).levels == 'all'
