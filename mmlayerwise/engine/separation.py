"""From mmengine's data sets and models to the batches and forward passes that the measure takes."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.runner.amp import autocast
from rich.progress import track
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmlayerwise.separation import Batch, GroundTruth, SeparationError
from mmlayerwise.separation.batches import input_size_of
from mmlayerwise.separation.distributed import gather_rows, world
from mmlayerwise.separation.samples import ImageSamples, Sampler, balanced_order
from mmlayerwise.separation.samples.sampler import random_priorities

# Where a batch may hold the ground truth: the data samples of the toolboxes, or plain labels.
_TRUTH_KEYS = ('data_samples', 'gt_label', 'labels', 'label')


class InferenceForward:
    """Runs an mmengine model on preprocessed data, as inference would.

    The mode ``'tensor'`` is taken where the model has it: whole images, no post-processing. A model
    whose ``'tensor'`` mode does not work is run in ``'predict'``.

    Args:
        fp16: Run under autocast, as the validation loop does with its ``fp16``.
        mode: The mode, if it is settled from the start.
    """

    def __init__(self, fp16: bool = False, mode: str | None = None) -> None:
        self.fp16 = fp16
        self.mode = mode

    def settle(self, model: nn.Module, data: Any) -> None:
        """Find out which mode the model has by running one batch, unless that is known.

        It may run parts of the model twice, so it comes before a forward pass that is watched.
        """
        if self.mode is None:
            self._first(model, data)

    def _first(self, model: nn.Module, data: Any) -> Any:
        try:
            output = self._run(model, data, 'tensor')
            self.mode = 'tensor'
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            print_log(
                f"{type(model).__name__} cannot run in mode 'tensor' ({type(error).__name__}: "
                f"{error}); measuring in mode 'predict'.",
                'current',
            )
            output = self._run(model, data, 'predict')
            self.mode = 'predict'
        return output

    def __call__(self, model: nn.Module, data: Any) -> Any:
        """Run the settled mode."""
        if self.mode is None:
            return self._first(model, data)
        return self._run(model, data, self.mode)

    def _run(self, model: nn.Module, data: Any, mode: str) -> Any:
        with autocast(enabled=self.fp16):
            if isinstance(data, dict):
                return model(**data, mode=mode)
            if isinstance(data, tuple | list):
                return model(*data, mode=mode)
            return model(data, mode=mode)


def annotations_first(dataset: Dataset) -> Dataset:
    """A copy of a data set whose pipeline loads annotations before it changes the image.

    Test pipelines load them after ``Resize``, in the coordinates of the original image; the layers
    see the resized one. Loaded first, boxes and maps go through the same transforms as the image.
    """
    dataset = copy.copy(dataset)
    for name in ('dataset', '_dataset'):
        if isinstance(getattr(dataset, name, None), Dataset):
            setattr(dataset, name, annotations_first(getattr(dataset, name)))
    if isinstance(getattr(dataset, 'datasets', None), list):
        dataset.datasets = [annotations_first(one) for one in dataset.datasets]
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', None)
    if transforms:
        dataset.pipeline = copy.copy(dataset.pipeline)
        dataset.pipeline.transforms = _reordered(list(transforms))
    return dataset


def _reordered(transforms: list) -> list:
    names = [type(transform).__name__ for transform in transforms]
    loads = [name.startswith('Load') for name in names]
    first_change = loads.index(False) if False in loads else len(loads)
    late = [
        number
        for number, name in enumerate(names)
        if number > first_change and loads[number] and 'Annotation' in name
    ]
    rest = [transform for number, transform in enumerate(transforms) if number not in late]
    return rest[:first_change] + [transforms[number] for number in late] + rest[first_change:]


class MeasuringData:
    """The images of a data set that a measurement looks at, in fixed batches.

    The images are chosen once, by the seed, balanced over the classes. Where the data set does not
    tell its labels without loading, one pass over the data looks for them, shared by the processes.
    Batches are formed before they are dealt to the processes, so that each
    image meets the same companions and padding in any number of processes.

    Args:
        dataset: The validation data set.
        batch_size: Images a batch.
        collate: Makes a batch of a list of items.
        num_workers: Loader processes.
        seed: Of the choice.
    """

    # Whether all processes look for unknown labels together; otherwise the caller does it alone.
    shared = True

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        collate: Callable,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        if len(dataset) < 2:
            raise SeparationError(
                f'The validation data hold {len(dataset)} images; a measurement needs at least 2.'
            )
        self.dataset = annotations_first(dataset)
        self.batch_size = batch_size
        self.collate = collate
        self.num_workers = num_workers
        self.seed = seed
        self.ignore_label = getattr(dataset, 'ignore_index', 255)
        self.classes = getattr(dataset, 'metainfo', {}).get('classes')
        self.images: list[int] = []

    @classmethod
    def from_dataloader(cls, loader: DataLoader, seed: int = 0) -> 'MeasuringData':
        """Measure on what an existing loader of validation data draws from."""
        batch_size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None) or 1
        return cls(loader.dataset, batch_size, loader.collate_fn, loader.num_workers, seed)

    def choose(self, sampler: Sampler, max_samples: int) -> None:
        """Choose the images for a kind of sample."""
        total = len(self.dataset)
        count = max_samples if sampler.max_images is None else sampler.max_images
        if count >= total:
            self.images = list(range(total))
            return
        known = self._known_labels(isinstance(sampler, ImageSamples))
        if known is None:
            images, labels, priorities = self._loaded_labels(sampler)
        else:
            images, labels = known
            priorities = torch.from_numpy(np.random.default_rng(self.seed).random(len(images)))
        order = images[balanced_order(labels, priorities)].tolist() or range(total)
        self.images = sorted(list(dict.fromkeys(order))[:count])

    def _known_labels(self, whole_images: bool) -> tuple[Tensor, Tensor] | None:
        """Pairs of an image and a class in it, if the data set tells without loading."""
        if not hasattr(self.dataset, 'get_data_info'):
            return None
        pairs: list[tuple[int, int]] = []
        for image in range(len(self.dataset)):
            known = self.dataset.get_data_info(image)
            if whole_images:
                labels = np.atleast_1d(known.get('gt_label', ()))
            else:
                labels = {box.get('bbox_label', -1) for box in known.get('instances', ())}
            pairs += [(image, int(label)) for label in labels]
        if not pairs:
            return None
        table = torch.tensor(pairs)
        return table[:, 0], table[:, 1]

    def _loaded_labels(self, sampler: Sampler) -> tuple[Tensor, Tensor, Tensor]:
        """Images, a class in each, and the pairs' priorities, by loading every image once."""
        rank, size = world() if self.shared else (0, 1)
        mine = range(len(self.dataset))[rank::size]
        loader = DataLoader(
            _OfferedClasses(self, sampler),
            self.batch_size,
            sampler=mine,
            collate_fn=torch.cat,
            num_workers=self.num_workers,
        )
        description = f'Looking for the classes of {len(self.dataset)} images'
        rows = torch.cat(
            [*track(loader, description, disable=rank > 0), torch.zeros(0, 3).double()]
        )
        if self.shared:
            rows = gather_rows(rows)
        rows = rows[rows[:, 0].argsort(stable=True)]
        return rows[:, 0].long(), rows[:, 1].long(), rows[:, 2]

    def first(self, model: nn.Module) -> Batch:
        """The first two images as a batch, the same in every process."""
        images = self.images[:2] or [0, 1]
        items = [self.dataset[image] for image in images]
        return self.prepare(model, images, self.collate(items))

    def num_batches(self) -> int:
        """How many batches this process has."""
        return len(self._share())

    def batches(self, model: nn.Module) -> Iterator[Batch]:
        """This process's batches, preprocessed by the model's data preprocessor."""
        loader = DataLoader(
            _Numbered(self.dataset),
            batch_sampler=self._share(),
            collate_fn=_NumberedCollate(self.collate),
            num_workers=self.num_workers,
        )
        for images, data in loader:
            yield self.prepare(model, images, data)

    def _share(self) -> list[list[int]]:
        rank, size = world()
        starts = range(0, len(self.images), self.batch_size)
        return [self.images[start : start + self.batch_size] for start in starts][rank::size]

    def prepare(
        self, model: nn.Module, images: Sequence[int], data: Any, training: bool = False
    ) -> Batch:
        """Preprocess collated data and read the ground truth from it."""
        data = model.data_preprocessor(data, training)
        inputs = data['inputs'] if isinstance(data, dict) else data[0]
        truths = self.truths(images, data, input_size_of(inputs))
        return Batch(data, truths, input_size_of(inputs))

    def truths(
        self, images: Sequence[int], data: Any, input_size: tuple[int, int]
    ) -> list[GroundTruth]:
        """Read the ground truth of images from collated data."""
        if isinstance(data, dict):
            named = [data[key] for key in _TRUTH_KEYS if data.get(key) is not None]
            samples = named[0] if named else [None] * len(images)
        else:
            samples = data[1]
        return [
            ground_truth(sample, image, input_size, self.ignore_label)
            for image, sample in zip(images, samples, strict=True)
        ]


