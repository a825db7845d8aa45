"""Head of ExFuse."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import ModuleList
from mmseg.utils import ConfigType, SampleList
from torch import nn
from torch.nn.functional import pixel_shuffle

from mmlayerwise.models.decode_heads.gcn_head import GCNHead
from mmlayerwise.models.layers.exfuse import DenselyAdjacentPrediction, SemanticEmbeddingBranch
from mmlayerwise.models.layers.large_kernel import BoundaryRefinement, GlobalConvolution
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError


@MODELS.register_module()
class ExFuseHead(GCNHead):
    """A global convolutional network that fuses maps closer in semantics and resolution.

    - Semantic embedding branches multiply each map by all coarser ones.
    - Explicit channel resolution embedding: the coarsest scores have four channels a class, which
      are arranged to twice the resolution without parameters and supervised by a loss of their own.
    - Densely adjacent prediction: the finest scores, of stride 4, are averages of what neighbours
      predict; the last two steps of the global convolutional network enlarge them.

    Zhang, Zhang, Peng, Xue and Sun, "ExFuse: Enhancing Feature Fusion for Semantic Segmentation",
    arXiv 1804.03821, section 3.

    Args:
        in_channels: Channels of the stages, the finest (stride 4) first; each stage halves the
            size.
        num_classes: Number of classes.
        window: Rows and columns that a position predicts, odd.
        embedding_loss_weight: Factor on the loss of the coarsest scores.
        **kwargs: What :class:`GCNHead` takes.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        window: int = 3,
        embedding_loss_weight: float = 0.4,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, num_classes=num_classes, **kwargs)
        self.embedding_loss_weight = embedding_loss_weight
        embedded, kernel_size = 4 * self.out_channels, kwargs.get('kernel_size', 15)
        self.global_convolutions[-1] = GlobalConvolution(in_channels[-1], embedded, kernel_size)
        self.stage_refinements[-1] = BoundaryRefinement(embedded)
        self.semantic_branches = ModuleList(  # which initialises its members as they ask
            SemanticEmbeddingBranch(width, in_channels[stage + 1 :], self.align_corners)
            for stage, width in enumerate(in_channels[:-1])
        )
        self.predict_neighbours = nn.Conv2d(
            self.out_channels, self.out_channels * window**2, 3, padding=1
        )
        self.average_neighbours = DenselyAdjacentPrediction(window)

    def score(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute scores.

        Args:
            inputs: Feature maps of the stages.

        Returns:
            Logits of four times the height and width of the finest map, and the coarsest ones, of
            the size of the second coarsest map.

        Raises:
            UserError: If the coarsest map is not half as large as the next.
        """
        maps = self._transform_inputs(inputs)
        semantic = [
            branch(features, maps[stage + 1 :])
            for stage, (features, branch) in enumerate(
                zip(maps[:-1], self.semantic_branches, strict=True)
            )
        ]
        *finer, coarsest = (
            refine(convolve(features))
            for features, convolve, refine in zip(
                (*semantic, maps[-1]),
                self.global_convolutions,
                self.stage_refinements,
                strict=True,
            )
        )
        total = embedded = self._double(coarsest, finer[-1].shape[-2:])
        for scores, refine in zip(reversed(finer), self.sum_refinements, strict=True):
            total = refine(scores + self._enlarge(total, scores.shape[-2:]))
        total = self.average_neighbours(self.predict_neighbours(total))
        for refine in self.last_refinements:
            height, width = total.shape[-2:]
            total = refine(self._enlarge(total, (2 * height, 2 * width)))
        return total, embedded

    def training_outputs(
        self, inputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the losses look at, :meth:`score`; a compression follows all of it."""
        return self.score(inputs)

    @staticmethod
    def _double(coarse: torch.Tensor, size: torch.Size) -> torch.Tensor:
        """Arrange channels to twice the resolution, up to the last row and column of an odd map."""
        if tuple(coarse.shape[-2:]) != tuple(-(-side // 2) for side in size):
            raise UserError(
                f'ExFuseHead: a map of {tuple(size)} needs a coarser one of half its size, rounded '
                f'up, not of {tuple(coarse.shape[-2:])}; give the backbone strides=(1, 2, 2, 2) '
                'and no dilation'
            )
        return pixel_shuffle(coarse, 2)[..., : size[0], : size[1]]

    def forward(self, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Compute scores.

        Args:
            inputs: Feature maps of the stages.

        Returns:
            Logits of four times the height and width of the finest map.
        """
        return self.score(inputs)[0]

    def loss(
        self,
        inputs: tuple[torch.Tensor, ...],
        batch_data_samples: SampleList,
        train_cfg: ConfigType,
    ) -> dict[str, torch.Tensor]:
        """Compute the losses of the finest and of the coarsest scores.

        Args:
            inputs: Feature maps of the stages.
            batch_data_samples: Samples with label maps of shape (1, H, W).
            train_cfg: Not used.

        Returns:
            mmseg's losses, and ``embedding.loss_ce`` of the coarsest scores.
        """
        scores, embedded = self.score(inputs)
        losses = self.loss_by_feat(scores, batch_data_samples)
        for name, value in self.loss_by_feat(embedded, batch_data_samples).items():
            if 'loss' in name:
                losses[f'embedding.{name}'] = self.embedding_loss_weight * value
        return losses
