"""Several trained segmentors as one."""

from typing import Any

import torch
from mmseg.models.segmentors.base import BaseSegmentor
from mmseg.utils import OptSampleList, SampleList
from torch import nn

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class SegmentorEnsemble(BaseSegmentor):
    """Mean of the class probabilities of several segmentors.

    As DeconvNet with FCN-8s (Noh, Hong and Han, arXiv 1505.04366, section 5.2). Each member is
    trained by itself and loaded by its own ``init_cfg=dict(type='Pretrained', checkpoint=...)``;
    all see images in the same normalisation, that of the ensemble.

    Args:
        segmentors: Configs of the members, of the same classes.
        data_preprocessor: Config of the data preprocessor.
        init_cfg: Initialisation config of mmengine.

    Raises:
        UserError: If there are no members or their classes differ in number.
    """

    def __init__(
        self,
        segmentors: list[dict],
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.segmentors = nn.ModuleList(MODELS.build(config) for config in segmentors)
        counts = [segmentor.num_classes for segmentor in self.segmentors]
        if len(set(counts)) != 1:
            raise UserError(
                f'SegmentorEnsemble needs one or more members of the same classes, not of {counts}'
            )
        (self.num_classes,) = set(counts)
        self.align_corners = self.segmentors[0].align_corners

    def predict(self, inputs: torch.Tensor, data_samples: OptSampleList = None) -> SampleList:
        """Predict images.

        Args:
            inputs: Images, float tensor of shape (N, C, H, W).
            data_samples: What the pipeline tells of each.

        Returns:
            Samples with ``pred_sem_seg`` and, as ``seg_logits``, the mean probabilities.
        """
        if data_samples is None:
            size = tuple(inputs.shape[2:])
            metas = [dict(ori_shape=size, img_shape=size, pad_shape=size)] * len(inputs)
        else:
            metas = [sample.metainfo for sample in data_samples]
        return self.postprocess_result(self.encode_decode(inputs, metas), data_samples)

    def encode_decode(
        self, inputs: torch.Tensor, batch_data_samples: list[dict[str, Any]]
    ) -> torch.Tensor:
        """Mean probabilities of the members.

        Args:
            inputs: Images, float tensor of shape (N, C, H, W).
            batch_data_samples: Sizes of the images, as mmseg gives them.

        Returns:
            Probabilities of shape (N, num_classes, H, W).
        """
        probabilities = [
            # A copy, as mmseg's sliding inference writes into it.
            segmentor.inference(inputs, [dict(meta) for meta in batch_data_samples]).softmax(1)
            for segmentor in self.segmentors
        ]
        return torch.stack(probabilities).mean(0)

    def extract_feat(self, inputs: torch.Tensor) -> list[Any]:
        """Features of each member.

        Args:
            inputs: Images, float tensor of shape (N, C, H, W).

        Returns:
            What each member extracts.
        """
        return [segmentor.extract_feat(inputs) for segmentor in self.segmentors]

    def _forward(self, inputs: torch.Tensor, data_samples: OptSampleList = None) -> list[Any]:
        return [segmentor(inputs, data_samples) for segmentor in self.segmentors]

    def loss(self, inputs: torch.Tensor, data_samples: SampleList) -> dict:
        """Refuse to train.

        Args:
            inputs: Not used.
            data_samples: Not used.

        Raises:
            UserError: Always: the members are trained, not the ensemble.
        """
        raise UserError(
            'SegmentorEnsemble is not trained; train its members by their own configs and name '
            "their checkpoints: segmentors=[dict(init_cfg=dict(type='Pretrained', checkpoint=...))]"
        )
