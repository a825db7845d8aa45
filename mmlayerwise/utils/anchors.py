"""Anchor shapes by k-means with the IoU distance (YOLOv2, section 2, dimension clusters)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.progress import track

from mmlayerwise.utils.errors import UserError

MAX_ITERATIONS = 300


def collect_box_sizes(dataset: Any, input_size: tuple[int, int]) -> np.ndarray:
    """Read the sizes of all true boxes of a data set.

    Args:
        dataset: A data set of mmdet, or a wrapper of such; its images are not loaded.
        input_size: Width and height of the network's input, into which images are fitted with
            their ratio kept.

    Returns:
        Widths and heights in pixels of the input, float64 of shape (B, 2).

    Raises:
        UserError: The data set does not tell the sizes of its images, or has no boxes.
    """
    while not hasattr(dataset, 'get_data_info') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    sizes = [
        size
        for index in track(range(len(dataset)), description='reading boxes')
        for size in _sizes_of_image(dataset.get_data_info(index), input_size)
    ]
    if not sizes:
        raise UserError('the training data of the config has no boxes to cluster')
    return np.asarray(sizes, dtype=np.float64)


def _sizes_of_image(
    info: dict[str, Any], input_size: tuple[int, int]
) -> Iterator[tuple[float, float]]:
    if 'width' not in info or 'height' not in info:
        raise UserError(
            f'the data set does not tell width and height of its images (it tells {sorted(info)}); '
            'anchors need a data set in the style of mmdet, such as CocoDataset or VOCDataset'
        )
    scale = min(input_size[0] / info['width'], input_size[1] / info['height'])
    for instance in info.get('instances', ()):
        x1, y1, x2, y2 = instance['bbox']
        if not instance.get('ignore_flag') and x2 > x1 and y2 > y1:
            yield (x2 - x1) * scale, (y2 - y1) * scale


def shape_overlaps(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Compute the IoU of boxes with a common centre.

    Args:
        sizes: Widths and heights, of shape (B, 2).
        anchors: Widths and heights, of shape (K, 2).

    Returns:
        Float64 of shape (B, K).
    """
    overlap = np.minimum(sizes[:, None], anchors).prod(-1)
    return overlap / (sizes.prod(-1)[:, None] + anchors.prod(-1) - overlap)


def cluster_anchors(
    sizes: np.ndarray, num_anchors: int, restarts: int = 10, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Cluster box sizes by k-means with the distance 1 - IoU.

    Args:
        sizes: Widths and heights, of shape (B, 2).
        num_anchors: Number of clusters.
        restarts: How many random starts to take the best result of.
        seed: Of the random starts.

    Returns:
        Anchors ordered by area, float64 of shape (num_anchors, 2), and the mean IoU of the boxes
        with their nearest anchor.

    Raises:
        UserError: There are fewer different sizes than anchors.
    """
    different = np.unique(sizes, axis=0)
    if not 1 <= num_anchors <= len(different):
        raise UserError(
            f'cannot find {num_anchors} anchors among {len(different)} different box sizes; ask '
            f'for 1 to {len(different)}'
        )
    generator = np.random.default_rng(seed)
    best_anchors, best_overlap = different[:num_anchors], -1.0
    for _ in track(range(restarts), description='clustering'):
        start = generator.choice(len(different), num_anchors, replace=False)
        anchors = _lloyd(sizes, different[start])
        overlap = float(shape_overlaps(sizes, anchors).max(1).mean())
        if overlap > best_overlap:
            best_anchors, best_overlap = anchors, overlap
    return best_anchors[np.argsort(best_anchors.prod(-1))], best_overlap


def _lloyd(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Assign to the nearest anchor and average until nothing changes; an empty one stays."""
    nearest = None
    for _ in range(MAX_ITERATIONS):
        previous, nearest = nearest, shape_overlaps(sizes, anchors).argmax(1)
        if previous is not None and np.array_equal(previous, nearest):
            break
        counts = np.bincount(nearest, minlength=len(anchors))[:, None]
        sums = np.stack(
            [np.bincount(nearest, weights=side, minlength=len(anchors)) for side in sizes.T], 1
        )
        anchors = np.where(counts > 0, sums / np.maximum(counts, 1), anchors)
    return anchors
