"""What a sample is: an image, a pixel at the layer's own stride, a ground-truth box.

A sampler chooses samples from the ground truth alone, by random numbers that depend on the seed and
the image only. So the choice is the same for every layer, every epoch and any number of processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmlayerwise.plugins import hookimpl, installed_plugins
from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.geometry import as_feature_map, roi_align, stride_of

# Room for the samples of one image in a sample's number.
_SAMPLES_PER_IMAGE = 2**24


@dataclass
class GroundTruth:
    """What is known about one image of a batch; the fields that don't apply are None.

    Attributes:
        image: Number of the image in its data set.
        size: (height, width) of the image within the batch, without padding.
        label: Class of the whole image.
        boxes: float of shape (num_boxes, 4): left, top, right, bottom in pixels of the input.
        box_labels: int64 of shape (num_boxes,).
        label_map: Integers of shape ``size``: class of every pixel.
        ignore_label: Value in ``label_map`` that means no class.
    """

    image: int
    size: tuple[int, int] | None = None
    label: int | None = None
    boxes: Tensor | None = None
    box_labels: Tensor | None = None
    label_map: Tensor | None = None
    ignore_label: int = 255


@dataclass
class Candidates:
    """Samples that one image offers.

    Attributes:
        truth: The image.
        labels: int64 of shape (num_samples,).
        priorities: float64 of shape (num_samples,), uniform random; the lowest are taken first.
        places: The sampler's own: (num_samples, 4) boxes, (num_samples, 2) pixels, ...
    """

    truth: GroundTruth
    labels: Tensor
    priorities: Tensor
    places: Tensor

    @property
    def ids(self) -> Tensor:
        """int64 of shape (num_samples,): unique numbers, ascending with the image."""
        return self.truth.image * _SAMPLES_PER_IMAGE + torch.arange(len(self.labels))

    def take(self, rows: Tensor) -> 'Candidates':
        """Only some of the samples."""
        return Candidates(self.truth, self.labels[rows], self.priorities[rows], self.places[rows])


@dataclass
class Extracted:
    """Vectors that a layer gives for the samples of one batch.

    Attributes:
        features: float32 of shape (num_samples, dimension), own memory.
        labels: int64 of shape (num_samples,).
        ids: int64 of shape (num_samples,), see :class:`Candidates`.
        cells: int64 of shape (num_samples,): equal where two samples are one place of the layer,
            which counts once; None where that can't be.
    """

    features: Tensor
    labels: Tensor
    ids: Tensor
    cells: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """int64 of shape (num_samples,): number of each sample's image."""
        return self.ids // _SAMPLES_PER_IMAGE


