"""The backbone of YOLO, version 1."""

from collections.abc import Sequence

from mmcv.cnn import ConvModule
from mmdet.models.backbones import Darknet
from torch import nn

from mmlayerwise.models.backbones.widths import scale_branches
from mmlayerwise.registry import MODELS

# Of every stage after the first convolution, (channels, kernel size, stride) of the convolutions.
_STAGES = (
    ((192, 3, 1),),
    ((128, 1, 1), (256, 3, 1), (256, 1, 1), (512, 3, 1)),
    (*((256, 1, 1), (512, 3, 1)) * 4, (512, 1, 1), (1024, 3, 1)),
    ((512, 1, 1), (1024, 3, 1)) * 2,
    ((1024, 3, 1), (1024, 3, 2), (1024, 3, 1), (1024, 3, 1)),
)


@MODELS.register_module()
class YOLOv1Darknet(Darknet):
    """The 24 convolutions of YOLO: 1x1 reductions and 3x3 convolutions after GoogLeNet.

    Redmon et al., "You only look once", 2016, figure 3 (https://arxiv.org/abs/1506.02640). Stages 0
    to 4 are the 20 convolutions of the pre-training on ImageNet: a classifier takes
    ``out_indices=(4,)``, global average pooling and a linear layer. Stage i has stride
    2 ** (i + 1).

    Args:
        out_indices: Stages to return, from 0 (the first convolution) to 5; stages behind the last
            of them are not built.
        norm_cfg: Config of the normalisation. None, as in the paper, leaves it out and gives the
            convolutions biases; darknet's later ``yolov1.cfg`` has batch normalisation.
        act_cfg: Config of the activation; leaky ReLU with slope 0.1 by default.
        widen_factor: Factor on the channels of all convolutions.
        frozen_stages: The first ``frozen_stages`` stages are not trained.
        norm_eval: Whether normalisation uses its running statistics in training too.
        init_cfg: Initialisation config of mmengine; Kaiming's by default.
    """

    def __init__(
        self,
        out_indices: Sequence[int] = (5,),
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        widen_factor: float = 1.0,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        init_cfg = init_cfg or [
            dict(type='Kaiming', layer='Conv2d', a=0.1, nonlinearity='leaky_relu'),
            dict(type='Constant', val=1, layer=['_BatchNorm', 'GroupNorm']),
        ]
        # Only freezing, evaluation and the forward pass are those of mmdet's Darknet.
        super(Darknet, self).__init__(init_cfg)
        if not out_indices or not set(out_indices) <= set(range(6)):
            raise ValueError(f'out_indices must be among 0 to 5, but are {tuple(out_indices)}')
        self.out_indices = out_indices
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        layers = dict(
            norm_cfg=norm_cfg, act_cfg=act_cfg or dict(type='LeakyReLU', negative_slope=0.1)
        )
        self.conv1 = ConvModule(3, 64, 7, stride=2, padding=3, **layers)
        self.cr_blocks = ['conv1']
        in_channels = 64
        for index, settings in enumerate(_STAGES[: max(out_indices)], 1):
            # The last stage halves the map by a convolution of stride 2.
            stage = nn.Sequential() if index == len(_STAGES) else nn.Sequential(nn.MaxPool2d(2, 2))
            for channels, size, stride in settings:
                stage.append(
                    ConvModule(
                        in_channels, channels, size, stride=stride, padding=size // 2, **layers
                    )
                )
                in_channels = channels
            self.add_module(f'stage{index}', stage)
            self.cr_blocks.append(f'stage{index}')
        if widen_factor != 1:
            scale_branches(self, widen_factor)
