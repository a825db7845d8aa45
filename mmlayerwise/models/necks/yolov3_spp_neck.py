"""The neck of YOLOv3-SPP."""

from collections.abc import Sequence

from mmdet.models.backbones.csp_darknet import SPPBottleneck
from mmdet.models.necks.yolo_neck import YOLOV3Neck

from mmlayerwise.registry import MODELS


@MODELS.register_module()
class YOLOV3SPPNeck(YOLOV3Neck):
    """YOLOv3's neck with spatial pyramid pooling on the coarsest level.

    After the third convolution of the coarsest detection block, stride-1 max-poolings of several
    kernel sizes are concatenated with their input and reduced to its width again by a 1x1
    convolution, as in darknet's ``yolov3-spp.cfg``, the baseline of the YOLOX paper
    (https://arxiv.org/abs/2107.08430).

    Args:
        num_scales: Number of levels.
        in_channels: Channels of each level, coarsest first.
        out_channels: Output channels of each level, coarsest first.
        kernel_sizes: Kernel sizes of the poolings.
        norm_cfg: Config of the normalisation.
        act_cfg: Config of the activation.
        init_cfg: Initialisation config of mmengine.
    """

    def __init__(
        self,
        num_scales: int,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        kernel_sizes: Sequence[int] = (5, 9, 13),
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        layers = dict(
            norm_cfg=norm_cfg or dict(type='BN'),
            act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1),
        )
        super().__init__(num_scales, in_channels, out_channels, init_cfg=init_cfg, **layers)
        width = out_channels[0]
        # Its first convolution is the block's third one.
        self.detect1.conv3 = SPPBottleneck(2 * width, width, kernel_sizes=kernel_sizes, **layers)
