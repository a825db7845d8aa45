"""Training data of layer-wise learning: to learn from, and to measure on."""

from typing import Any

from torch.utils.data import DataLoader

from mmlayerwise.datasets.samplers import ClassBalancedBatchSampler
from mmlayerwise.engine.hooks.random_state_hook import DrawnIndex, SeededSamples
from mmlayerwise.engine.qls_data import TrainingSamples
from mmlayerwise.engine.separation import MeasuringData


class SharedTrainingSamples(TrainingSamples):
    """Class-balanced images of the training data, of which every process reads its share.

    The augmentation of an image depends on the seed and its number alone, so that measurements can
    be compared, whatever number of workers loads the images.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dataset = SeededSamples(self.dataset, (self.seed,))

    def _share(self) -> list[list[int]]:
        batches = MeasuringData._share(self)
        return [[DrawnIndex(image, image, 0) for image in batch] for batch in batches]


def balanced_dataloader(loader: DataLoader, batch_size: int) -> DataLoader:
    """Make a loader of the same images in class-balanced batches.

    Args:
        loader: A loader that mmengine made.
        batch_size: Images a batch and process.
    """
    sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
    return DataLoader(
        loader.dataset,
        batch_sampler=ClassBalancedBatchSampler(sampler, batch_size),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        persistent_workers=loader.persistent_workers,
    )
