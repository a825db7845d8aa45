"""Deformable convolution as plain loops, and the cases it is compared on."""

from typing import NamedTuple

import torch
from torch import Tensor

from .bilinear_reference import interpolate


class Case(NamedTuple):
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    deform_groups: int = 1
    batch: int = 1

    def output_size(self) -> list[int]:
        return [
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, padding, dilation in zip(
                (5, 4), self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        ]

    def __str__(self) -> str:
        return (
            f'k{self.kernel}s{self.stride}p{self.padding}d{self.dilation}'
            f'g{self.groups}dg{self.deform_groups}'
        ).replace(' ', '')


cases = [
    Case(),
    Case((2, 3), (1, 2), (1, 2), (2, 1), 2, 2, batch=2),
    Case((1, 2), (2, 1), (0, 1), deform_groups=4),
    Case((3, 1), padding=(2, 0), dilation=(2, 1), groups=4, deform_groups=2),
]


def tensors(case: Case) -> list[Tensor]:
    """Random float64 input of four channels, offset, mask and weight of eight filters."""
    generator = torch.Generator().manual_seed(0)
    points = case.deform_groups * case.kernel[0] * case.kernel[1]
    shapes = [
        (case.batch, 4, 5, 4),
        (case.batch, 2 * points, *case.output_size()),
        (case.batch, points, *case.output_size()),
        (8, 4 // case.groups, *case.kernel),
    ]
    values = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    values[1] *= 1.5  # displaced by pixels, often beyond the border
    values[2] = values[2].sigmoid()
    return values


def convolve(
    case: Case, input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor
) -> Tensor:
    """Sum over every group, kernel point and channel in turn."""
    out_height, out_width = case.output_size()
    kernel_height, kernel_width = case.kernel
    points = kernel_height * kernel_width
    filters, group_channels = weight.shape[:2]
    deform_channels = input.shape[1] // case.deform_groups
    output = torch.zeros(input.shape[0], filters, out_height, out_width, dtype=torch.float64)
    for n in range(input.shape[0]):
        for row in range(out_height):
            for column in range(out_width):
                sampled = torch.zeros(input.shape[1], points, dtype=torch.float64)
                for group in range(case.deform_groups):
                    channels = slice(group * deform_channels, (group + 1) * deform_channels)
                    for point in range(points):
                        index = group * points + point
                        dy, dx = offset[n, 2 * index : 2 * index + 2, row, column].tolist()
                        y = row * case.stride[0] - case.padding[0]
                        x = column * case.stride[1] - case.padding[1]
                        y += point // kernel_width * case.dilation[0] + dy
                        x += point % kernel_width * case.dilation[1] + dx
                        value = interpolate(input[n, channels], y, x)
                        if mask is not None:
                            value = value * mask[n, index, row, column]
                        sampled[channels, point] = value
                for filter in range(filters):
                    group = filter // (filters // case.groups)
                    channels = slice(group * group_channels, (group + 1) * group_channels)
                    products = weight[filter].double().flatten(1) * sampled[channels]
                    output[n, filter, row, column] = products.sum()
    return output
