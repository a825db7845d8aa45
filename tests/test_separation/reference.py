"""Independent references: the definitions, in float64 numpy, with the whole distance matrix."""

import numpy as np


def brute_force(features, k=1, groups=None):
    """Distances and indices of the k nearest other points, the lowest index first among equals."""
    x = np.asarray(features, dtype=np.float64)
    squared = ((x[:, None] - x[None]) ** 2).sum(-1)
    np.fill_diagonal(squared, np.inf)
    if groups is not None:
        groups = np.asarray(groups)
        squared[groups[:, None] == groups[None]] = np.inf
    order = np.argsort(squared, axis=1, kind='stable')[:, :k]
    return np.sqrt(np.take_along_axis(squared, order, 1)), order


def friends(features, labels, k=1, groups=None):
    """Whether each of the k nearest neighbours has the point's label."""
    labels = np.asarray(labels)
    return labels[brute_force(features, k, groups)[1]] == labels[:, None]


def roi_align(feature_map, box, stride, output_size):
    """RoIAlign of one box by its definition: bilinear samples, one at a time."""
    channels, height, width = feature_map.shape
    left, top, right, bottom = (value / stride - 0.5 for value in box)
    bin_height, bin_width = (bottom - top) / output_size, (right - left) / output_size
    rows, columns = max(1, int(np.ceil(bin_height))), max(1, int(np.ceil(bin_width)))
    result = np.zeros((channels, output_size, output_size))

    def sample(y, x):
        if y < -1 or y > height or x < -1 or x > width:
            return np.zeros(channels)
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        y0, x0 = int(y), int(x)
        y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
        dy, dx = y - y0, x - x0
        upper = feature_map[:, y0, x0] * (1 - dx) + feature_map[:, y0, x1] * dx
        lower = feature_map[:, y1, x0] * (1 - dx) + feature_map[:, y1, x1] * dx
        return upper * (1 - dy) + lower * dy

    for i in range(output_size):
        for j in range(output_size):
            for a in range(rows):
                for b in range(columns):
                    y = top + (i + (a + 0.5) / rows) * bin_height
                    x = left + (j + (b + 0.5) / columns) * bin_width
                    result[:, i, j] += sample(y, x) / (rows * columns)
    return result
