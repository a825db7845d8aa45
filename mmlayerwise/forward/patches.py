"""A convolution as products of its filters with patches of its input."""

from collections.abc import Iterator, Sequence
from math import ceil, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlayerwise.forward.errors import ForwardLearningError

Convolution = nn.Conv1d | nn.Conv2d


class ConvolutionPatches:
    """The patches of samples that a convolution multiplies with its filters, conditioned.

    Patch p becomes (p - shift) / scale: scale is the standard deviation of each input channel,
    shift the mean patch. A free bias adds a last component 1. Filters in these coordinates have the
    shape (groups, filters a group, dimension) and are taken from and given to the layer by
    :meth:`filters_of` and :meth:`write`.

    What becomes of the shift depends on the layer. With a bias it is folded into the bias. With a
    batch normalisation behind, which subtracts every filter's mean by itself, a bias has no effect:
    patches are centred and the bias is not free. Without either, patches are not centred.

    Args:
        layer: The convolution; any kernel, stride, padding, dilation and number of groups.
        samples: Float tensor of shape (N, C, H, W), or (N, C, L) for a ``Conv1d``.
        batch_norm: Whether a batch normalisation follows.
        max_positions: Positions of the output to look at; on a larger output every second, third,
            ... row and column.
        chunk_bytes: Memory that one chunk of patches may take.

    Attributes:
        samples: The samples as (N, C, H, W), with H = 1 for a ``Conv1d``.
        grid: Rows and columns of the positions looked at.
        dimension: Length of a patch vector, with the bias component.
        shift: Mean patch or zeros, shape (groups, patch_size).
        scale: Shape (groups, patch_size).
        covariance: float64 of shape (groups, patch_size, patch_size), of the conditioned patches.

    Raises:
        ForwardLearningError: If the layer or the samples are of another kind, or the samples do
            not vary.
    """

    def __init__(
        self,
        layer: Convolution,
        samples: Tensor,
        *,
        batch_norm: bool = False,
        max_positions: int = 1024,
        chunk_bytes: int = 2**26,
    ) -> None:
        _check(layer, samples)
        self.layer = layer
        self.batch_norm = batch_norm
        self.groups = layer.groups
        self.has_bias = layer.bias is not None and not batch_norm
        self.samples = samples.unsqueeze(2) if isinstance(layer, nn.Conv1d) else samples
        self.chunk_bytes = chunk_bytes
        self._kernel = _two(layer.kernel_size)
        self._dilation = _two(layer.dilation)
        self._padding = _padding_of(layer, samples.shape[2:])
        mode = layer.padding_mode
        self._padding_mode = 'constant' if mode == 'zeros' else mode
        self.step = self._choose_step(_two(layer.stride), max_positions)
        self.patch_size = layer.in_channels // self.groups * prod(self._kernel)
        self.dimension = self.patch_size + self.has_bias
        self._check_it_is_plain()
        self._condition()

    @property
    def device(self) -> torch.device:
        """Where the computation runs."""
        return self.samples.device

    @property
    def num_positions(self) -> int:
        """How many patches a sample has."""
        return self.grid[0] * self.grid[1]

    def chunks(self, bytes_per_position: int, limit: int | None = None) -> Iterator[Tensor]:
        """Split the sample numbers so that a chunk stays within a memory.

        Args:
            bytes_per_position: Memory that the caller needs for one patch.
            limit: Bytes; ``chunk_bytes`` by default. A chunk holds one sample at least.

        Yields:
            int64 sample numbers, ascending.
        """
        limit = limit or self.chunk_bytes
        size = max(1, limit // (self.num_positions * bytes_per_position))
        yield from torch.arange(len(self.samples), device=self.device).split(size)

    def columns(self, numbers: Tensor) -> Tensor:
        """Conditioned patches of some samples, one a column.

        Args:
            numbers: int64 sample numbers of shape (n,).

        Returns:
            Shape (groups, dimension, n * num_positions), the positions of a sample together.
        """
        windows = self._windows(numbers)
        columns = windows.new_empty(self.groups, self.dimension, len(numbers) * self.num_positions)
        patches = columns[:, : self.patch_size]
        torch.sub(
            windows,
            self.shift.view(*windows.shape[:4], 1, 1, 1),
            out=patches.unflatten(2, windows.shape[4:]).unflatten(1, windows.shape[1:4]),
        )
        patches /= self.scale[:, :, None]
        if self.has_bias:
            columns[:, -1] = 1
        return columns

    def features(self, filters: Tensor, numbers: Tensor) -> Tensor:
        """Rectified output of the layer with the given filters.

        Args:
            filters: Shape (groups, filters a group, dimension).
            numbers: int64 sample numbers of shape (n,).

        Returns:
            Shape (num_filters, n, num_positions).
        """
        filters = filters.to(self.samples.dtype)
        output = torch.bmm(filters, self.columns(numbers)).relu_()
        return output.view(-1, len(numbers), self.num_positions)

    def filters_of(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A layer's parameters in the conditioned coordinates, float64."""
        theta = weight.detach().double().reshape(self.groups, -1, self.patch_size)
        filters = theta * self.scale.double()[:, None]
        if not self.has_bias:
            return filters
        offset = bias.detach().double().view(self.groups, -1)
        offset = offset + (theta * self.shift.double()[:, None]).sum(2)
        return torch.cat([filters, offset[..., None]], 2)

    @torch.no_grad()
    def write(self, filters: Tensor) -> None:
        """Give filters of shape (groups, filters a group, dimension) to the layer."""
        weight = filters[..., : self.patch_size].double() / self.scale.double()[:, None]
        self.layer.weight.copy_(weight.reshape(self.layer.weight.shape))
        if self.layer.bias is None:
            return
        bias = -(weight * self.shift.double()[:, None]).sum(2)
        if self.has_bias:
            bias = bias + filters[..., -1]
        self.layer.bias.copy_(bias.flatten())

    def _raw_columns(self, numbers: Tensor) -> Tensor:
        return self._windows(numbers).reshape(self.groups, self.patch_size, -1)

    def _windows(self, numbers: Tensor) -> Tensor:
        """Patches as a view of the padded samples.

        Returns:
            Shape (groups, channels a group, *kernel, num_samples, *grid).
        """
        windows = F.pad(self.samples[numbers], self._padding, self._padding_mode)
        for axis in (0, 1):
            reach = self._dilation[axis] * (self._kernel[axis] - 1) + 1
            windows = windows.unfold(2 + axis, reach, self.step[axis])
        windows = windows[..., :: self._dilation[0], :: self._dilation[1]]
        windows = windows.unflatten(1, (self.groups, -1))
        return windows.permute(1, 2, 5, 6, 0, 3, 4)

    def _choose_step(self, stride: tuple[int, int], max_positions: int) -> tuple[int, int]:
        left, right, top, bottom = (*self._padding, 0, 0)[:4]
        sides = (self.samples.shape[2] + top + bottom, self.samples.shape[3] + left + right)
        full = [
            (side - dilation * (kernel - 1) - 1) // step + 1
            for side, kernel, dilation, step in zip(
                sides, self._kernel, self._dilation, stride, strict=True
            )
        ]
        if min(full) < 1:
            raise ForwardLearningError(
                f'Samples of {tuple(self.samples.shape[2:])} are smaller than the kernel '
                f'{self._kernel}; give larger ones (crop_size).'
            )
        factor = 1
        while prod(ceil(side / factor) for side in full) > max_positions:
            factor += 1
        self._factor = factor
        self.grid = tuple(ceil(side / factor) for side in full)
        return tuple(step * factor for step in stride)

    def _check_it_is_plain(self) -> None:
        """Refuse a subclass that computes something else than a convolution."""
        numbers = torch.arange(min(2, len(self.samples)), device=self.device)
        with torch.no_grad():
            sample = self.samples[numbers]
            output = self.layer(sample.squeeze(2) if isinstance(self.layer, nn.Conv1d) else sample)
            output = output.view(*output.shape[:2], -1, output.shape[-1])
            expected = output[:, :, :: self._factor, :: self._factor].flatten(2)
            weight = self.layer.weight.reshape(self.groups, -1, self.patch_size)
            computed = torch.bmm(weight, self._raw_columns(numbers))
            computed = computed.view(-1, len(numbers), self.num_positions).transpose(0, 1)
            if self.layer.bias is not None:
                computed = computed + self.layer.bias[:, None]
        plain = computed.shape == expected.shape
        if plain:
            error = (computed - expected).abs().max()
            plain = error <= 1e-3 * expected.abs().max().clamp(min=1e-6)
        if not plain:
            raise ForwardLearningError(
                f'{type(self.layer).__name__} does not compute the plain convolution of its weight '
                '(a standardised weight, say, or NaN in weight or samples). Learn a layer whose '
                'type is Conv1d or Conv2d.'
            )

    def _condition(self) -> None:
        """Choose shift and scale and compute the covariance, in one pass over the patches."""
        channels = self.samples.double().transpose(0, 1).flatten(1).std(1, correction=0)
        largest = channels.max()
        if not largest > 0:
            raise ForwardLearningError(
                'The samples are constant: every input of the layer has the same value, so there '
                'is nothing to learn from. Check the data and the data preprocessor.'
            )
        channels = torch.where(channels > 1e-6 * largest, channels, largest)
        kernel = prod(self._kernel)
        self.scale = channels.repeat_interleave(kernel).view(self.groups, -1).to(self.samples.dtype)
        self.shift = torch.zeros_like(self.scale)
        total = torch.zeros(self.groups, self.patch_size, dtype=torch.float64, device=self.device)
        for numbers in self.chunks(4 * self.groups * self.patch_size):
            total += self._raw_columns(numbers).sum(2, dtype=torch.float64)
        count = len(self.samples) * self.num_positions
        mean = (total / count).to(self.samples.dtype)
        # Centred products don't cancel, also where the patches themselves stay as they are.
        kept, self.shift = self.shift, mean
        gram = torch.zeros(
            self.groups, self.patch_size, self.patch_size, dtype=torch.float64, device=self.device
        )
        for numbers in self.chunks(4 * self.groups * self.patch_size):
            columns = self.columns(numbers)[:, : self.patch_size]
            gram += torch.bmm(columns, columns.transpose(1, 2)).double()
        self.covariance = (gram + gram.transpose(1, 2)) / (2 * count)
        if not (self.has_bias or self.batch_norm):
            self.shift = kept


def _check(layer: Convolution, samples: Tensor) -> None:
    if not isinstance(layer, Convolution):
        raise ForwardLearningError(
            f'Quasi least squares learn an nn.Conv1d or nn.Conv2d, got {type(layer).__name__}.'
        )
    dimensions = 3 if isinstance(layer, nn.Conv1d) else 4
    if samples.ndim != dimensions or samples.shape[1] != layer.in_channels:
        raise ForwardLearningError(
            f'{type(layer).__name__} takes samples of {dimensions} dimensions with '
            f'{layer.in_channels} channels, got {tuple(samples.shape)}.'
        )
    if not samples.is_floating_point() or not samples.isfinite().all():
        raise ForwardLearningError(
            'Samples must be finite floating-point numbers; they hold NaN or infinite values or '
            f'are {samples.dtype}. Check the data and the data preprocessor.'
        )


def _padding_of(layer: Convolution, sides: Sequence[int]) -> list[int]:
    """The padding of today, in the order of ``torch.nn.functional.pad``."""
    if any(kind.__name__ == 'Conv2dAdaptivePadding' for kind in type(layer).__mro__):
        return _adaptive_padding(layer, sides)
    if isinstance(layer.padding, str):
        return list(layer._reversed_padding_repeated_twice)
    # What the layer was made with may have been changed since.
    return [size for size in reversed(layer.padding) for _ in range(2)]


def _adaptive_padding(layer: Convolution, sides: Sequence[int]) -> list[int]:
    """What mmcv's convolution pads, as TensorFlow's SAME does: an odd rest goes to the end."""
    padding = []
    axes = zip(sides, layer.kernel_size, layer.stride, layer.dilation, strict=True)
    for side, kernel, stride, dilation in axes:
        reach = (ceil(side / stride) - 1) * stride + (kernel - 1) * dilation + 1
        total = max(reach - side, 0)
        padding = [total // 2, total - total // 2, *padding]
    return padding


def _two(values: int | tuple[int, ...]) -> tuple[int, int]:
    values = (values,) if isinstance(values, int) else tuple(values)
    return values if len(values) == 2 else (1, *values)
