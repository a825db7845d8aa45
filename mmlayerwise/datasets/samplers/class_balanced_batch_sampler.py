"""Batches that hold every class equally often."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from mmlayerwise.registry import DATA_SAMPLERS
from mmlayerwise.utils.errors import UserError


@DATA_SAMPLERS.register_module()
class ClassBalancedBatchSampler(Sampler[list[int]]):
    """Draws batches in which the classes are as equal as their sizes allow.

    Every batch holds at least two images of each class in it, so that each has a friend and an
    enemy; with more classes than ``batch_size / 2`` the classes take turns. No image comes twice in
    a batch: a class smaller than its share makes the batch smaller. Small classes come round
    sooner. With several processes each draws batches of its own from one common sequence.

    Put it into any data loader:

    .. code-block:: python

        train_dataloader = dict(
            batch_size=250,
            sampler=dict(type='DefaultSampler', shuffle=True),
            batch_sampler=dict(type='mmlayerwise.ClassBalancedBatchSampler'),
            dataset=...,
        )

    Args:
        sampler: A sampler of mmengine; it tells data set, seed and epoch, its order is not used.
        batch_size: Images a batch and process.

    Raises:
        UserError: If the data set does not tell its labels, or batches of two classes with two
            images each are impossible.
    """

    def __init__(self, sampler: Any, batch_size: int) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.rank, self.world_size = get_dist_info()
        classes = images_of_classes(sampler.dataset)
        self.classes = {label: images for label, images in classes.items() if len(images) > 1}
        if len(self.classes) < 2:
            raise UserError(
                'ClassBalancedBatchSampler needs two classes with at least two images each, but '
                f'the {len(sampler.dataset)} images give {len(self.classes)} of such '
                f'({len(classes)} classes in all). Check the data set.'
            )
        if batch_size < 4:
            raise UserError(
                'ClassBalancedBatchSampler needs room for two images each of two classes, so a '
                f'batch_size of at least 4, got {batch_size}.'
            )

    def __len__(self) -> int:
        share = self.batch_size * self.world_size
        return -(-len(self.sampler.dataset) // share)

    def __iter__(self) -> Iterator[list[int]]:
        seed = (self.sampler.seed or 0, getattr(self.sampler, 'epoch', 0))
        generator = np.random.default_rng(seed)
        classes = _Deck(list(self.classes), generator)
        images = {label: _Deck(found, generator) for label, found in self.classes.items()}
        num_classes = min(len(self.classes), self.batch_size // 2)
        for number in range(len(self) * self.world_size):
            chosen = classes.draw(num_classes)
            counts = np.full(num_classes, self.batch_size // num_classes)
            counts[: self.batch_size % num_classes] += 1
            batch = [
                image
                for label, count in zip(chosen, counts.tolist(), strict=True)
                for image in images[label].draw(min(count, len(self.classes[label])))
            ]
            if number % self.world_size == self.rank:
                yield list(dict.fromkeys(batch))


class _Deck:
    """Items dealt in random order, each again only when all have been dealt."""

    def __init__(self, items: list[int], generator: np.random.Generator) -> None:
        self.items = items
        self.generator = generator
        self.waiting: list[int] = []

    def draw(self, count: int) -> list[int]:
        """Deal items that differ from one another."""
        if len(self.waiting) < count:
            left = set(self.waiting)
            fresh = [item for item in self.items if item not in left]
            self.waiting += [fresh[place] for place in self.generator.permutation(len(fresh))]
        drawn, self.waiting = self.waiting[:count], self.waiting[count:]
        return drawn


def images_of_classes(dataset: Any) -> dict[int, list[int]]:
    """Which images hold which class, as far as the data set tells without loading them.

    Args:
        dataset: A data set of mmengine whose ``get_data_info`` gives ``gt_label`` or ``instances``.

    Returns:
        Label -> numbers of the images, ascending.

    Raises:
        UserError: If it does not tell.
    """
    found: dict[int, list[int]] = {}
    if hasattr(dataset, 'get_data_info'):
        for image in range(len(dataset)):
            for label in _labels(dataset.get_data_info(image)):
                found.setdefault(label, []).append(image)
    if not found:
        raise UserError(
            f'{type(dataset).__name__} does not tell the labels of its images (gt_label or '
            'instances of get_data_info), so batches cannot be balanced. Leave '
            'ClassBalancedBatchSampler out; in LayerwiseTrainLoop set batch_size=None.'
        )
    return dict(sorted(found.items()))


def _labels(information: dict[str, Any]) -> list[int]:
    if 'gt_label' in information:
        return sorted({int(label) for label in np.atleast_1d(information['gt_label'])})
    return sorted({box['bbox_label'] for box in information.get('instances', ())})
