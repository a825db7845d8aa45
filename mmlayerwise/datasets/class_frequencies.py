"""How often classes occur in label maps, and the weights that make up for it."""

from collections.abc import Iterable

import numpy as np

from mmlayerwise.utils.errors import UserError


def count_class_pixels(label_maps: Iterable[np.ndarray], num_classes: int) -> np.ndarray:
    """Count the pixels of each class in each image.

    Args:
        label_maps: Integer arrays of shape (H, W); labels outside the classes are left out.
        num_classes: Number of classes.

    Returns:
        int64 array of shape (images, num_classes).
    """
    rows = []
    for labels in label_maps:
        kept = labels[(labels >= 0) & (labels < num_classes)]
        rows.append(np.bincount(kept.ravel(), minlength=num_classes))
    return np.array(rows, dtype=np.int64).reshape(-1, num_classes)


def median_frequency_weights(class_pixels: np.ndarray) -> np.ndarray:
    """Weights of the classes by median-frequency balancing.

    The frequency of a class is its number of pixels divided by the labelled pixels of the images
    in which it occurs; its weight is the median of the frequencies divided by its own.

    Eigen and Fergus, arXiv 1411.4734, section 6.3.2, as in SegNet, arXiv 1511.00561.

    Args:
        class_pixels: Integer array of shape (images, classes), of :func:`count_class_pixels`.

    Returns:
        float64 array of shape (classes,).

    Raises:
        UserError: If a class does not occur.
    """
    class_pixels = np.asarray(class_pixels)
    totals = class_pixels.sum(0)
    missing = np.flatnonzero(totals == 0)
    if len(missing):
        raise UserError(
            f'median-frequency balancing needs every class, but {missing.tolist()} of '
            f'{len(totals)} do not occur in {len(class_pixels)} label maps'
        )
    labelled = class_pixels.sum(1, keepdims=True)
    frequencies = totals / (labelled * (class_pixels > 0)).sum(0)
    return np.median(frequencies) / frequencies
