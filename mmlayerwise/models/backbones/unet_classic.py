"""The U-Net as published: convolutions without padding, skips cropped to what is left."""

import torch
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

# A stage's two 3x3 convolutions without padding take two pixels from every side.
STAGE_LOSS = 4


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions without padding, each with ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3),
        nn.ReLU(inplace=True),
        nn.Conv2d(out_channels, out_channels, kernel_size=3),
        nn.ReLU(inplace=True),
    )


def crop_to_centre(features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Cut the middle out of feature maps or label maps.

    Args:
        features: Tensor of shape (..., H, W).
        size: Height and width in pixels to keep.

    Returns:
        A view of shape (..., *size).
    """
    top, left = ((have - keep) // 2 for have, keep in zip(features.shape[-2:], size, strict=True))
    return features[..., top : top + size[0], left : left + size[1]]


@MODELS.register_module()
class UNetClassic(BaseModule):
    """The U-Net with valid convolutions, up to its last convolution of 1x1.

    Ronneberger, Fischer and Brox, U-Net: convolutional networks for biomedical image segmentation
    (2015), figure 1. A tile of 572x572 pixels gives a map of 388x388; with one input channel and
    a head of two classes the network has 31,030,658 parameters in 23 convolutional layers.

    Args:
        in_channels: Channels of the image.
        base_channels: Channels of the first stage; each further stage has twice as many.
        num_stages: Resolutions, five in the paper.
        drop_rate: Dropout at the end of the contracting path, behind its last two stages.
        init_cfg: Initialisation config of mmengine; by default normal with deviation
            sqrt(2 / fan-in), as in the paper.

    Raises:
        UserError: If there are fewer than two stages.
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 64,
        num_stages: int = 5,
        drop_rate: float = 0.5,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or {'type': 'Kaiming', 'layer': ['Conv2d'], 'mode': 'fan_in'})
        if num_stages < 2:
            raise UserError(f'num_stages must be at least 2, but is {num_stages}')
        self.num_stages = num_stages
        widths = [base_channels * 2**stage for stage in range(num_stages)]
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(drop_rate)
        self.encoder = nn.ModuleList(
            double_conv(before, after)
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.upsample = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2)
            for width in reversed(widths[:-1])
        )
        self.decoder = nn.ModuleList(
            double_conv(2 * width, width) for width in reversed(widths[:-1])
        )

    @property
    def margin(self) -> int:
        """Pixels by which the input exceeds the output on each side: 92 with five stages."""
        poolings = 2 ** (self.num_stages - 1)
        return STAGE_LOSS * (3 * poolings - 2) // 2

    def output_size_for(self, size: int) -> int:
        """The smallest output of at least this height or width.

        Args:
            size: Pixels.

        Returns:
            Pixels, 16 n - 60 with five stages; the input has ``2 * margin`` more.
        """
        poolings = 2 ** (self.num_stages - 1)
        loss = STAGE_LOSS * (poolings - 1)
        return -(-(size + loss) // poolings) * poolings - loss

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor]:
        """Compute the features of the middle of an image.

        Args:
            inputs: Images, float tensor of shape (N, C, H, W).

        Returns:
            One tensor of shape (N, base_channels, H - 2 margin, W - 2 margin).

        Raises:
            UserError: If a pooling would meet an odd size, or nothing would be left.
        """
        self._check_size(inputs)
        features, skips = inputs, []
        for index, stage in enumerate(self.encoder):
            features = stage(self.pool(features) if index else features)
            if index >= self.num_stages - 2:
                features = self.dropout(features)
            skips.append(features)
        for upsample, stage, skip in zip(
            self.upsample, self.decoder, reversed(skips[:-1]), strict=True
        ):
            features = upsample(features)
            skip = crop_to_centre(skip, features.shape[-2:])
            features = stage(torch.cat([skip, features], dim=1))
        return (features,)

    def _check_size(self, inputs: torch.Tensor) -> None:
        height, width = inputs.shape[-2:]
        context = 2 * self.margin
        fitting = [self.output_size_for(max(side - context, 1)) for side in (height, width)]
        if [height, width] != [side + context for side in fitting]:
            poolings, smallest = 2 ** (self.num_stages - 1), self.output_size_for(1) + context
            raise UserError(
                f'the U-Net takes heights and widths of {smallest}, {smallest + poolings}, '
                f'{smallest + 2 * poolings} and so on in steps of {poolings} pixels, but got '
                f'{height}x{width}; crop to such a size, or let OverlapTileEncoderDecoder mirror '
                'the image (mirror_in_training=True)'
            )
