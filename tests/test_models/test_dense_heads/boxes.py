"""Boxes and activations in plain Python, for independent references."""

import math


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def softmax(values):
    exponentials = [math.exp(value) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def centre_box(x, y, w, h):
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def iou(a, b):
    overlap = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    return overlap / union
