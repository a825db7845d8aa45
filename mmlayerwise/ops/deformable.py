"""Deformable convolution, forward and backward, shared by its plain and its modulated operator.

Every output pixel p sums ``weight_k * mask_k(p) * input(p + k + offset_k(p))`` over the kernel
points k, with bilinear interpolation and zeros around the input (Dai et al., "Deformable
Convolutional Networks", ICCV 2017, Eq. 2; Zhu et al., "Deformable ConvNets v2", CVPR 2019, Eq. 1).
The sampled values of a band of output pixels become the rows of one matrix product.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmlayerwise.ops import deformable_torchvision
from mmlayerwise.ops.deformable_geometry import Geometry, check_shapes
from mmlayerwise.ops.precision import upcast
from mmlayerwise.ops.sampling import (
    BilinearTaps,
    balanced_slices,
    bilinear_taps,
    gather_rows,
    pixel_rows,
    row_products,
    scatter_rows,
)

# Largest number of sampled values held at once: 64 MiB in float32.
_MAX_COLUMN_VALUES = 2**24


class Gradients(NamedTuple):
    """Gradients of a deformable convolution; None where not asked for."""

    input: Tensor | None
    offset: Tensor | None
    mask: Tensor | None
    weight: Tensor | None


def _without_autocast(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep autocast from lowering the precision of the matrix products inside."""

    @wraps(function)
    def wrapper(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad(), torch.autocast(input.device.type, enabled=False):
            return function(input, *args, **kwargs)

    return wrapper


@_without_autocast
def forward(
    input: Tensor, offset: Tensor, mask: Tensor | None, weight: Tensor, geometry: Geometry
) -> Tensor:
    """Convolve at displaced sampling points.

    Args:
        input: Input (N, C, H, W).
        offset: Displacements in pixels (N, G * K * 2, Ho, Wo), y before x, for G deform groups.
        mask: Modulation (N, G * K, Ho, Wo), or None for a modulation of one.
        weight: Weights (C_out, C / groups, kernel height, kernel width).
        geometry: Kernel, stride, padding, dilation and groups.

    Returns:
        Output (N, C_out, Ho, Wo), computed and returned in float32 or the dtype of a wider input.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    check_shapes(input, offset, mask, weight, geometry)
    input, offset, weight = upcast(input), upcast(offset), upcast(weight)
    mask = None if mask is None else upcast(mask)
    if deformable_torchvision.serves(input):
        return deformable_torchvision.forward(input, offset, mask, weight, geometry)
    output_size = geometry.output_size(*input.shape[-2:])
    pixels = output_size[0] * output_size[1]
    output = input.new_empty(
        input.shape[0], geometry.groups, weight.shape[0] // geometry.groups, pixels
    )
    matrix = _weight_matrix(weight, geometry)
    for index in range(input.shape[0]):
        table = pixel_rows(input[index], geometry.deform_groups)
        for band in _bands(input.shape[1], output_size, geometry):
            points = _sample(input, offset, mask, index, band, output_size, geometry)
            columns = gather_rows(table, points.rows, points.modulated(points.taps.weights))
            columns = _by_group(columns, input.shape[1], geometry)
            output[index, :, :, band] = matrix @ columns.transpose(1, 2)
    return output.view(input.shape[0], weight.shape[0], *output_size)


@_without_autocast
def backward(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    weight: Tensor,
    grad_output: Tensor,
    geometry: Geometry,
    needs_input: bool = True,
    needs_weight: bool = True,
) -> Gradients:
    """Differentiate :func:`forward`.

    Args:
        input: Input (N, C, H, W).
        offset: Displacements (N, G * K * 2, Ho, Wo).
        mask: Modulation (N, G * K, Ho, Wo), or None.
        weight: Weights (C_out, C / groups, kernel height, kernel width).
        grad_output: Gradient of the output (N, C_out, Ho, Wo).
        geometry: Kernel, stride, padding, dilation and groups.
        needs_input: Compute the gradients of input, offset and mask.
        needs_weight: Compute the gradient of the weights.

    Returns:
        The gradients, in float32 or the dtype of a wider input.
    """
    check_shapes(input, offset, mask, weight, geometry)
    input, offset, weight = upcast(input), upcast(offset), upcast(weight)
    mask, grad_output = None if mask is None else upcast(mask), upcast(grad_output)
    if deformable_torchvision.serves(input):
        return Gradients(
            *deformable_torchvision.backward(input, offset, mask, weight, grad_output, geometry)
        )
    batch, channels = input.shape[:2]
    output_size = geometry.output_size(*input.shape[-2:])
    filters, pixels = weight.shape[0] // geometry.groups, output_size[0] * output_size[1]
    grad_output = grad_output.reshape(batch, geometry.groups, filters, pixels)
    matrix = _weight_matrix(weight, geometry)
    grad_matrix = torch.zeros_like(matrix) if needs_weight else None
    grad_input = torch.empty_like(input) if needs_input else None
    grad_offset = torch.empty_like(offset) if needs_input else None
    grad_mask = torch.empty_like(mask) if needs_input and mask is not None else None
    for index in range(batch):
        table = pixel_rows(input[index], geometry.deform_groups)
        grad_table = torch.zeros_like(table)
        for band in _bands(channels, output_size, geometry):
            points = _sample(input, offset, mask, index, band, output_size, geometry)
            weights = points.modulated(points.taps.weights)
            if needs_weight:
                columns = _by_group(gather_rows(table, points.rows, weights), channels, geometry)
                grad_matrix += grad_output[index, :, :, band] @ columns
            if needs_input:
                grad_columns = grad_output[index, :, :, band].transpose(1, 2) @ matrix
                grad_columns = _by_point(grad_columns, table.shape[1], geometry)
                grad_table += scatter_rows(grad_columns, points.rows, weights, table.shape[0])
                products = row_products(grad_columns, table, points.rows)
                _write_coordinate_gradients(
                    grad_offset, grad_mask, products, points, index, band, geometry
                )
        if needs_input:
            grad_input[index] = grad_table.view(*input.shape[-2:], channels).permute(2, 0, 1)
    grad_weight = _weight_from_matrix(grad_matrix, weight, geometry) if needs_weight else None
    return Gradients(grad_input, grad_offset, grad_mask, grad_weight)


class _Points(NamedTuple):
    """The sampling points of a band of output pixels of one image, in the order (pixel, K, G)."""

    rows: Tensor  # rows of the pixel table, (points, 4)
    taps: BilinearTaps  # weights and slopes, (points, 4)
    mask: Tensor | None  # modulation, (points, 1)

    def modulated(self, values: Tensor) -> Tensor:
        """Multiply values of shape (points, 4) by the modulation."""
        return values if self.mask is None else values * self.mask


def _bands(channels: int, output_size: tuple[int, int], geometry: Geometry) -> list[slice]:
    """Cut the output pixels into bands whose sampled values fit the memory allowed."""
    values_per_pixel = max(1, geometry.points * channels)
    return balanced_slices(output_size[0] * output_size[1], _MAX_COLUMN_VALUES // values_per_pixel)


def _sample(
    input: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    index: int,
    band: slice,
    output_size: tuple[int, int],
    geometry: Geometry,
) -> _Points:
    """Locate the sampling points of one image's band of output pixels."""
    deform_groups, points = geometry.deform_groups, geometry.points
    displacement = offset[index].reshape(deform_groups, points, 2, -1)[..., band]
    displacement = displacement.permute(3, 1, 0, 2).contiguous()  # (pixel, K, G, 2)
    pixels = torch.arange(band.start, band.stop, device=input.device)
    kernel_points = torch.arange(points, device=input.device)
    pixel_axes = (pixels // output_size[1], pixels % output_size[1])
    kernel_axes = (kernel_points // geometry.kernel[1], kernel_points % geometry.kernel[1])
    positions = [
        (
            pixel_axes[axis][:, None] * geometry.stride[axis]
            + kernel_axes[axis] * geometry.dilation[axis]
            - geometry.padding[axis]
        )[..., None]
        + displacement[..., axis]
        for axis in range(2)
    ]
    taps = bilinear_taps(*positions, *input.shape[-2:])
    rows = taps.cells * deform_groups + torch.arange(deform_groups, device=input.device)[:, None]
    if mask is not None:
        mask = mask[index].reshape(deform_groups, points, -1)[..., band]
        mask = mask.permute(2, 1, 0).reshape(-1, 1)
    return _Points(rows.view(-1, 4), BilinearTaps(*(tap.view(-1, 4) for tap in taps)), mask)


def _write_coordinate_gradients(
    grad_offset: Tensor,
    grad_mask: Tensor | None,
    products: Tensor,
    points: _Points,
    index: int,
    band: slice,
    geometry: Geometry,
) -> None:
    """Turn products of gradients and pixels (points, 4) into gradients of offset and mask."""
    shape = (-1, geometry.points, geometry.deform_groups)
    for axis, slopes in enumerate((points.taps.y_slopes, points.taps.x_slopes)):
        gradient = points.modulated(products * slopes).sum(1).view(shape).permute(2, 1, 0)
        target = grad_offset[index].view(geometry.deform_groups, geometry.points, 2, -1)
        target[:, :, axis, band] = gradient
    if grad_mask is not None:
        gradient = (products * points.taps.weights).sum(1).view(shape).permute(2, 1, 0)
        grad_mask[index].view(geometry.deform_groups, geometry.points, -1)[..., band] = gradient


def _by_group(columns: Tensor, channels: int, geometry: Geometry) -> Tensor:
    """Arrange sampled values as (groups, pixel, K * C / groups)."""
    groups, points = geometry.groups, geometry.points
    columns = columns.view(-1, points, groups, channels // groups).permute(2, 0, 1, 3)
    return columns.reshape(groups, -1, points * (channels // groups))


def _by_point(columns: Tensor, width: int, geometry: Geometry) -> Tensor:
    """Undo :func:`_by_group`: (pixel * K * G, C / G), where ``width`` is C / G."""
    columns = columns.view(
        geometry.groups, -1, geometry.points, columns.shape[2] // geometry.points
    )
    return columns.permute(1, 2, 0, 3).reshape(-1, width)


def _weight_matrix(weight: Tensor, geometry: Geometry) -> Tensor:
    """Arrange the weights as (groups, C_out / groups, K * C / groups)."""
    weight = weight.reshape(geometry.groups, -1, weight.shape[1], geometry.points)
    return weight.transpose(2, 3).flatten(2)


def _weight_from_matrix(matrix: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Undo :func:`_weight_matrix`."""
    matrix = matrix.view(geometry.groups, -1, geometry.points, weight.shape[1])
    return matrix.transpose(2, 3).reshape(weight.shape)
