"""Giving an optimizer the parameters of a model that was made smaller under it."""

from collections.abc import Mapping

import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import Tensor, nn
from torch.optim import Optimizer

from mmlayerwise.compression.dependency.slicing import TensorSlice


def move_optimizer(
    wrapper: OptimWrapper | OptimWrapperDict,
    before: Mapping[str, nn.Parameter],
    model: nn.Module,
    slices: Mapping[str, TensorSlice],
    survivors: Mapping[str, str] | None = None,
) -> None:
    """Replace parameters in their groups and keep what belongs to the channels that stay.

    Momentum and other buffers of a parameter's shape are sliced as the parameter was; other state,
    such as a count of steps, is kept.

    Args:
        wrapper: The optimizer or optimizers, changed in place.
        before: Parameters of the model before, by name.
        model: The model after.
        slices: How its parameters were sliced, by name.
        survivors: Name before -> name after, where they changed; what is not among them went, or
            was made anew under its name.
    """
    after = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in before.items()}
    if survivors is None:
        survivors = {name: name for name in before}
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    for one in wrappers:
        _move(one.optimizer, names, after, slices, survivors)


def _move(
    optimizer: Optimizer,
    names: Mapping[int, str],
    after: Mapping[str, nn.Parameter],
    slices: Mapping[str, TensorSlice],
    survivors: Mapping[str, str],
) -> None:
    taken = set(survivors.values())
    for group in optimizer.param_groups:
        moved = []
        for old in group['params']:
            name = names.get(id(old))
            if name is None:  # not of the model, such as a parameter of a loss
                moved.append(old)
            elif name in survivors and survivors[name] in after:
                name = survivors[name]
                moved.append(after[name])
                if after[name] is old or old not in optimizer.state:
                    continue
                state = optimizer.state.pop(old)
                # A weight made anew for other inputs begins without state.
                if name in slices or after[name].shape == old.shape:
                    optimizer.state[after[name]] = _sliced(state, old, slices.get(name))
            else:
                optimizer.state.pop(old, None)
                if name in after and name not in taken:  # made anew: it begins without state
                    moved.append(after[name])
        group['params'] = moved


def _sliced(state: Mapping, old: Tensor, cut: TensorSlice | None) -> dict:
    return {
        key: cut(value)
        if cut is not None and torch.is_tensor(value) and value.shape == old.shape
        else value
        for key, value in state.items()
    }
