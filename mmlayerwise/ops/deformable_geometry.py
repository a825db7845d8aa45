"""Kernel geometry of deformable convolutions and the check that tensors fit it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Geometry:
    """Kernel, stride, padding and dilation as (vertical, horizontal), and both kinds of groups."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deform_groups: int

    @property
    def points(self) -> int:
        """Number of kernel points K."""
        return self.kernel[0] * self.kernel[1]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the output for an input of the given size."""
        return tuple(
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in zip(
                (height, width), self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )


def check_shapes(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, geometry: Geometry
) -> None:
    """Raise ValueError, naming what was given and expected, if the shapes do not fit."""
    if input.dim() != 4 or weight.dim() != 4:
        raise ValueError(
            'deformable convolution expects a 4D input and weight, '
            f'got shapes {tuple(input.shape)} and {tuple(weight.shape)}'
        )
    batch, channels, height, width = input.shape
    if tuple(weight.shape[2:]) != geometry.kernel:
        raise ValueError(
            f'kernel size {geometry.kernel} does not fit a weight of shape {tuple(weight.shape)}'
        )
    if channels != weight.shape[1] * geometry.groups or weight.shape[0] % geometry.groups:
        raise ValueError(
            f'input of {channels} channels does not fit a weight of shape {tuple(weight.shape)} '
            f'with groups={geometry.groups}: expected {weight.shape[1] * geometry.groups} input '
            'channels and a number of output channels that is divisible by groups'
        )
    if channels % geometry.deform_groups:
        raise ValueError(
            f'{channels} input channels are not divisible by deform_groups={geometry.deform_groups}'
        )
    output_size = geometry.output_size(height, width)
    if min(output_size) < 1:
        raise ValueError(
            f'input of {height}x{width} is too small for a kernel of {geometry.kernel} with '
            f'padding {geometry.padding} and dilation {geometry.dilation}: the output would be '
            f'{output_size[0]}x{output_size[1]}'
        )
    sampling_channels = geometry.deform_groups * geometry.points
    expected = {'offset': (batch, 2 * sampling_channels, *output_size)}
    if mask is not None:
        expected['mask'] = (batch, sampling_channels, *output_size)
    for name, tensor in (('offset', offset), ('mask', mask)):
        if tensor is not None and tuple(tensor.shape) != expected[name]:
            raise ValueError(
                f'{name} has shape {tuple(tensor.shape)}, expected {expected[name]} for an input '
                f'of shape {tuple(input.shape)}, {geometry}'
            )