class _OfferedClasses(Dataset):
    """The classes that an image offers to a sampler: rows of image, class and priority."""

    def __init__(self, data: MeasuringData, sampler: Sampler) -> None:
        self.data = data
        self.sampler = sampler

    def __getitem__(self, image: int) -> Tensor:
        item = self.data.collate([self.data.dataset[image]])
        inputs = item['inputs'] if isinstance(item, dict) else item[0]
        (truth,) = self.data.truths([image], item, input_size_of(inputs[0][None]))
        labels = self.sampler.candidates(truth, self.data.seed).labels.unique()
        priorities = random_priorities(self.data.seed, image, len(labels))
        return torch.stack([torch.full_like(priorities, image), labels.double(), priorities], 1)

    def __len__(self) -> int:
        return len(self.data.dataset)


class _Numbered(Dataset):
    """Items together with their number."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, image: int) -> tuple[int, Any]:
        return image, self.dataset[image]

    def __len__(self) -> int:
        return len(self.dataset)


class _NumberedCollate:
    """Collates numbered items into numbers and a batch."""

    def __init__(self, collate: Callable) -> None:
        self.collate = collate

    def __call__(self, items: list[tuple[int, Any]]) -> tuple[list[int], Any]:
        images, values = zip(*items, strict=True)
        return list(images), self.collate(list(values))


def ground_truth(
    sample: Any, image: int, input_size: tuple[int, int], ignore_label: int = 255
) -> GroundTruth:
    """Read the ground truth of one image from a data sample or a bare label.

    Args:
        sample: A data sample of mmdet, mmseg or a classifier, an integer label, or None.
        image: Number of the image.
        input_size: (height, width) of the batch.
        ignore_label: Value of a label map that means no class.
    """
    if sample is None:
        return GroundTruth(image)
    if isinstance(sample, int | np.integer) or (isinstance(sample, Tensor) and sample.ndim == 0):
        return GroundTruth(image, input_size, label=int(sample))
    height, width = tuple(sample.get('img_shape', input_size))[:2]
    scale = tuple(float(factor) for factor in sample.get('scale_factor', (1, 1)))[:2]
    truth = GroundTruth(image, (int(height), int(width)), ignore_label=ignore_label, scale=scale)
    if 'gt_label' in sample:
        label = torch.as_tensor(sample.gt_label).flatten()
        if len(label) != 1:
            raise SeparationError(
                f'Image {image} has {len(label)} labels; a separation index needs exactly one.'
            )
        truth.label = int(label)
    if 'gt_instances' in sample and 'bboxes' in sample.gt_instances:
        boxes = sample.gt_instances.bboxes
        truth.boxes = getattr(boxes, 'tensor', boxes).detach()
        truth.box_labels = sample.gt_instances.labels
        truth.masks = _masks(sample.gt_instances.get('masks'))
    if 'gt_sem_seg' in sample:
        truth.label_map = _label_map(sample.gt_sem_seg, truth.size)
    return truth


def _masks(masks: Any) -> Tensor | None:
    """The instances' masks: mmdet's bitmaps and polygons, or a tensor."""
    if hasattr(masks, 'to_tensor'):
        return masks.to_tensor(torch.bool, 'cpu')
    return masks.bool() if isinstance(masks, Tensor) else None


def _label_map(element: Any, size: tuple[int, int]) -> Tensor:
    """The map of an mmseg or mmdet sample at the size that the network sees."""
    label_map = getattr(element, 'data', None)
    label_map = element.sem_seg if label_map is None else label_map
    label_map = label_map.reshape(1, 1, *label_map.shape[-2:])
    if tuple(label_map.shape[-2:]) != size:
        label_map = F.interpolate(label_map.double(), size=size, mode='nearest-exact')
    return label_map[0, 0].long()
