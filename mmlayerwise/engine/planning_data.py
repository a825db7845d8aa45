"""Training images as inference sees them: what a compression is decided on."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner
from torch import Tensor, nn

from mmlayerwise.engine.separation import MeasuringData
from mmlayerwise.separation import Batch, undisturbed
from mmlayerwise.separation.samples import Sampler, build_sampler
from mmlayerwise.utils.errors import UserError

# Batches are kept where they take no more than this, in bytes, and loaded anew otherwise.
_KEPT = 2 * 2**30


def training_data(cfg: Config, batch_size: int | None = None, seed: int = 0) -> MeasuringData:
    """Build the training data set with the pipeline of validation.

    What repeats or mixes images (``RepeatDataset``, ``MultiImageMixDataset``) is left out, so that
    each image comes once, without augmentation.

    Args:
        cfg: A whole config with ``train_dataloader`` and ``val_dataloader`` or ``test_dataloader``.
        batch_size: Images a batch; by default as in validation.
        seed: Of the choice of images.

    Raises:
        UserError: If one of them is missing.
    """
    train = cfg.get('train_dataloader')
    test = cfg.get('val_dataloader') or cfg.get('test_dataloader')
    if train is None or test is None:
        missing = 'train_dataloader' if train is None else 'val_dataloader'
        raise UserError(
            f'{cfg.filename} has no {missing}; a compression is decided on the training images, '
            'read by the pipeline of validation'
        )
    dataset = _with_pipeline(train.dataset, _pipeline_of(test.dataset))
    loader = Runner.build_dataloader(
        dict(
            dataset=dataset,
            batch_size=batch_size or test.get('batch_size', 1),
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            **({'collate_fn': test.collate_fn} if 'collate_fn' in test else {}),
        ),
        seed=seed,
    )
    return MeasuringData.from_dataloader(loader, seed)


class PlanningBatches:
    """The batches of some images, to be iterated over many times.

    Args:
        data: The images.
        model: Its data preprocessor prepares the batches.
        samples: What is compared: ``'auto'``, ``dict(type=...)`` or a sampler.
        max_samples: How many samples there shall be.
        seed: Of whatever is random in the pipeline.
    """

    def __init__(
        self,
        data: MeasuringData,
        model: nn.Module,
        samples: str | dict | Sampler = 'auto',
        max_samples: int = 2000,
        seed: int = 0,
    ) -> None:
        self.data = data
        self.model = model
        self.seed = seed
        with undisturbed(model, seed):
            self.sampler = build_sampler(samples, data.first(model).truths)
        data.choose(self.sampler, max_samples)
        self._kept: list[Batch] | None = None

    @property
    def num_images(self) -> int:
        """How many images there are."""
        return len(self.data.images)

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        kept, size = [], 0
        with undisturbed(self.model, self.seed):
            batches = list(self._chunks())
        for images in batches:
            batch = self._load(images)
            size += _bytes_of(batch.inputs)
            if size <= _KEPT:
                kept.append(batch)
            yield batch
        if size <= _KEPT:
            self._kept = kept

    def _chunks(self) -> Iterator[Sequence[int]]:
        # All of them, whatever the number of processes: only one of them plans.
        images, size = self.data.images, self.data.batch_size
        for start in range(0, len(images), size):
            yield images[start : start + size]

    def _load(self, images: Sequence[int]) -> Batch:
        items = [self.data.dataset[image] for image in images]
        return self.data.prepare(self.model, images, self.data.collate(items))


def _with_pipeline(dataset: dict, pipeline: list) -> dict:
    """A data set's config without wrappers of a single one, with another pipeline."""
    if 'datasets' in dataset:
        parts = [_with_pipeline(one, pipeline) for one in dataset['datasets']]
        return {**copy.deepcopy(dict(dataset)), 'datasets': parts}
    if isinstance(dataset.get('dataset'), dict):
        return _with_pipeline(dataset['dataset'], pipeline)
    return {**copy.deepcopy(dict(dataset)), 'pipeline': copy.deepcopy(pipeline)}


def _pipeline_of(dataset: dict) -> list:
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset.get('pipeline', [])


def _bytes_of(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(_bytes_of, value)) if isinstance(value, list | tuple) else 0
