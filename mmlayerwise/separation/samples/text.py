"""Documents and tokens: samples of networks that read sequences."""

from copy import copy

import torch
from torch import Tensor, nn

from mmlayerwise.separation.errors import SeparationError
from mmlayerwise.separation.layers import Layer
from mmlayerwise.separation.samples.images import ImageSamples
from mmlayerwise.separation.samples.pixels import PixelSamples

_LAYOUTS = ('auto', 'channels_first', 'channels_last')
_CHANNELS_FIRST = (nn.Conv1d, nn.BatchNorm1d, nn.InstanceNorm1d, nn.GroupNorm)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm, nn.MultiheadAttention, nn.Embedding, nn.RNNBase)


class _SequenceLayout:
    """Lays out sequences as maps of one row.

    Args:
        layout: ``'channels_first'`` for (texts, channels, length), as convolutions give it,
            ``'channels_last'`` for (texts, length, channels), as linear and attention layers do.
            ``'auto'`` goes by the last module of that kind within the layer, and takes the channels
            to be first where there is none.
    """

    def __init__(self, layout: str) -> None:
        if layout not in _LAYOUTS:
            names = ', '.join(map(repr, _LAYOUTS))
            raise SeparationError(f'layout must be one of {names}, got {layout!r}.')
        self.layout = layout

    def of(self, module: nn.Module) -> '_SequenceLayout':
        """The layout of one module's output."""
        if self.layout != 'auto':
            return self
        for part in reversed(list(module.modules())):
            if isinstance(part, _CHANNELS_FIRST):
                break
            if isinstance(part, _CHANNELS_LAST):
                return _SequenceLayout('channels_last')
        return _SequenceLayout('channels_first')

    def grid(self, output: Tensor) -> Tensor | None:
        """A sequence as (texts, channels, 1, length), None for any other output."""
        if output.ndim != 3:
            return None
        if self.layout == 'channels_last':
            output = output.transpose(1, 2)
        return output.unsqueeze(2)

    def length(self, shape: tuple[int, ...]) -> int | None:
        """Positions of an output of this shape, None where it is no sequence."""
        if len(shape) != 3:
            return None
        return shape[1] if self.layout == 'channels_last' else shape[2]


class TextSamples(ImageSamples):
    """Whole texts, labelled by their class.

    Args:
        pool: As :class:`ImageSamples`, along the sequence: ``'flatten'``, ``'average'``, a number g
            for the means over g equal parts, or ``'auto'``.
        max_dimension: Limit of ``'auto'``.
        layout: Of a layer's output: ``'channels_first'`` for (texts, channels, length),
            ``'channels_last'`` for (texts, length, channels), or ``'auto'``: by what the layer
            consists of, convolutions first, linear and attention layers last.
    """

    kind = 'text'

    def __init__(
        self, pool: str | int = 'auto', max_dimension: int = 8192, layout: str = 'auto'
    ) -> None:
        super().__init__(pool, max_dimension)
        self._layout = _SequenceLayout(layout)

    def for_layer(  # noqa: D102
        self, layer: Layer, model: nn.Module, input_size: tuple[int, int]
    ) -> 'TextSamples':
        sampler = copy(self)
        sampler._layout = self._layout.of(model.get_submodule(layer.module))
        return sampler

    def num_channels(self, shape: tuple[int, ...]) -> int:
        """Channels of a layer whose output has this shape, (texts, ...)."""
        grid = self._layout.grid(torch.empty(shape, device='meta'))
        return shape[-1] if grid is None else grid.shape[1]

    def _grid(self, output: Tensor, input_size: tuple[int, int]) -> Tensor | None:
        return self._layout.grid(output)


class TokenSamples(PixelSamples):
    """Tokens, each as the position of the layer's sequence it lies in, with its majority label.

    The labels are a map of one row. Positions whose majority is the ignore label are left out, a
    position that several tokens fall into counts once, and tokens of one text are no neighbours of
    each other.

    Args:
        max_per_image: Tokens to take from one text, balanced over its classes.
        max_images: Texts to look at, at most.
        exclude_same_image: Whether tokens of one text are no neighbours of each other.
        max_per_class: Tokens of one class to take from one text, at most; None for no limit.
        layout: Of a layer's output, see :class:`TextSamples`.
    """

    kind = 'token'

    def __init__(
        self,
        max_per_image: int = 50,
        max_images: int = 100,
        exclude_same_image: bool = True,
        max_per_class: int | None = None,
        layout: str = 'auto',
    ) -> None:
        super().__init__(max_per_image, max_images, exclude_same_image, max_per_class)
        self._layout = _SequenceLayout(layout)

    def accepts(  # noqa: D102
        self, shape: tuple[int, ...], num_images: int, input_size: tuple[int, int]
    ) -> bool:
        return len(shape) == 3 and shape[0] == num_images and self._layout.length(shape) > 1

    def for_layer(  # noqa: D102
        self, layer: Layer, model: nn.Module, input_size: tuple[int, int]
    ) -> 'TokenSamples':
        sampler = copy(self)
        sampler._layout = self._layout.of(model.get_submodule(layer.module))
        return sampler

    def _grid(self, output: Tensor, input_size: tuple[int, int]) -> Tensor:
        return self._layout.grid(output)
