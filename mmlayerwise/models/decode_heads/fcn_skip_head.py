"""The skip architecture of fully convolutional networks."""

from collections.abc import Sequence
from typing import Any

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.utils import SampleList
from torch import nn

from mmlayerwise.models.layers.bilinear_conv_transpose import BilinearConvTranspose2d
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

_STRIDES = {1: 32, 2: 16, 3: 8}


@MODELS.register_module()
class FCNSkipHead(BaseDecodeHead):
    """FCN-32s, FCN-16s and FCN-8s.

    Scores of fc7 are doubled in size and added to those of pool4, these to those of pool3; the sum
    is enlarged to the image. All enlarging is by transposed convolution from bilinear
    interpolation; maps are cropped where their units see the same places of the image.

    The parts have the same names in all three: FCN-16s starts from a checkpoint of FCN-32s, FCN-8s
    from one of FCN-16s, by ``load_from``. Layers that score start from zeros, so that each starts
    with the predictions of the one before.

    Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic Segmentation",
    arXiv 1411.4038, section 4.2.

    Args:
        in_channels: Channels of fc7, pool4 and pool3: the first 1, 2 or 3 of them for FCN-32s,
            FCN-16s and FCN-8s.
        in_index: Which outputs of :class:`SegmentationVGG` they are.
        skip_scales: Factors on pool4 and pool3; (0.01, 0.0001) to train FCN-8s at once.
        learned_upsampling: ``'skips'`` trains the enlarging before the sums, as in the paper,
            ``'all'`` also the last one, ``'none'`` neither, as the released networks do.
        input_padding: That of the trunk.
        fc_padded: Whether the trunk's fc6 keeps the size.
        fc_kernel_size: That of the trunk.
        dropout_ratio: Here of fc7, which the trunk already drops from.
        init_cfg: Initialisation config of mmengine; zeros for the scores by default.
        **kwargs: Arguments of mmseg's ``BaseDecodeHead``.

    Raises:
        UserError: If the arguments contradict each other.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (4096, 512, 256),
        in_index: Sequence[int] = (2, 1, 0),
        skip_scales: Sequence[float] = (1.0, 1.0),
        learned_upsampling: str = 'skips',
        input_padding: int = 1,
        fc_padded: bool = True,
        fc_kernel_size: int = 7,
        dropout_ratio: float = 0.0,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        if len(in_channels) not in _STRIDES or len(in_channels) != len(in_index):
            raise UserError(
                'FCNSkipHead: in_channels and in_index name fc7, or fc7 and pool4, or fc7, pool4 '
                f'and pool3, not {list(in_channels)} and {list(in_index)}'
            )
        if learned_upsampling not in ('none', 'skips', 'all'):
            raise UserError(
                f"FCNSkipHead: learned_upsampling is 'none', 'skips' or 'all', not "
                f'{learned_upsampling!r}'
            )
        super().__init__(
            in_channels,
            in_channels[0],
            in_index=in_index,
            input_transform='multiple_select',
            dropout_ratio=dropout_ratio,
            init_cfg=init_cfg or dict(type='Constant', layer='Conv2d', val=0),
            **kwargs,
        )
        self.skip_scales = tuple(skip_scales)
        classes, skips = self.out_channels, in_channels[1:]
        self.skip_scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in skips)
        learned = learned_upsampling != 'none'
        self.skip_upsamples = nn.ModuleList(
            BilinearConvTranspose2d(classes, 2, learned) for _ in skips
        )
        self.upsample = BilinearConvTranspose2d(
            classes, _STRIDES[len(in_channels)], learned_upsampling == 'all'
        )
        self._set_crops(input_padding, fc_kernel_size // 2 if fc_padded else 0, fc_kernel_size)

    def _set_crops(self, input_padding: int, fc_padding: int, fc_kernel_size: int) -> None:
        """Find by how much the maps are shifted against each other.

        A unit i of a map sees the image around the pixel centre + stride * i. A pooling of stride 2
        moves the centre by half a pixel of its input; a transposed convolution puts its first
        output (kernel_size - 1) / 2 of its pixels before the first input.
        """
        pools = [1 - input_padding + (2**stage - 1) / 2 for stage in (3, 4, 5)]
        stride, centre = 32, pools[2] + 32 * ((fc_kernel_size - 1) / 2 - fc_padding)
        self.skip_crops = []
        for pool in (pools[1], pools[0])[: len(self.skip_upsamples)]:
            stride //= 2
            centre -= 1.5 * stride
            crop = round((centre - pool) / stride)
            self.skip_crops.append(crop)
            # Where the enlarged map is cropped it starts where the skip does.
            centre = max(centre, pool)
        self.crop = round((2 * stride - 1) / 2 - centre)

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Score every pixel.

        Args:
            inputs: Outputs of the trunk.

        Returns:
            Scores of shape (N, num_classes, H', W') from the image's first pixel on, and of a few
            rows and columns beyond its last.
        """
        maps = self._transform_inputs(inputs)
        scores = self.cls_seg(maps[0])
        for features, scale, score, upsample, crop in zip(
            maps[1:],
            self.skip_scales,
            self.skip_scores,
            self.skip_upsamples,
            self.skip_crops,
            strict=False,
        ):
            scores, skip = upsample(scores), score(scale * features)
            if crop > 0:
                skip = skip[..., crop:, crop:]
            else:
                scores = scores[..., -crop:, -crop:]
            height = min(scores.shape[2], skip.shape[2])
            width = min(scores.shape[3], skip.shape[3])
            scores = scores[..., :height, :width] + skip[..., :height, :width]
        return self.upsample(scores)[..., self.crop :, self.crop :]

    def loss_by_feat(self, seg_logits: torch.Tensor, batch_data_samples: SampleList) -> dict:
        """Compute the losses.

        Args:
            seg_logits: Output of :meth:`forward`.
            batch_data_samples: Samples with label maps of shape (1, H, W).

        Returns:
            mmseg's losses.
        """
        height, width = batch_data_samples[0].gt_sem_seg.shape
        return super().loss_by_feat(seg_logits[..., :height, :width], batch_data_samples)

    def predict_by_feat(
        self, seg_logits: torch.Tensor, batch_img_metas: list[dict]
    ) -> torch.Tensor:
        """Crop the scores to the image.

        Args:
            seg_logits: Output of :meth:`forward`.
            batch_img_metas: Sizes of the images, as mmseg gives them.

        Returns:
            Scores of shape (N, num_classes, H, W).
        """
        meta = batch_img_metas[0]
        windowed = isinstance(meta['img_shape'], torch.Size)  # by mmseg's sliding inference
        padded = 'pad_shape' in meta and not windowed
        height, width = meta['pad_shape' if padded else 'img_shape'][:2]
        return super().predict_by_feat(seg_logits[..., :height, :width], batch_img_metas)
