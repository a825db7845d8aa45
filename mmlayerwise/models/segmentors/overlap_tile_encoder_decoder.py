"""Prediction of images of any size by a network without padding."""

from typing import Any

import torch
from mmseg.models import EncoderDecoder

from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


def mirror_indices(size: int, before: int, after: int) -> torch.Tensor:
    """Positions in a line that is continued by mirroring, over and over where it is short.

    Args:
        size: Length of the line.
        before: Positions in front of it.
        after: Positions behind it.

    Returns:
        Int64 tensor of shape (before + size + after,), values below ``size``; the pixel on the
        border is not repeated.
    """
    period = max(2 * (size - 1), 1)
    positions = torch.arange(-before, size + after) % period
    return torch.where(positions < size, positions, period - positions)


def mirror_pad(
    images: torch.Tensor, vertical: tuple[int, int], horizontal: tuple[int, int]
) -> torch.Tensor:
    """Continue images by mirroring, by any number of pixels.

    Args:
        images: Tensor of shape (..., H, W).
        vertical: Pixels above and below.
        horizontal: Pixels to the left and to the right.

    Returns:
        Tensor of shape (..., H + sum(vertical), W + sum(horizontal)).
    """
    height, width = images.shape[-2:]
    rows = mirror_indices(height, *vertical).to(images.device)
    columns = mirror_indices(width, *horizontal).to(images.device)
    return images.index_select(-2, rows).index_select(-1, columns)


@MODELS.register_module()
class OverlapTileEncoderDecoder(EncoderDecoder):
    """Gives every pixel of an image the context that convolutions without padding take away.

    Ronneberger, Fischer and Brox (2015), section 2 and figure 2: the image is continued by
    mirroring, and a large one is predicted tile by tile, where the tiles' contexts overlap and the
    predicted tiles don't. ``test_cfg=dict(mode='whole')`` predicts the mirrored image at once,
    ``dict(mode='slide', crop_size=(388, 388))`` in output tiles of this size. In training the
    paper's input tile has real context: the labels are cropped to its middle by the head.

    Args:
        mirror_in_training: Mirror the training images too and learn every pixel of theirs,
            whatever their size.
        **kwargs: What mmseg's ``EncoderDecoder`` takes. The backbone has ``margin`` and
            ``output_size_for``, as :class:`UNetClassic` has, and returns maps of full resolution.

    Raises:
        UserError: If a tile has a size that the backbone cannot give.
    """

    def __init__(self, *args: Any, mirror_in_training: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.mirror_in_training = mirror_in_training
        if self.test_cfg is not None and self.test_cfg.get('mode') == 'slide':
            self._check_tile(self.test_cfg.crop_size)

    def _check_tile(self, size: tuple[int, int]) -> None:
        fitting = tuple(map(self.backbone.output_size_for, size))
        if fitting != tuple(size):
            raise UserError(
                f'test_cfg.crop_size is {tuple(size)}, but the network gives no tile of this '
                f'size; the next larger one is {fitting}'
            )

    def extract_feat(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute features of every pixel; in training, of the middle unless mirrored.

        Args:
            inputs: Images, float tensor of shape (N, C, H, W).

        Returns:
            Feature maps of shape (N, C', H, W).
        """
        if self.training and not self.mirror_in_training:
            return super().extract_feat(inputs)
        height, width = inputs.shape[-2:]
        margin = self.backbone.margin
        paddings = [
            (margin, margin + self.backbone.output_size_for(side) - side)
            for side in (height, width)
        ]
        features = super().extract_feat(mirror_pad(inputs, *paddings))
        return tuple(feature[..., :height, :width] for feature in features)

    def slide_inference(
        self, inputs: torch.Tensor, batch_img_metas: list[dict[str, Any]]
    ) -> torch.Tensor:
        """Predict tile by tile.

        Args:
            inputs: Images, float tensor of shape (N, C, H, W).
            batch_img_metas: Not used: the logits have the size of the inputs.

        Returns:
            Logits of shape (N, num_classes, H, W).
        """
        height, width = inputs.shape[-2:]
        tile, margin = self.test_cfg.crop_size, self.backbone.margin
        rows, columns = -(-height // tile[0]), -(-width // tile[1])
        padded = mirror_pad(
            inputs,
            (margin, margin + rows * tile[0] - height),
            (margin, margin + columns * tile[1] - width),
        )
        logits = inputs.new_empty(
            (len(inputs), self.out_channels, rows * tile[0], columns * tile[1])
        )
        for top in range(0, rows * tile[0], tile[0]):
            for left in range(0, columns * tile[1], tile[1]):
                bottom, right = top + tile[0], left + tile[1]
                window = padded[..., top : bottom + 2 * margin, left : right + 2 * margin]
                logits[..., top:bottom, left:right] = self.decode_head(super().extract_feat(window))
        return logits[..., :height, :width]
