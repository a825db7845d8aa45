"""Training data, read apart from the training loop."""

from typing import Any

from mmengine.dataset import RepeatDataset
from torch import nn
from torch.utils.data import Dataset, IterableDataset

from mmlayerwise.engine.hooks.random_state_hook import SeededSamples
from mmlayerwise.engine.separation import MeasuringData
from mmlayerwise.forward import ForwardLearningError
from mmlayerwise.separation import Batch


class TrainingSamples(MeasuringData):
    """Class-balanced images of the training data, all in the calling process.

    The images pass the training pipeline and the model's data preprocessor. Inside
    :func:`~mmlayerwise.separation.undisturbed` the choice and the augmentation depend on the seed
    alone, and the training loop's loader is left alone.
    """

    shared = False

    @classmethod
    def from_dataloader(cls, loader: Any, seed: int = 0) -> 'TrainingSamples':
        """Read what an existing loader of training data draws from."""
        dataset = _each_image_once(loader.dataset)
        batch_size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None) or 1
        return cls(dataset, batch_size, loader.collate_fn, loader.num_workers, seed)

    def first(self, model: nn.Module) -> Batch:
        """The first image as a batch; two could have different sizes."""
        return self.prepare(model, [0], self.collate([self.dataset[0]]))

    def _share(self) -> list[list[int]]:
        starts = range(0, len(self.images), self.batch_size)
        return [self.images[start : start + self.batch_size] for start in starts]


def _each_image_once(dataset: Dataset) -> Dataset:
    """The data set below what seeds its samples and repeats them."""
    while isinstance(dataset, SeededSamples | RepeatDataset):
        dataset = dataset._samples if isinstance(dataset, SeededSamples) else dataset.dataset
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, '__len__'):
        raise ForwardLearningError(
            'QLSInitHook chooses training images by number; the training data set, '
            f'{type(dataset).__name__}, is iterable. Give a map-style data set.'
        )
    return dataset
