"""Taking channels out of one module."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

Indices = Sequence[int]


@dataclass(frozen=True)
class TensorSlice:
    """What stays of a parameter or buffer, or of anything that belongs to it by position.

    Attributes:
        kept: Dimension -> indices that stay, ascending.
        group_dim: Dimension of a grouped convolution's weight that counts within the groups.
        group_kept: For each group, the indices of that dimension that stay; equally many.
    """

    kept: dict[int, list[int]]
    group_dim: int | None = None
    group_kept: tuple[tuple[int, ...], ...] = ()

    def __call__(self, tensor: Tensor) -> Tensor:
        """Take what stays.

        Args:
            tensor: Of the shape of the parameter before, such as a momentum of an optimizer.

        Returns:
            A new tensor.
        """
        for dim, indices in self.kept.items():
            tensor = tensor.index_select(dim, torch.tensor(indices, device=tensor.device))
        if self.group_dim is None:
            return tensor.contiguous()
        chunks = tensor.chunk(len(self.group_kept), 1 - self.group_dim)
        parts = [
            chunk.index_select(self.group_dim, torch.tensor(indices, device=tensor.device))
            for chunk, indices in zip(chunks, self.group_kept, strict=True)
        ]
        return torch.cat(parts, 1 - self.group_dim)


@dataclass(frozen=True)
class Cut:
    """What stays of one module.

    Attributes:
        inputs: Input channels that stay; None: all.
        outputs: Output channels that stay; None: all. Where both are the same channels (a
            normalisation, a depthwise convolution) both are given.
    """

    inputs: list[int] | None = None
    outputs: list[int] | None = None


def is_depthwise(module: nn.Module) -> bool:
    """Whether every output channel of a module reads the one input channel of the same number."""
    return (
        isinstance(module, _ConvNd)
        and module.groups == module.in_channels == module.out_channels
        and module.groups > 1
    )


def is_one_to_one(module: nn.Module) -> bool:
    """Whether input and output are the same channels: a normalisation or depthwise convolution."""
    return is_depthwise(module) or not has_filters(module)


def has_filters(module: nn.Module) -> bool:
    """Whether every output channel of a module has weights for input channels.

    Convolutions of any kind and linear layers.
    """
    return isinstance(module, _ConvNd | nn.Linear) or _has_channels(module)


def groups_of(module: nn.Module, side: str) -> int:
    """In how many equal runs the channels of a side have to stay: groups of a convolution or norm.

    Args:
        module: The module.
        side: ``'in'`` or ``'out'``.
    """
    if isinstance(module, nn.GroupNorm):
        return module.num_groups
    if isinstance(module, _ConvNd):
        return 1 if is_depthwise(module) else module.groups
    if is_deformable(module):
        return module.deform_groups * module.groups if side == 'in' else module.groups
    return 1


def whole_groups_may_go(module: nn.Module) -> bool:
    """Whether a group may lose all its channels while others stay."""
    return isinstance(module, nn.GroupNorm)


def channels_of(module: nn.Module, side: str) -> int | None:
    """Number of channels of a side of a module; None for a module that is not sliced."""
    for kind, ins, outs in _WIDTHS:
        if isinstance(module, kind):
            return getattr(module, ins if side == 'in' else outs)
    if isinstance(module, nn.LayerNorm):
        return module.normalized_shape[-1] if len(module.normalized_shape) == 1 else None
    if isinstance(module, nn.PReLU):
        return module.num_parameters
    if _has_channels(module):
        return module.in_channels if side == 'in' else module.out_channels
    if is_l2_norm(module):
        return module.n_dims
    return None


def slice_module(module: nn.Module, cut: Cut) -> dict[str, TensorSlice]:
    """Remove channels from a module in place.

    Args:
        module: A module of a kind that :func:`channels_of` knows.
        cut: What stays. Numbers of channels in groups have been checked.

    Returns:
        How each of its own parameters and buffers was sliced.
    """
    for test, slicer in _SLICERS:
        if test(module):
            slices = slicer(module, cut)
            break
    else:
        raise TypeError(f'{type(module).__name__} cannot be sliced')
    for name, one in slices.items():
        owner, _, leaf = name.rpartition('.')
        _replace(module.get_submodule(owner), leaf, one)
    return slices


def slice_parameter(model: nn.Module, name: str, cut: Cut) -> TensorSlice:
    """Remove entries of a parameter that belongs to no module of a known kind, in place.

    Args:
        model: The network.
        name: The parameter; its last dimension that is not 1 counts channels.
        cut: What stays, as ``outputs``.

    Returns:
        How it was sliced.
    """
    owner, _, leaf = name.rpartition('.')
    one = TensorSlice({channel_dim(model.get_parameter(name)): list(cut.outputs)})
    _replace(model.get_submodule(owner), leaf, one)
    return one


def channel_dim(parameter: Tensor) -> int:
    """The dimension of a bare parameter that counts channels: the last one that is not 1."""
    return max((dim for dim, size in enumerate(parameter.shape) if size > 1), default=0)


def _replace(module: nn.Module, name: str, one: TensorSlice) -> None:
    old = getattr(module, name)
    new = one(old.detach())
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
        if old.grad is not None:
            new.grad = one(old.grad)
    setattr(module, name, new)


def _present(module: nn.Module, slices: dict[str, TensorSlice]) -> dict[str, TensorSlice]:
    """Without what slices nothing and without parameters that are None."""
    return {
        name: one
        for name, one in slices.items()
        if (one.kept or one.group_dim is not None) and getattr(module, name, None) is not None
    }


def _dims(**kept: Indices | None) -> dict[int, list[int]]:
    return {int(name[1:]): list(value) for name, value in kept.items() if value is not None}


def _slice_convolution(module: _ConvNd, cut: Cut) -> dict[str, TensorSlice]:
    slices = {'bias': TensorSlice(_dims(d0=cut.outputs))}
    if is_depthwise(module):
        slices['weight'] = TensorSlice(_dims(d0=cut.outputs))
        module.groups = module.in_channels = len(cut.outputs)
    elif module.groups > 1:
        slices['weight'] = _grouped_weight(module, cut)
    elif isinstance(module, _ConvTransposeNd):
        slices['weight'] = TensorSlice(_dims(d0=cut.inputs, d1=cut.outputs))
    else:
        slices['weight'] = TensorSlice(_dims(d0=cut.outputs, d1=cut.inputs))
    slices = _present(module, slices)
    _set_widths(module, cut)
    return slices


def _grouped_weight(module: nn.Module, cut: Cut) -> TensorSlice:
    """A weight whose first dimension counts all channels and whose second those of one group."""
    whole, within = cut.outputs, cut.inputs
    width = module.in_channels // module.groups
    if isinstance(module, _ConvTransposeNd):
        whole, within = within, whole
        width = module.out_channels // module.groups
    if within is None:
        return TensorSlice(_dims(d0=whole))
    members = tuple(
        tuple(channel - group * width for channel in within if channel // width == group)
        for group in range(module.groups)
    )
    return TensorSlice(_dims(d0=whole), group_dim=1, group_kept=members)


def _set_widths(module: nn.Module, cut: Cut) -> None:
    if cut.inputs is not None:
        module.in_channels = len(cut.inputs)
    if cut.outputs is not None:
        module.out_channels = len(cut.outputs)


def _slice_linear(module: nn.Linear, cut: Cut) -> dict[str, TensorSlice]:
    slices = {
        'weight': TensorSlice(_dims(d0=cut.outputs, d1=cut.inputs)),
        'bias': TensorSlice(_dims(d0=cut.outputs)),
    }
    slices = _present(module, slices)
    if cut.inputs is not None:
        module.in_features = len(cut.inputs)
    if cut.outputs is not None:
        module.out_features = len(cut.outputs)
    return slices


def _along_first(*names: str) -> Callable[[nn.Module, Cut], dict[str, TensorSlice]]:
    def slices(module: nn.Module, cut: Cut) -> dict[str, TensorSlice]:
        return _present(module, {name: TensorSlice(_dims(d0=cut.outputs)) for name in names})

    return slices


def _slice_norm(module: _NormBase, cut: Cut) -> dict[str, TensorSlice]:
    module.num_features = len(cut.outputs)
    return _along_first('weight', 'bias', 'running_mean', 'running_var')(module, cut)


def _slice_group_norm(module: nn.GroupNorm, cut: Cut) -> dict[str, TensorSlice]:
    width = module.num_channels // module.num_groups
    module.num_groups = len({channel // width for channel in cut.outputs})
    module.num_channels = len(cut.outputs)
    return _along_first('weight', 'bias')(module, cut)


def _slice_layer_norm(module: nn.LayerNorm, cut: Cut) -> dict[str, TensorSlice]:
    module.normalized_shape = (len(cut.outputs),)
    return _along_first('weight', 'bias')(module, cut)


def _slice_prelu(module: nn.PReLU, cut: Cut) -> dict[str, TensorSlice]:
    module.num_parameters = len(cut.outputs)
    return _along_first('weight')(module, cut)


def _slice_l2_norm(module: nn.Module, cut: Cut) -> dict[str, TensorSlice]:
    module.n_dims = len(cut.outputs)
    return _along_first('weight')(module, cut)


def _slice_deformable(module: nn.Module, cut: Cut) -> dict[str, TensorSlice]:
    """A deformable convolution, whose offsets are computed from the same input."""
    if module.groups > 1:
        weight = _grouped_weight(module, cut)
    else:
        weight = TensorSlice(_dims(d0=cut.outputs, d1=cut.inputs))
    bias = TensorSlice(_dims(d0=cut.outputs))
    slices = _present(module, {'weight': weight, 'bias': bias})
    _set_widths(module, cut)
    if cut.inputs is not None and hasattr(module, 'conv_offset'):
        module.conv_offset.in_channels = len(cut.inputs)
        slices['conv_offset.weight'] = TensorSlice(_dims(d1=cut.inputs))
    return slices


def _slice_locally_connected(module: nn.Module, cut: Cut) -> dict[str, TensorSlice]:
    """A convolution with weights of its own at every place: (place, output, input and kernel)."""
    inputs = None
    if cut.inputs is not None:
        area = module.kernel_size**2
        inputs = [channel * area + one for channel in cut.inputs for one in range(area)]
    _set_widths(module, cut)
    return {
        'weight': TensorSlice(_dims(d1=cut.outputs, d2=inputs)),
        'bias': TensorSlice(_dims(d0=cut.outputs)),
    }


def is_locally_connected(module: nn.Module) -> bool:
    """Whether a module is :class:`~mmlayerwise.models.layers.LocallyConnected2d`."""
    return type(module).__name__ == 'LocallyConnected2d' and hasattr(module, 'map_size')


def is_deformable(module: nn.Module) -> bool:
    """Whether a module is a deformable convolution of mmcv, which is optional."""
    return hasattr(module, 'deform_groups') and hasattr(module, 'out_channels')


def is_l2_norm(module: nn.Module) -> bool:
    """Whether a module is mmdet's scaled normalisation by the length of the feature vector."""
    return type(module).__name__ == 'L2Norm' and hasattr(module, 'n_dims')


def _has_channels(module: nn.Module) -> bool:
    """Whether a module that is no convolution of PyTorch calls its channels as those do."""
    return is_deformable(module) or is_locally_connected(module)


# Kind of module and its attributes for the number of input and output channels.
_WIDTHS = (
    (_ConvNd, 'in_channels', 'out_channels'),
    (nn.Linear, 'in_features', 'out_features'),
    (_NormBase, 'num_features', 'num_features'),
    (nn.GroupNorm, 'num_channels', 'num_channels'),
)
_SLICERS: tuple[tuple[Callable[[nn.Module], bool], Callable], ...] = (
    (lambda module: isinstance(module, _ConvNd), _slice_convolution),
    (lambda module: isinstance(module, nn.Linear), _slice_linear),
    (lambda module: isinstance(module, _NormBase), _slice_norm),
    (lambda module: isinstance(module, nn.GroupNorm), _slice_group_norm),
    (lambda module: isinstance(module, nn.LayerNorm), _slice_layer_norm),
    (lambda module: isinstance(module, nn.PReLU), _slice_prelu),
    (is_deformable, _slice_deformable),
    (is_locally_connected, _slice_locally_connected),
    (is_l2_norm, _slice_l2_norm),
)
