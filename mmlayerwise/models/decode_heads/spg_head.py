"""Encoder-decoders that hand each other features weighted by what they predict."""

from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from torch import nn

from mmlayerwise.models.decode_heads.stagewise_head import StagewiseHead
from mmlayerwise.models.layers.residual_pyramid_decoder import ResidualPyramidDecoder
from mmlayerwise.models.layers.semantic_prediction_guidance import SemanticPredictionGuidance
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class SPGHead(StagewiseHead):
    """All of SPGNet but its first encoder, which is the trunk.

    Each stage is an encoder and a decoder. The finest result of a decoder is scored, weighted by
    its own scores and given to the next stage, whose encoder is a ResNet without a stem and adds to
    each of its maps those of the previous stage's encoder and decoder of the same resolution,
    through 1x1 convolutions. The scores of every stage are trained on the labels, the last one's
    predict. With one stage it is a plain encoder-decoder.

    Cheng et al., SPGNet: semantic prediction guidance for scene parsing, arXiv 1908.09798; the
    connections between stages: Li et al., Rethinking on multi-stage networks for human pose
    estimation, arXiv 1901.00148.

    Args:
        encoder: Config of the encoder of the later stages, a :class:`StemlessResNet` with the
            trunk's widths.
        in_channels: Channels of the trunk's maps, the finest first.
        channels: Channels of the decoders.
        num_stages: Encoders and decoders.
        norm_cfg: The normalisation; batch normalisation by default.
        init_cfg: Initialisation config of mmengine; Kaiming's by default. Encoders have their own.
        **kwargs: Arguments of :class:`StagewiseHead`.

    Raises:
        UserError: If there is no stage, or the width can't be that of residual blocks.
    """

    def __init__(
        self,
        encoder: dict,
        in_channels: Sequence[int] = (256, 512, 1024, 2048),
        channels: int = 256,
        num_stages: int = 2,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        if num_stages < 1:
            raise UserError(f'SPGHead: num_stages is at least 1, not {num_stages}')
        if channels % 4:
            raise UserError(f'SPGHead: channels is a multiple of 4, not {channels}')
        classifiers = ('guidances', 'classifier')
        init_cfg = init_cfg or dict(
            type='Kaiming',
            layer='Conv2d',
            override=[dict(type='Normal', name=name, std=0.01) for name in classifiers],
        )
        norm_cfg = norm_cfg or dict(type='BN', requires_grad=True)
        super().__init__(in_channels, channels, norm_cfg=norm_cfg, init_cfg=init_cfg, **kwargs)
        later = range(num_stages - 1)
        self.decoders = nn.ModuleList(
            ResidualPyramidDecoder(in_channels, channels, norm_cfg, self.align_corners)
            for _ in range(num_stages)
        )
        self.guidances = nn.ModuleList(
            SemanticPredictionGuidance(channels, self.out_channels) for _ in later
        )
        self.encoders = nn.ModuleList(MODELS.build(encoder) for _ in later)
        self.entrances = nn.ModuleList(
            self._convolution(channels, one.stem_channels) for one in self.encoders
        )
        self.encoder_links = nn.ModuleList(
            nn.ModuleList(self._convolution(width, width) for width in in_channels) for _ in later
        )
        self.decoder_links = nn.ModuleList(
            nn.ModuleList(self._convolution(channels, width) for width in in_channels)
            for _ in later
        )
        self.classifier = nn.Conv2d(channels, self.out_channels, kernel_size=1)

    def _convolution(self, in_channels: int, out_channels: int) -> ConvModule:
        return ConvModule(in_channels, out_channels, 1, norm_cfg=self.norm_cfg)

    def stage_scores(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Score with every stage.

        Args:
            inputs: Outputs of the trunk.

        Returns:
            Scores of shape (N, num_classes, H / 4, W / 4) of each stage.
        """
        encoded, scores = self._transform_inputs(inputs), []
        for stage, guide in enumerate(self.guidances):
            decoded = self.decoders[stage](encoded)
            decoded[0], own = guide(decoded[0])
            scores.append(own)
            additions = [
                from_encoder(one) + from_decoder(other)
                for from_encoder, one, from_decoder, other in zip(
                    self.encoder_links[stage],
                    encoded,
                    self.decoder_links[stage],
                    decoded,
                    strict=True,
                )
            ]
            encoded = self.encoders[stage](self.entrances[stage](decoded[0]), additions)
        finest = self.decoders[-1](encoded)[0]
        return (*scores, self.classifier(finest))
