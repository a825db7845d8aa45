"""Whether a smaller model computes what the original computes without the removed maps."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlayerwise.compression.dependency.slicing import Cut, is_one_to_one
from mmlayerwise.compression.outputs import every_output
from mmlayerwise.compression.report import SurgeryReport


def largest_difference(
    original: nn.Module, smaller: nn.Module, report: SurgeryReport, images: Tensor
) -> float:
    """Compare a smaller model with the original whose removed maps are zero wherever they are read.

    A normalisation over channels (of groups, or of all) counts in the original, too, only those
    that stay. The comparison holds where channels were removed, not where layers were made anew.

    Args:
        original: The model before, after the cut of layers if there was one; in evaluation mode.
        smaller: The model after.
        report: What was done.
        images: Preprocessed images, float tensor of shape (N, C, H, W).

    Returns:
        The largest absolute difference of any output, in units of the largest output or of one if
        that is larger.
    """
    with torch.no_grad():
        found = every_output(smaller, images)
        with zeroed(original, report):
            expected = every_output(original, images)
    differences = [
        ((one - other).abs().max() / other.abs().max().clamp(min=1)).item()
        for one, other in zip(found, expected, strict=True)
    ]
    return max(differences)


@contextmanager
def zeroed(model: nn.Module, report: SurgeryReport) -> Iterator[None]:
    """Run the original as if the removed channels carried nothing.

    Args:
        model: The original.
        report: What a surgery removed.
    """
    modules = dict(model.named_modules())
    with ExitStack() as stack:
        for group in report.groups:
            for name, cut in group.cuts.items():
                if name in modules:
                    for handle in _mask(modules[name], cut):
                        stack.callback(handle.remove)
        yield


def _mask(module: nn.Module, cut: Cut) -> list:
    """Hooks that zero the channels of a module's input and output that do not stay."""

    def before(module: nn.Module, inputs: tuple) -> tuple:
        return (_only(inputs[0], kept_inputs, module), *inputs[1:])

    def after(module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        if isinstance(module, nn.GroupNorm | nn.LayerNorm):
            output = _normalized(module, inputs[0], cut.outputs)
        return _only(output, cut.outputs, module)

    kept_inputs = cut.outputs if is_one_to_one(module) else cut.inputs
    handles = []
    if kept_inputs is not None:
        handles.append(module.register_forward_pre_hook(before))
    if cut.outputs is not None:
        handles.append(module.register_forward_hook(after))
    return handles


def _channel_dim(module: nn.Module) -> int:
    return -1 if isinstance(module, nn.Linear | nn.LayerNorm) else 1


def _only(tensor: Tensor, kept: list[int] | None, module: nn.Module) -> Tensor:
    dim = _channel_dim(module)
    mask = tensor.new_zeros(tensor.shape[dim])
    mask[kept] = 1
    return tensor * (mask if dim == -1 else mask.view(-1, *[1] * (tensor.dim() - 2)))


def _normalized(module: nn.Module, inputs: Tensor, kept: list[int]) -> Tensor:
    """The normalisation of the channels that stay among themselves, the others being zero."""
    dim = _channel_dim(module)
    index = torch.tensor(kept, device=inputs.device)
    part = inputs.index_select(dim, index)
    weight, bias = (None if one is None else one[index] for one in (module.weight, module.bias))
    if isinstance(module, nn.GroupNorm):
        width = module.num_channels // module.num_groups
        groups = len({channel // width for channel in kept})
        part = F.group_norm(part, groups, weight, bias, module.eps)
    else:
        part = F.layer_norm(part, (len(kept),), weight, bias, module.eps)
    return torch.zeros_like(inputs).index_copy(dim, index, part)
