"""Images with boxes and images with a label, for joint training."""

from typing import Any

from mmdet.datasets import ConcatDataset

from mmlayerwise.registry import DATASETS
from mmlayerwise.utils.errors import UserError


class _Repeated:
    """A data set that begins anew at its end, up to a length."""

    def __init__(self, dataset: Any, length: int) -> None:
        self.dataset, self.length = dataset, length
        self.metainfo = dataset.metainfo

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index % len(self.dataset)]

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(index % len(self.dataset))

    def full_init(self) -> None:
        """Read the annotations of the data set behind."""
        self.dataset.full_init()


@DATASETS.register_module()
class JointDetClsDataset(ConcatDataset):
    """A detection data set and one of images with a label alone, in a given proportion.

    Redmon and Farhadi, 2017, section 4 (https://arxiv.org/abs/1612.08242): YOLO9000 learns boxes
    from COCO and words from ImageNet, COCO oversampled until ImageNet is larger by a factor of 4
    only. Here whichever of the two is too small for the ratio is repeated, so that an epoch sees
    every image. A plain shuffling sampler keeps the proportion on average; mmdet's
    ``MultiSourceSampler(source_ratio=[1, 4])``, for loops that count iterations, keeps it in every
    batch.

    Args:
        detection: Data set of images with boxes; its meta information is that of the whole.
        classification: Data set of images with a label, such as ``ImageLevelDataset``, whose
            pipeline marks them by ``LoadImageLabel``.
        ratio: Images with a label for each image with boxes; None repeats nothing.
        lazy_init: Whether to leave the reading of annotations to ``full_init()``.

    Raises:
        UserError: The ratio is not positive, or a data set is empty.
    """

    def __init__(
        self,
        detection: dict | Any,
        classification: dict | Any,
        ratio: float | None = 4.0,
        lazy_init: bool = False,
    ) -> None:
        if ratio is not None and ratio <= 0:
            raise UserError(f'JointDetClsDataset: ratio must be positive, but is {ratio}')
        self.ratio = ratio
        super().__init__([detection, classification], lazy_init=True)
        # Evaluators and visualizers ask for the classes of the boxes.
        self._metainfo = dict(self.datasets[0].metainfo)
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Read the annotations and repeat the smaller data set."""
        if self._fully_initialized:
            return
        for one in self.datasets:
            one.full_init()
        boxed, labelled = (len(one) for one in self.datasets)
        if not boxed or not labelled:
            raise UserError(
                f'JointDetClsDataset: there are {boxed} images with boxes and {labelled} with a '
                'label; neither may be missing'
            )
        if self.ratio is not None:
            lengths = (
                max(boxed, round(labelled / self.ratio)),
                max(labelled, round(boxed * self.ratio)),
            )
            self.datasets = [
                _Repeated(one, length) for one, length in zip(self.datasets, lengths, strict=True)
            ]
        super().full_init()
        self._metainfo['cumulative_sizes'] = self.cumulative_sizes
