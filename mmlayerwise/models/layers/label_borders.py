"""Borders between classes, found in label maps."""

import torch
from torch.nn.functional import max_pool2d


def label_borders(labels: torch.Tensor, width: int, ignore_index: int = 255) -> torch.Tensor:
    """Mark the pixels that have another label near them.

    Unlabelled pixels count as a label of their own, as data sets such as PASCAL VOC leave the
    outlines of objects unlabelled; far from any label they stay unlabelled. mmseg's transform
    ``GenerateEdge`` finds no border there, and works on the images one by one.

    Args:
        labels: Integer tensor of shape (N, H, W).
        width: Size of the window around a pixel in which another label makes it a border, odd.
        ignore_index: Label of unlabelled pixels.

    Returns:
        Int64 tensor of shape (N, H, W): 1 at borders, 0 elsewhere and ``ignore_index`` where a
        whole window has no label.
    """
    # Labels are small, so that float32 holds them exactly.
    values = labels[:, None].float()
    largest = max_pool2d(values, width, stride=1, padding=width // 2)
    smallest = -max_pool2d(-values, width, stride=1, padding=width // 2)
    borders = (largest != smallest).long()
    return borders.masked_fill(smallest == ignore_index, ignore_index)[:, 0]
