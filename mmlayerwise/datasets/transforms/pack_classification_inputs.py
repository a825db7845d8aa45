"""The last transform of a classification pipeline."""

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmlayerwise.registry import TRANSFORMS
from mmlayerwise.structures import ClassificationDataSample

META_KEYS = ('sample_idx', 'img_path', 'ori_shape', 'img_shape', 'flip', 'flip_direction')


@TRANSFORMS.register_module()
class PackClassificationInputs(BaseTransform):
    """Pack an image and its label into what :class:`ImageClassifier` takes.

    Required keys: img; gt_label (absent in unlabelled data). Gives ``inputs``, a tensor of shape
    (C, H, W) of the image's own type, and ``data_samples``, a
    :class:`~mmlayerwise.structures.ClassificationDataSample`.

    Args:
        meta_keys: Which of the results go into the sample as meta information where present.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        """Pack one sample.

        Args:
            results: Result of the pipeline; ``img`` of shape (H, W) or (H, W, C).

        Returns:
            ``inputs`` and ``data_samples``.
        """
        inputs = self.inputs_of(results)
        meta = {key: results[key] for key in self.meta_keys if key in results}
        sample = ClassificationDataSample(metainfo=meta)
        if 'gt_label' in results:
            sample.set_gt_label(results['gt_label'])
        return {'inputs': inputs, 'data_samples': sample}

    def inputs_of(self, results: dict) -> torch.Tensor:
        """Take what the model reads from a sample.

        Args:
            results: Result of the pipeline; ``img`` of shape (H, W) or (H, W, C).

        Returns:
            Tensor of shape (C, H, W), of the image's own type.
        """
        image = results['img']
        if image.ndim == 2:
            image = image[:, :, None]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