class Sampler:
    """Base of the samplers.

    Attributes:
        kind: Word for one sample in logs.
        exclude_same_image: Whether samples of one image are no neighbours of each other.
        max_images: How many images to look at, or None for as many as there are samples.
    """

    kind = 'sample'
    exclude_same_image = False
    max_images: int | None = None

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:
        """Samples that the image offers."""
        raise NotImplementedError

    def accepts(self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]) -> bool:
        """Whether a layer's output of this shape can be sampled."""
        raise NotImplementedError

    def extract(
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        """Read the vectors of a batch's samples from a layer's output."""
        raise NotImplementedError


class ImageSamples(Sampler):
    """Whole images, labelled by their class.

    Args:
        pool: ``'flatten'`` takes the map as it is, ``'average'`` its mean over positions, a number
            g its means over a g x g grid. ``'auto'`` halves the map by averaging until it has at
            most ``max_dimension`` values.
        max_dimension: Limit of ``'auto'``.
    """

    kind = 'image'

    def __init__(self, pool: str | int = 'auto', max_dimension: int = 8192) -> None:
        if pool not in ('auto', 'flatten', 'average') and not (isinstance(pool, int) and pool > 0):
            raise SeparationError(
                f"pool must be 'auto', 'flatten', 'average' or a grid size, got {pool!r}."
            )
        self.pool = pool
        self.max_dimension = max_dimension

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.label is None:
            raise SeparationError('Image samples need a label for every image (gt_label).')
        return Candidates(
            truth, torch.tensor([truth.label]), _priorities(seed, truth.image, 1), torch.zeros(1, 0)
        )

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return len(shape) >= 2 and shape[0] == num_images

    def extract(  # noqa: D102
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        used = torch.tensor([number for number, image in enumerate(batch) if len(image.labels)])
        chosen = output[used.to(output.device)].float()
        return Extracted(
            self._pooled(chosen, input_size).flatten(1).clone(),
            torch.cat([image.labels for image in batch]),
            torch.cat([image.ids for image in batch]),
        )

    def _pooled(self, output: Tensor, input_size: tuple[int, int]) -> Tensor:
        if output.ndim == 2 or self.pool == 'flatten':
            return output
        grid = as_feature_map(output, input_size)
        if grid is None:
            too_large = self.pool == 'auto' and output[0].numel() > self.max_dimension
            return output.mean(1) if self.pool == 'average' or too_large else output
        if self.pool == 'average':
            return grid.mean((2, 3))
        if self.pool == 'auto':
            size = grid.shape[2:]
            while size.numel() > 1 and grid.shape[1] * size.numel() > self.max_dimension:
                size = torch.Size((side + 1) // 2 for side in size)
            return F.adaptive_avg_pool2d(grid, size)
        return F.adaptive_avg_pool2d(grid, self.pool)


class BoxSamples(Sampler):
    """Ground-truth boxes, pooled by RoIAlign at the layer's own stride.

    Every box is measured on every level of a pyramid. Boxes of one image are no neighbours of each
    other: they share background and overlap, so that even random weights would score high.

    Args:
        output_size: Bins a side.
        max_per_image: Boxes to take from one image at most, balanced over its classes.
        max_images: Images to look at, at most.
        exclude_same_image: Whether boxes of one image are no neighbours of each other.
    """

    kind = 'box'

    def __init__(
        self,
        output_size: int = 3,
        max_per_image: int = 50,
        max_images: int = 200,
        exclude_same_image: bool = True,
    ) -> None:
        self.output_size = output_size
        self.max_per_image = max_per_image
        self.max_images = max_images
        self.exclude_same_image = exclude_same_image

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.boxes is None or truth.box_labels is None:
            raise SeparationError('Box samples need ground-truth boxes (gt_instances.bboxes).')
        boxes, labels = truth.boxes.cpu().float(), truth.box_labels.cpu().long()
        if truth.size is not None:
            limit = boxes.new_tensor(truth.size).flip(0).repeat(2)
            boxes = boxes.clamp(min=0).minimum(limit)
        visible = (boxes[:, 2:] > boxes[:, :2]).all(1)
        found = Candidates(truth, labels, _priorities(seed, truth.image, len(labels)), boxes).take(
            visible
        )
        return found.take(select_balanced(found.labels, found.priorities, self.max_per_image))

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return _is_map(shape, num_images, input_size)

    def extract(  # noqa: D102
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        grid = as_feature_map(output, input_size)
        stride = stride_of(input_size, tuple(grid.shape[2:]))
        pooled = [
            roi_align(grid[number], image.places, stride, self.output_size)
            for number, image in enumerate(batch)
        ]
        return Extracted(
            torch.cat(pooled).flatten(1),
            torch.cat([image.labels for image in batch]),
            torch.cat([image.ids for image in batch]),
        )


class PixelSamples(Sampler):
    """Pixels, each as the cell of the layer's map it lies in, with the cell's majority label.

    Cells whose majority is the ignore label are left out; a cell that several pixels fall into
    counts once. Pixels of one image are no neighbours of each other: adjacent ones nearly always
    agree, which would say nothing about the layer.

    Args:
        max_per_image: Pixels to take from one image, balanced over its classes.
        max_images: Images to look at, at most.
        exclude_same_image: Whether pixels of one image are no neighbours of each other.
    """

    kind = 'pixel'

    def __init__(
        self, max_per_image: int = 50, max_images: int = 100, exclude_same_image: bool = True
    ) -> None:
        self.max_per_image = max_per_image
        self.max_images = max_images
        self.exclude_same_image = exclude_same_image

    def candidates(self, truth: GroundTruth, seed: int) -> Candidates:  # noqa: D102
        if truth.label_map is None:
            raise SeparationError('Pixel samples need a label map (gt_sem_seg).')
        label_map = truth.label_map.cpu().long()
        places = (label_map != truth.ignore_label).nonzero()
        labels = label_map[places[:, 0], places[:, 1]]
        found = Candidates(truth, labels, _priorities(seed, truth.image, len(labels)), places)
        return found.take(select_balanced(found.labels, found.priorities, self.max_per_image))

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return _is_map(shape, num_images, input_size)

    def extract(  # noqa: D102
        self, output: Tensor, batch: Sequence[Candidates], input_size: tuple[int, int]
    ) -> Extracted:
        grid = as_feature_map(output, input_size)
        height, width = grid.shape[2:]
        stride = stride_of(input_size, (height, width))
        features, labels, ids, cells = [], [], [], []
        for number, image in enumerate(batch):
            scale = image.places.new_tensor(stride, dtype=torch.float64)
            limit = torch.tensor([height - 1, width - 1])
            cell = ((image.places + 0.5) / scale).floor().long().minimum(limit)
            label = majority_label(image.truth, cell, stride)
            kept = label != image.truth.ignore_label
            row, column = cell[kept].unbind(1)
            flat = row * width + column
            index = flat.to(grid.device)
            features.append(grid[number].flatten(1)[:, index].T.float())
            labels.append(label[kept])
            ids.append(image.ids[kept])
            cells.append(image.truth.image * height * width + flat)
        return Extracted(torch.cat(features), torch.cat(labels), torch.cat(ids), torch.cat(cells))


@hookimpl
def samplers() -> dict[str, type[Sampler]]:
    """Give the samplers of this module to the plugin manager."""
    return {sampler.__name__: sampler for sampler in (ImageSamples, BoxSamples, PixelSamples)}


def build_sampler(samples: str | dict | Sampler, truths: Sequence[GroundTruth]) -> Sampler:
    """Build a sampler from ``'auto'``, ``dict(type=...)`` or a sampler.

    Args:
        samples: ``'auto'`` follows the ground truth: the image's label, else boxes, else the
            label map. A dict names the type and its arguments.
        truths: Ground truth of a batch, for ``'auto'``.

    Raises:
        SeparationError: For an unknown type, wrong arguments, or no ground truth.
    """
    if isinstance(samples, Sampler):
        return samples
    if samples == 'auto':
        return _inferred(truths)
    config = dict(samples) if isinstance(samples, dict) else {'type': samples}
    kind = config.pop('type', None)
    known = installed_plugins().provided('samplers')
    if kind not in known:
        raise SeparationError(
            f"Unknown samples type {kind!r}; there are 'auto', {', '.join(map(repr, known))}."
        )
    try:
        return known[kind](**config)
    except TypeError as error:
        raise SeparationError(f'{kind}: {error}.') from error


def _inferred(truths: Sequence[GroundTruth]) -> Sampler:
    for field, sampler in (
        ('label', ImageSamples),
        ('boxes', BoxSamples),
        ('label_map', PixelSamples),
    ):
        if any(getattr(truth, field) is not None for truth in truths):
            return sampler()
    raise SeparationError(
        'The data give no ground truth: no gt_label, no gt_instances.bboxes, no gt_sem_seg in the '
        'data samples. Add the annotation transform, for example dict(type="LoadAnnotations", '
        'with_bbox=True), to val_dataloader.dataset.pipeline before its Pack transform, and let '
        'the data set point at an annotated split.'
    )


def select_balanced(labels: Tensor, priorities: Tensor, count: int) -> Tensor:
    """Choose at most ``count`` samples, the classes as equal as their sizes allow.

    Args:
        labels: int64 of shape (num_samples,).
        priorities: Numbers in [0, 1) of shape (num_samples,); within a class the lowest are taken.
        count: How many to choose.

    Returns:
        int64 row numbers, ascending.
    """
    return balanced_order(labels, priorities)[:count].sort().values


def balanced_order(labels: Tensor, priorities: Tensor) -> Tensor:
    """Order samples so that every beginning holds the classes as equally as their sizes allow.

    Arguments are those of :func:`select_balanced`.

    Returns:
        int64 row numbers: the first of every class, then the second of every class, and so on.
    """
    by_priority = priorities.argsort(stable=True)
    order = by_priority[labels[by_priority].argsort(stable=True)]
    sizes = labels[order].unique_consecutive(return_counts=True)[1]
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(len(labels)) - starts.repeat_interleave(sizes)
    return order[(rank + priorities[order] / 2).argsort(stable=True)]


def majority_label(truth: GroundTruth, cells: Tensor, stride: tuple[float, float]) -> Tensor:
    """Most frequent label of the pixels in each cell, the lowest among equals.

    Args:
        truth: The image with its label map; pixels outside of it don't count.
        cells: int64 of shape (num_cells, 2): row and column.
        stride: Pixels a cell covers, (vertical, horizontal).

    Returns:
        int64 of shape (num_cells,); the ignore label takes part and may win.
    """
    label_map = truth.label_map.cpu().long()
    values, compact = label_map.unique(return_inverse=True)
    axes = []
    for axis, step in enumerate(stride):
        first = (cells[:, axis] * step).floor().long()
        last = torch.maximum(((cells[:, axis] + 1) * step).ceil().long(), first + 1)
        span = torch.arange(int((last - first).max()) if len(cells) else 0)
        positions = first[:, None] + span
        inside = (positions < last[:, None]) & (positions < label_map.shape[axis])
        axes.append((positions.clamp(max=label_map.shape[axis] - 1), inside))
    (rows, row_inside), (columns, column_inside) = axes
    window = compact[rows[:, :, None], columns[:, None, :]].flatten(1)
    inside = (row_inside[:, :, None] & column_inside[:, None, :]).flatten(1)
    votes = torch.zeros(len(cells), len(values), dtype=torch.int64)
    votes.scatter_add_(1, window, inside.long())
    return values[votes.argmax(1)]


def _is_map(shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]) -> bool:
    """Whether an output is a map of more than one position over each image."""
    if not shape or shape[0] != num_images:
        return False
    grid = as_feature_map(torch.empty(shape, device='meta'), input_size)
    return grid is not None and grid.shape[2] * grid.shape[3] > 1


def _priorities(seed: int, image: int, count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng([seed, image]).random(count))


def ground_truths(truth: Any, first_image: int = 0) -> list[GroundTruth]:
    """Wrap plain image labels of a batch, or pass a list of :class:`GroundTruth` on.

    Args:
        truth: Integers of shape (num_images,) or a list of ground truths.
        first_image: Number of the batch's first image.
    """
    if isinstance(truth, Sequence) and all(isinstance(one, GroundTruth) for one in truth):
        return list(truth)
    labels = torch.as_tensor(truth)
    if labels.ndim != 1 or labels.is_floating_point():
        raise SeparationError(
            'The second part of a batch must be one integer label an image or a list of '
            f'GroundTruth, got {type(truth).__name__} of shape {tuple(labels.shape)}.'
        )
    return [GroundTruth(first_image + n, label=label) for n, label in enumerate(labels.tolist())]
