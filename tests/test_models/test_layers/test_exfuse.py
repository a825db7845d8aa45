import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mmlayerwise.models.layers.exfuse import DenselyAdjacentPrediction, SemanticEmbeddingBranch


@pytest.mark.parametrize('window', [1, 3, 5])
def test_each_position_is_the_average_of_what_its_neighbours_predict(window):
    generator = np.random.default_rng(0)
    classes, height, width, reach = 2, 4, 6, window // 2
    predictions = generator.normal(size=(classes, window, window, height, width))
    expected = np.zeros((classes, height, width))
    for row, column in np.ndindex(height, width):
        heard = [
            predictions[:, row - i + reach, column - j + reach, i, j]
            for i, j in np.ndindex(height, width)
            if abs(row - i) <= reach and abs(column - j) <= reach
        ]
        expected[:, row, column] = np.mean(heard, axis=0)
    inputs = torch.from_numpy(predictions).reshape(1, -1, height, width)
    torch.testing.assert_close(
        DenselyAdjacentPrediction(window)(inputs)[0], torch.from_numpy(expected)
    )


def test_neighbours_that_agree_are_believed():
    scores = torch.randn(1, 3, 5, 7).double()
    # Position p says in channel d what the scores are at p + d.
    predictions = F.unfold(scores, 3, padding=1).reshape(1, 27, 5, 7)
    torch.testing.assert_close(DenselyAdjacentPrediction()(predictions), scores)


@torch.no_grad()
def test_branch_multiplies_by_all_coarser_maps():
    torch.manual_seed(0)
    branch = SemanticEmbeddingBranch(3, (4, 5)).double()
    fine = torch.randn(2, 3, 7, 9).double()
    coarser = [torch.randn(2, 4, 4, 5).double(), torch.randn(2, 5, 2, 3).double()]
    expected = fine
    for coarse, conv in zip(coarser, branch.convs, strict=True):
        convolved = F.conv2d(coarse, conv.weight, conv.bias, padding=1)
        expected = expected * F.interpolate(convolved, (7, 9), mode='bilinear')
    torch.testing.assert_close(branch(fine, coarser), expected)


@torch.no_grad()
def test_branch_starts_near_passing_the_fine_map_through():
    torch.manual_seed(0)
    branch = SemanticEmbeddingBranch(8, (64, 128))
    branch.init_weights()
    fine = torch.randn(2, 8, 12, 12)
    output = branch(fine, [torch.rand(2, 64, 6, 6), torch.rand(2, 128, 3, 3)])
    torch.testing.assert_close(output, fine, rtol=0.2, atol=0)
    for conv in branch.convs:
        conv.weight.zero_()
    assert torch.equal(branch(fine, [torch.rand(2, 64, 6, 6), torch.rand(2, 128, 3, 3)]), fine)
