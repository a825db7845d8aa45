"""Labelled samples of a layer's input: whole inputs, or crops round boxes and pixels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmlayerwise.forward.errors import ForwardLearningError
from mmlayerwise.separation import Batch
from mmlayerwise.separation.samples import Candidates, ImageSamples, Sampler, balanced_order


@dataclass(frozen=True)
class LayerSamples:
    """Samples of what a layer reads.

    Attributes:
        inputs: Float tensor of shape (N, C, H, W) or (N, C, L).
        labels: int64 of shape (N,).
        sources: int64 of shape (N,): number of the image of a crop; None for whole inputs.
    """

    inputs: Tensor
    labels: Tensor
    sources: Tensor | None


def collect_samples(
    batches: Iterable[Batch],
    read: Callable[[Batch], Tensor],
    sampler: Sampler,
    num_samples: int,
    crop_size: int | None = None,
    seed: int = 0,
) -> LayerSamples:
    """Collect class-balanced samples.

    Whole inputs for images and texts; for boxes and pixels, windows of the input's own resolution
    with the centre of the box, or the pixel, in the middle, moved to lie inside the image. The
    label is the box's or, of pixel samples, the most frequent in the window (the ignore label takes
    part; windows where it wins are left out).

    Args:
        batches: The data.
        read: Gives the layer's input for a batch.
        sampler: What a sample is, for its choice of images, boxes or pixels.
        num_samples: At most so many.
        crop_size: Side of a window in pixels of the model's input. Image samples are taken whole
            unless it is given, then it is their central window.
        seed: Of the choice.

    Returns:
        The samples on the device of the layer's input.

    Raises:
        ForwardLearningError: If windows do not fit, inputs differ in size, or there are none.
    """
    whole = isinstance(sampler, ImageSamples)
    if crop_size is None and not whole:
        raise ForwardLearningError(f'Samples of kind {sampler.kind!r} need a crop_size.')
    crops: list[Tensor] = []
    labels: list[int] = []
    sources: list[int] = []
    priorities: list[Tensor] = []
    for batch in batches:
        chosen = [sampler.candidates(truth, seed) for truth in batch.truths]
        if not any(len(image.labels) for image in chosen):
            continue
        given = read(batch)
        for values, image in zip(given, chosen, strict=True):
            for row, label in enumerate(image.labels.tolist()):
                if crop_size is not None:
                    corner = _corner(image, row, crop_size, batch.input_size)
                    if sampler.kind == 'pixel':
                        label = _majority(image, corner, crop_size)
                        if label is None:
                            continue
                    crops.append(_window(values, corner, crop_size, batch.input_size))
                else:
                    crops.append(values.clone())
                labels.append(label)
                sources.append(image.truth.image)
                priorities.append(image.priorities[row])
    if not crops:
        raise ForwardLearningError(
            f'The training data gave no {sampler.kind} samples. Check the annotations and that '
            'the pipeline loads them.'
        )
    shapes = {tuple(crop.shape) for crop in crops}
    if len(shapes) > 1:
        raise ForwardLearningError(
            f'The inputs of the layer have several sizes, for example {sorted(shapes)[:3]}; give '
            'crop_size to learn from windows of one size.'
        )
    order = balanced_order(torch.tensor(labels), torch.stack(priorities))[:num_samples]
    order = order.sort().values
    return LayerSamples(
        torch.stack([crops[row] for row in order.tolist()]),
        torch.tensor(labels)[order],
        None if whole else torch.tensor(sources)[order],
    )


def check_samples(labels: Tensor, num_classes: int | None, num_samples: int) -> None:
    """Refuse settings and labels from which nothing can be learned.

    Args:
        labels: int64 of shape (N,).
        num_classes: How many classes the data have, where known.
        num_samples: How many samples were asked for.

    Raises:
        ForwardLearningError: With fewer samples asked for than two a class, or one class found.
    """
    found = len(labels.unique())
    classes = max(found, num_classes or 0)
    if num_samples < 2 * classes:
        raise ForwardLearningError(
            f'num_samples={num_samples} are too few for {classes} classes: a nearest friend and a '
            f'nearest enemy need two samples a class, so give at least {2 * classes}.'
        )
    if found < 2:
        raise ForwardLearningError(
            f'All {len(labels)} samples have the label {labels[0].item()}; separating classes '
            'needs two at least. Check the annotations, or leave quasi least squares out.'
        )


def _corner(
    image: Candidates, row: int, crop_size: int, input_size: tuple[int, int]
) -> tuple[int, int]:
    """Top and left of a sample's window, in pixels of the model's input."""
    place = image.places[row].tolist()
    height, width = image.truth.size or input_size
    if len(place) == 4:
        centre = ((place[1] + place[3]) / 2, (place[0] + place[2]) / 2)
    elif len(place) == 2:
        centre = (place[0] + 0.5, place[1] + 0.5)
    else:
        centre = (height / 2, width / 2)
    # An image smaller than the window borrows padding of the batch.
    sides = [
        side if side >= crop_size else full
        for side, full in zip((height, width), input_size, strict=True)
    ]
    if min(sides) < crop_size:
        raise ForwardLearningError(
            f'crop_size {crop_size} exceeds the input {tuple(input_size)}; give a smaller one.'
        )
    return tuple(
        min(max(round(middle - crop_size / 2), 0), side - crop_size)
        for middle, side in zip(centre, sides, strict=True)
    )


def _window(
    values: Tensor, corner: tuple[int, int], crop_size: int, input_size: tuple[int, int]
) -> Tensor:
    """The window in the layer's input, which may be coarser than the model's."""
    if values.ndim != 3:
        raise ForwardLearningError(
            f'crop_size is for maps of shape (C, H, W); this layer reads {tuple(values.shape)}.'
        )
    slices = []
    for start, full, side in zip(corner, input_size, values.shape[1:], strict=True):
        length = max(1, round(crop_size * side / full))
        first = min(round(start * side / full), side - length)
        slices.append(slice(first, first + length))
    return values[:, slices[0], slices[1]].clone()


def _majority(image: Candidates, corner: tuple[int, int], crop_size: int) -> int | None:
    """Most frequent label of a window, None if that is the ignore label."""
    top, left = corner
    window = image.truth.label_map[top : top + crop_size, left : left + crop_size]
    values, counts = window.cpu().unique(return_counts=True)
    label = int(values[counts.argmax()])
    return None if label == image.truth.ignore_label else label
