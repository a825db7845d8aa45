"""VD-CNN, very deep convolutional networks for text."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import nn

from mmlayerwise.models.layers.k_max_pooling import HalvingKMaxPooling
from mmlayerwise.registry import MODELS
from mmlayerwise.utils.errors import UserError

# Depth -> blocks of two convolutions with 64, 128, 256 and 512 channels (table 2 of the paper).
BLOCKS = {9: (1, 1, 1, 1), 17: (2, 2, 2, 2), 29: (5, 5, 2, 2), 49: (8, 8, 5, 3)}
POOLINGS = ('max', 'kmax', 'conv')


class ConvolutionalBlock(BaseModule):
    """Two temporal convolutions of size 3, each with batch normalisation and ReLU.

    The convolutions have biases, as those of Torch 7, with which the paper was made.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        pooling: What halves the length first: 'max' (size 3, stride 2), 'kmax' (the larger half of
            the values), 'conv' (stride 2 of the first convolution), or None.
        shortcut: Whether the input is added before the last ReLU: as it is, or through a
            convolution of size 1 with batch normalisation where channels or length change.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pooling: str | None = None,
        shortcut: bool = False,
    ) -> None:
        super().__init__()
        stride = 2 if pooling == 'conv' else 1
        if pooling == 'max':
            self.pool = nn.MaxPool1d(3, stride=2, padding=1)
        elif pooling == 'kmax':
            self.pool = HalvingKMaxPooling()
        else:
            self.pool = nn.Identity()
        self.conv1 = nn.Conv1d(in_channels, out_channels, 3, stride=stride, padding=1)
        self.norm1 = nn.BatchNorm1d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv1d(out_channels, out_channels, 3, padding=1)
        self.norm2 = nn.BatchNorm1d(out_channels)
        self.shortcut = None
        if shortcut and in_channels == out_channels and stride == 1:
            self.shortcut = nn.Identity()
        elif shortcut:
            self.shortcut = nn.Sequential(
                nn.Conv1d(in_channels, out_channels, 1, stride=stride),
                nn.BatchNorm1d(out_channels),
            )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Compute the block.

        Args:
            inputs: Float tensor of shape (N, in_channels, L).

        Returns:
            Float tensor of shape (N, out_channels, L), of half the length, rounded up, with
            pooling.
        """
        inputs = self.pool(inputs)
        hidden = self.relu(self.norm1(self.conv1(inputs)))
        hidden = self.norm2(self.conv2(hidden))
        if self.shortcut is not None:
            hidden = hidden + self.shortcut(inputs)
        return self.relu(hidden)


@MODELS.register_module()
class VDCNN(BaseModule):
    """VD-CNN (Conneau et al., 2017, https://arxiv.org/abs/1606.01781), without its classifier.

    A table of character vectors, a temporal convolution and four stages of convolutional blocks,
    which double the channels as the length is halved. ``KMaxPooling`` as neck and
    ``StackedLinearClsHead`` with two hidden layers of 2048 are the rest of the paper's network.

    The convolutions and batch normalisations of depth 9, 17 and 29 have 1,581,760, 3,676,480 and
    4,048,576 parameters. The paper's table 2 prints 2.2, 4.3 and 4.6 million, 0.6 million more than
    its layers have at every depth, without saying of what.

    Args:
        depth: 9, 17, 29 or 49: number of convolutions.
        num_tokens: Number of different tokens; 69 with the paper's alphabet.
        embedding_channels: Length of a character's vector.
        base_channels: Channels of the first convolution and the first stage.
        pooling: What halves the length between stages, see :class:`ConvolutionalBlock`.
        shortcut: Whether blocks have shortcuts, which helped at depth 49 in the paper.
        stem_relu: Whether a ReLU follows the first convolution. The paper has none. Quasi least
            squares learn filters in pairs of opposite sign for the ReLU behind them; without it
            half of them would be redundant.
        out_indices: Which of the four stages to return.
        frozen_stages: 0 keeps the character vectors and the first convolution as they are, i the
            first i stages too; -1 trains everything.
        init_cfg: Initialisation config of mmengine; Kaiming's for convolutions by default.
    """

    def __init__(
        self,
        depth: int = 9,
        num_tokens: int = 69,
        embedding_channels: int = 16,
        base_channels: int = 64,
        pooling: str = 'max',
        shortcut: bool = False,
        stem_relu: bool = False,
        out_indices: Sequence[int] = (3,),
        frozen_stages: int = -1,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type='Kaiming', layer='Conv1d'))
        if depth not in BLOCKS:
            raise UserError(f'depth of VDCNN must be one of {sorted(BLOCKS)}, but is {depth!r}')
        if pooling not in POOLINGS:
            raise UserError(f'pooling of VDCNN must be one of {POOLINGS}, but is {pooling!r}')
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.embedding = nn.Embedding(num_tokens, embedding_channels)
        self.conv = nn.Conv1d(embedding_channels, base_channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True) if stem_relu else nn.Identity()
        self.stages = nn.ModuleList()
        channels = base_channels
        for index, count in enumerate(BLOCKS[depth]):
            width = base_channels * 2**index
            first = ConvolutionalBlock(channels, width, pooling if index else None, shortcut)
            rest = [ConvolutionalBlock(width, width, shortcut=shortcut) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            channels = width
        self._freeze()

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute feature maps.

        Args:
            inputs: Tokens, int64 of shape (N, L), each in ``[0, num_tokens)``.

        Returns:
            One tensor of shape (N, C_i, L_i) for each i in ``out_indices``, with
            C_i = base_channels * 2 ** i and L halved, rounded up, i times.

        Raises:
            UserError: If the inputs are no such tokens.
        """
        self._check(inputs)
        # Laid out anew once, instead of by every convolution that reads it.
        features = self.embedding(inputs).transpose(1, 2).contiguous()
        features = self.relu(self.conv(features))
        outputs = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in self.out_indices:
                outputs.append(features)
        return tuple(outputs)

    def train(self, mode: bool = True) -> 'VDCNN':
        """Switch between training and evaluation; frozen stages stay in evaluation.

        Args:
            mode: Whether to train.

        Returns:
            This module.
        """
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.embedding, self.conv, *self.stages[: self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)

    def _check(self, inputs: torch.Tensor) -> None:
        if inputs.ndim != 2 or inputs.is_floating_point():
            raise UserError(
                'VDCNN takes the tokens of texts, integers of shape (N, L), but got '
                f'{inputs.dtype} of shape {tuple(inputs.shape)}; use QuantizeCharacters and '
                'PackTextInputs in the pipeline and TextDataPreprocessor in the model'
            )
        # On a GPU the check would wait for the device; there the lookup asserts it.
        if inputs.device.type != 'cpu' or inputs.numel() == 0:
            return
        low, high = int(inputs.min()), int(inputs.max())
        if low < 0 or high >= self.embedding.num_embeddings:
            raise UserError(
                f'the tokens range from {low} to {high}, but VDCNN has num_tokens='
                f"{self.embedding.num_embeddings}; set num_tokens to the alphabet's size and 3 more"
            )
