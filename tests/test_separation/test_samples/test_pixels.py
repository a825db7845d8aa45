import pytest
import torch

from mmlayerwise.separation import GroundTruth, PixelSamples, SeparationError
from mmlayerwise.separation.samples import majority_label


def test_majority_label_of_cells_with_ignore_and_ties():
    label_map = torch.tensor([[1, 1, 255, 255], [1, 2, 255, 3], [2, 1, 3, 3], [1, 2, 0, 4]])
    truth = GroundTruth(0, (4, 4), label_map=label_map)
    cells = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert majority_label(truth, cells, (2.0, 2.0)).tolist() == [1, 255, 1, 3]
    assert majority_label(truth, torch.tensor([[3, 3]]), (1.0, 1.0)).tolist() == [4]


def test_majority_label_leaves_out_what_lies_beyond_the_map():
    label_map = torch.full((5, 5), 2)
    label_map[4, 4] = 9
    truth = GroundTruth(0, (5, 5), label_map=label_map)
    assert majority_label(truth, torch.tensor([[1, 1]]), (4.0, 4.0)).tolist() == [9]


def test_pixel_samples_take_each_cell_once_with_its_majority():
    label_map = torch.zeros(32, 32, dtype=torch.int64)
    label_map[:, 16:] = 1
    label_map[:8, :8] = 255
    truth = GroundTruth(3, (32, 32), label_map=label_map)
    sampler = PixelSamples(max_per_image=400)
    candidates = sampler.candidates(truth, seed=0)
    assert candidates.labels.bincount().tolist() == [200, 200]
    assert (label_map[candidates.places[:, 0], candidates.places[:, 1]] != 255).all()
    output = torch.arange(16.0).view(1, 1, 4, 4)  # the cell's number
    found = sampler.extract(output, [candidates], (32, 32))
    cells = found.features[:, 0].long()
    assert set(cells.tolist()) == set(range(1, 16))  # cell 0 is ignored
    assert torch.equal(found.labels, (cells % 4 >= 2).long())
    assert torch.equal(found.cells - found.cells.min() + 1, cells)


def test_pixels_of_a_class_may_be_capped():
    label_map = torch.zeros(32, 32, dtype=torch.int64)
    label_map[:2] = 1
    sampler = PixelSamples(max_per_image=400, max_per_class=30)
    found = sampler.candidates(GroundTruth(0, (32, 32), label_map=label_map), seed=0)
    assert found.labels.bincount().tolist() == [30, 30]
    with pytest.raises(SeparationError, match='max_per_class must be at least 1'):
        PixelSamples(max_per_class=0)


def test_there_is_nothing_to_pool_in_a_pixel():
    with pytest.raises(SeparationError, match='a pixel is one vector as it is'):
        PixelSamples().pooled('average')
