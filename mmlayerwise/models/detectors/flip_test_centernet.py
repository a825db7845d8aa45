"""CenterNet that looks at every image and its mirror image."""

import torch
from mmdet.models.detectors import CenterNet
from mmdet.structures import SampleList
from torch import Tensor

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class FlipTestCenterNet(CenterNet):
    """CenterNet with the paper's flip test (https://arxiv.org/abs/1904.07850, section 5.1).

    Heat maps and sizes of the image and of its mirror image are averaged before peaks are taken;
    the offsets are those of the image. It is on where ``test_cfg.flip_test`` is true.

    Images that ``RandomCenterCropPad`` did not centre are taken to have no border.
    """

    def predict(
        self, batch_inputs: Tensor, batch_data_samples: SampleList, rescale: bool = True
    ) -> SampleList:
        """Detect the objects of a batch.

        Args:
            batch_inputs: Images of shape (N, 3, H, W).
            batch_data_samples: Their meta information.
            rescale: Whether boxes are of the original images.

        Returns:
            The data samples with ``pred_instances``.
        """
        for sample in batch_data_samples:
            if 'border' not in sample:
                height, width = sample.img_shape[:2]
                sample.set_metainfo(dict(border=(0, height, 0, width)))
        if not self.test_cfg.get('flip_test'):
            return super().predict(batch_inputs, batch_data_samples, rescale)
        heatmap, size, offset = self._last_maps(batch_inputs)
        mirrored_heatmap, mirrored_size, _ = (
            one.flip(-1) for one in self._last_maps(batch_inputs.flip(-1))
        )
        results = self.bbox_head.predict_by_feat(
            [(heatmap + mirrored_heatmap) / 2],
            [(size + mirrored_size) / 2],
            [offset],
            batch_img_metas=[sample.metainfo for sample in batch_data_samples],
            rescale=rescale,
        )
        return self.add_pred_to_datasample(batch_data_samples, results)

    def _last_maps(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Heat map, size and offset of the last stack."""
        maps = self.bbox_head(self.extract_feat(batch_inputs))
        return tuple(torch.as_tensor(stacks[-1]) for stacks in maps)
