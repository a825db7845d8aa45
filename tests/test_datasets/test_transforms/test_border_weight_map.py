import numpy as np
import pytest

pytest.importorskip('mmcv')
from mmlayerwise.datasets.transforms import BorderWeightMap


def weigh(labels: np.ndarray, **kwargs) -> np.ndarray:
    return BorderWeightMap(**kwargs).transform(dict(gt_seg_map=labels))['border_weight_map']


def three_cells() -> np.ndarray:
    labels = np.zeros((40, 48), np.uint8)
    labels[4:18, 5:20] = 1
    labels[6:20, 23:40] = 1
    labels[24:38, 8:30] = 1
    return labels


def brute_force(labels: np.ndarray, cells: list[np.ndarray], w0: float, sigma: float) -> np.ndarray:
    """Equation 2 of the paper, pixel by pixel over all pixels of all cells."""
    weights = np.zeros(labels.shape)
    for label in (0, 1):
        weights[labels == label] = labels.size / (2 * (labels == label).sum())
    for row, column in np.argwhere(labels == 0):
        nearest, second = sorted(
            np.sqrt(((np.argwhere(cell) - (row, column)) ** 2).sum(1).min()) for cell in cells
        )[:2]
        weights[row, column] += w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return weights


def test_map_is_the_equation_of_the_paper():
    labels = three_cells()
    cells = []
    for rows, columns in ((slice(0, 22), slice(0, 21)), (slice(0, 22), slice(21, 48))):
        cell = np.zeros(labels.shape, bool)
        cell[rows, columns] = labels[rows, columns] == 1
        cells.append(cell)
    cells.append((labels == 1) & ~cells[0] & ~cells[1])
    for sigma in (5.0, 2.0):
        expected = brute_force(labels, cells, 10.0, sigma)
        np.testing.assert_allclose(weigh(labels, sigma=sigma), expected, rtol=1e-5)


def test_gap_between_cells_weighs_more_than_open_background():
    weights = weigh(three_cells())
    assert weights[10, 21] > 5 + weights[39, 47]


def test_one_cell_has_no_border_term():
    labels = np.zeros((9, 9), np.uint8)
    labels[3:6, 3:6] = 1
    weights = weigh(labels)
    assert np.unique(weights[labels == 0]).size == np.unique(weights[labels == 1]).size == 1
    np.testing.assert_allclose(weights.mean(), 1, rtol=1e-6)


def test_given_class_weights_and_ignored_pixels():
    labels = np.array([[0, 1, 255]], np.uint8)
    assert weigh(labels, class_weights=[0.5, 3]).tolist() == [[0.5, 3, 0]]
