"""What the classification data sets share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from mmlayerwise.utils.errors import UserError

SPLITS = ('train', 'test')


class BaseClassificationDataset(BaseDataset):
    """A data set of small images held in memory, with one label each.

    Subclasses read the files in :meth:`load_arrays`. A sample of the pipeline has the keys ``img``
    (uint8, of shape (H, W, 3) in OpenCV's order BGR, or (H, W)), ``gt_label``, ``img_shape``,
    ``ori_shape`` and ``sample_idx``.

    Args:
        data_root: Folder of the files.
        split: 'train' or 'test'.
        pipeline: Transforms of a sample.
        metainfo: Overrides meta information. Where all ``classes`` are names the data set knows,
            only their images are kept and labelled in the given order, as mmdet does; other names
            rename the classes.
        indices: Use only the first ``indices`` images, or those listed.
        test_mode: Whether the data set is used for evaluation; by default if the split is 'test'.
        lazy_init: Whether to leave the reading of the files to the first access.
        max_refetch: How often a sample is drawn anew where the pipeline gives None.
    """

    # What `tools/download_dataset.py` calls the data set.
    download_name: str

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        pipeline: Sequence[dict | Callable] = (),
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool | None = None,
        lazy_init: bool = False,
        max_refetch: int = 1000,
    ) -> None:
        if split not in SPLITS:
            raise UserError(f"split must be 'train' or 'test', but is {split!r}")
        self.split = split
        super().__init__(
            data_root=str(data_root),
            data_prefix={},
            pipeline=list(pipeline),
            metainfo=metainfo,
            indices=indices,
            test_mode=split == 'test' if test_mode is None else test_mode,
            lazy_init=lazy_init,
            max_refetch=max_refetch,
        )

    def load_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Read the split's files.

        Returns:
            Images, uint8 of shape (N, H, W, 3) in BGR order or (N, H, W); labels, integers of
            shape (N,).
        """
        raise NotImplementedError

    def load_data_list(self) -> list[dict]:
        """List the samples, as mmengine asks for them.

        Returns:
            One dict an image.

        Raises:
            UserError: If a label has no class name.
        """
        images, labels = self._select_classes(*self.load_arrays())
        self._check_labels(labels)
        shape = images.shape[1:3]
        return [
            {'img': image, 'gt_label': label, 'img_shape': shape, 'ori_shape': shape}
            for image, label in zip(images, labels.tolist(), strict=True)
        ]

    def _select_classes(
        self, images: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keep the classes that the metainfo names, labelled in its order."""
        known, chosen = tuple(self.METAINFO['classes']), tuple(self.metainfo['classes'])
        if chosen == known or not set(chosen) <= set(known):
            return images, labels
        if len(set(chosen)) < len(chosen):
            raise UserError(
                f'metainfo of {type(self).__name__} names a class twice: {", ".join(chosen)}'
            )
        numbers = [known.index(name) for name in chosen]
        kept = np.isin(labels, numbers)
        # A label without a class is above all of these and is reported as damage by the caller.
        new_labels = np.full(max(len(known), int(labels.max(initial=0)) + 1), -1)
        new_labels[numbers] = np.arange(len(chosen))
        return images[kept], new_labels[labels[kept]]

    def _check_labels(self, labels: np.ndarray) -> None:
        num_classes = len(self.metainfo['classes'])
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise UserError(
                f'{type(self).__name__} in {self.data_root} has labels from {labels.min()} to '
                f'{labels.max()}, but {num_classes} classes; the files are damaged or the '
                'metainfo of the config names too few classes'
            )

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Get all labels.

        Returns:
            int64 array of shape (N,).
        """
        return np.array([self.get_data_info(index)['gt_label'] for index in range(len(self))])

    def get_cat_ids(self, idx: int) -> list[int]:
        """Get the classes of one image, as mmengine's ``ClassBalancedDataset`` asks for them.

        Args:
            idx: Index of the image.

        Returns:
            Its label in a list.
        """
        return [int(self.get_data_info(idx)['gt_label'])]

    def find_file(self, *names: str) -> Path:
        """Find the first of several alternative files.

        Args:
            *names: File names relative to the data root.

        Returns:
            Path of the first that exists.

        Raises:
            UserError: If there is none.
        """
        root = Path(self.data_root)
        for name in names:
            if (root / name).is_file():
                return root / name
        wanted = ' or '.join(names)
        what = f'no {wanted} in {root}' if root.is_dir() else f'the folder {root} does not exist'
        raise UserError(
            f'{type(self).__name__}: {what}; expected there: {wanted}. Get the data by '
            f'`python tools/download_dataset.py {self.download_name}`, or point data_root (or the '
            'environment variable MMLAYERWISE_DATA_ROOT, which the configs read) to it'
        )
