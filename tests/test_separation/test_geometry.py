import numpy as np
import pytest
import torch

from mmlayerwise.separation.geometry import as_feature_map, roi_align, stride_of
from tests.test_separation import reference


@pytest.mark.parametrize(
    ('size', 'cells', 'stride'),
    [(64, 16, 4), (50, 13, 4), (224, 7, 32), (33, 5, 7), (32, 64, 0.5), (100, 30, 100 / 30)],
)
def test_stride_is_whole_where_a_strided_convolution_gives_that_many_cells(size, cells, stride):
    assert stride_of((size, size), (cells, cells)) == (pytest.approx(stride),) * 2


def test_tokens_are_laid_out_as_the_map_they_came_from():
    grid = torch.randn(2, 3, 4, 6)
    tokens = grid.flatten(2).transpose(1, 2)
    size = (32, 48)
    assert torch.equal(as_feature_map(tokens, size), grid)
    with_class = torch.cat([torch.zeros(2, 1, 3), tokens], 1)
    assert torch.equal(as_feature_map(with_class, size), grid)
    assert as_feature_map(tokens[:, :5], size) is None
    assert as_feature_map(torch.zeros(2, 3), size) is None


@pytest.mark.parametrize('output_size', [1, 3])
@pytest.mark.parametrize('stride', [4, 8])
def test_roi_align_equals_its_definition(stride, output_size):
    generator = torch.Generator().manual_seed(0)
    feature_map = torch.randn(3, 9, 12, generator=generator)
    boxes = torch.tensor(
        [
            [0, 0, 12 * stride, 9 * stride],  # everything
            [3.3, 7.1, 30.2, 33.9],
            [5, 5, 6, 6],  # within a cell
            [11 * stride, 8 * stride, 12 * stride, 9 * stride],  # the last cell
        ]
    )
    found = roi_align(feature_map, boxes, (stride, stride), output_size)
    for box, pooled in zip(boxes.tolist(), found, strict=True):
        expected = reference.roi_align(feature_map.double().numpy(), box, stride, output_size)
        np.testing.assert_allclose(pooled.numpy(), expected, atol=1e-5)


def test_roi_align_of_no_boxes():
    assert roi_align(torch.zeros(3, 4, 4), torch.zeros(0, 4), (8, 8), 2).shape == (0, 3, 2, 2)
