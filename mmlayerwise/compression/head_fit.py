"""Fitting the new fully connected part to a cut classifier."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor, nn

from mmlayerwise.compression.apply import apply_plan
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.compression.flops import count_parameters
from mmlayerwise.compression.head_search import HeadCandidate, HeadSearch
from mmlayerwise.compression.outputs import Example
from mmlayerwise.compression.plan import CompressionPlan, Step
from mmlayerwise.separation.batches import Batch, Forward
from mmlayerwise.separation.indices import wilson_interval
from mmlayerwise.separation.taps import undisturbed


@dataclass
class FittedHead:
    """What the search found.

    Attributes:
        chosen: The part that is taken.
        candidates: All that were tried.
        num_held_out: Samples that it was chosen on.
    """

    chosen: HeadCandidate
    candidates: list[HeadCandidate]
    num_held_out: int


def has_replaceable_head(model: nn.Module) -> bool:
    """Whether a model is a classifier whose fully connected part can be replaced."""
    from mmlayerwise.models.heads.cls_head import ClsHead

    return isinstance(getattr(model, 'head', None), ClsHead)


def pooling_of(shape: torch.Size | tuple[int, ...], positions: int) -> int | None:
    """Side of the grid on which maps were sampled; None if as they are.

    Args:
        shape: Of the layer's output: (images, channels, height, width), or (texts, channels,
            length), where the grid is one row.
        positions: Values of a channel in a sample.
    """
    sides = shape[2:]
    if not sides or positions == torch.Size(sides).numel():
        return None
    return max(1, positions if len(sides) == 1 else isqrt(positions))


def fit_head(
    model: nn.Module,
    plan: CompressionPlan,
    batches: Iterable[Batch],
    forward: Forward,
    search: HeadSearch,
    pool: int | None = None,
    example: Example | None = None,
) -> tuple[nn.Module, FittedHead]:
    """Choose the new fully connected part, write it into the plan, and carry the plan out.

    The parts learn from the vectors that reach them in the compressed model. Parts with which it
    would have more parameters than the model are not tried.

    Args:
        model: The trained model with a module ``head``; it is left as it was found.
        plan: What goes; its ``head`` is set and a step is added.
        batches: Training data with image labels.
        forward: Runs a model on the inputs of a batch.
        search: Which parts to try, and how.
        pool: Side of the grid that the maps are averaged to before they are flattened; None
            flattens them as they are.
        example: See :mod:`mmlayerwise.compression.outputs`.

    Returns:
        The compressed model with the trained part, and what was tried.
    """
    plan.head = {'hidden': [], 'dropout': search.dropout, 'pool': pool}
    small = _compressed(model, plan, example)
    vectors, labels = _vectors_before(small, batches, forward, search.seed)
    num_classes = _linear_layers(small)[-1].out_features
    room = count_parameters(model) - count_parameters(small) + count_parameters(small.head)
    candidates = search.run(vectors, labels, num_classes, max_parameters=room)
    chosen = search.choose(candidates)
    held_out = max(2, round(search.held_out * len(vectors)))
    if chosen.hidden:
        plan.head['hidden'] = [chosen.hidden]
        small = _compressed(model, plan, example)
    _load(small, chosen)
    best = max(candidates, key=lambda one: getattr(one, search.measure))
    plan.steps.append(
        Step(
            kind='head',
            module='head',
            kept=chosen.hidden,
            total=max(one.hidden for one in candidates),
            index_layer=f'held-out {search.measure}',
            before=getattr(best, search.measure),
            after=getattr(chosen, search.measure),
            interval=wilson_interval(getattr(chosen, search.measure), held_out),
            gain=getattr(chosen, search.measure) - getattr(best, search.measure),
            note=_note(search, candidates, chosen, best),
        )
    )
    return small, FittedHead(chosen, candidates, held_out)


def _note(
    search: HeadSearch,
    candidates: list[HeadCandidate],
    chosen: HeadCandidate,
    best: HeadCandidate,
) -> str:
    tried = {one.hidden for one in candidates}
    too_large = [str(width) for width in search.widths if width not in tried]
    larger = f'; {", ".join(too_large)} would make the model larger' if too_large else ''
    return (
        f'hidden width {chosen.hidden}; the best of all has {best.hidden}; held-out accuracy '
        f'{chosen.accuracy:.3f}{larger}'
    )


def _compressed(
    model: nn.Module, plan: CompressionPlan, example: Example | None = None
) -> nn.Module:
    small = copy.deepcopy(model)
    apply_plan(small, plan, example)
    return small


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    head = getattr(model, 'head', None)
    found = [part for part in head.modules() if isinstance(part, nn.Linear)] if head else []
    if not found:
        raise CompressionError(
            f'{type(model).__name__} has no head with linear layers that could be replaced'
        )
    return found


def _vectors_before(
    model: nn.Module, batches: Iterable[Batch], forward: Forward, seed: int
) -> tuple[Tensor, Tensor]:
    """What the only linear layer of the head is given, and the labels."""
    vectors: list[Tensor] = []
    labels: list[int] = []
    handle = _linear_layers(model)[-1].register_forward_pre_hook(
        lambda module, args: vectors.append(args[0].detach().float())
    )
    try:
        with undisturbed(model, seed):
            for batch in batches:
                forward(model, batch.inputs)
                labels += [truth.label for truth in batch.truths]
    finally:
        handle.remove()
    found = torch.cat(vectors)
    return found, torch.tensor(labels, device=found.device)


def _load(model: nn.Module, chosen: HeadCandidate) -> None:
    names = ['hidden', 'fc'] if chosen.hidden else ['fc']
    with torch.no_grad():
        for name, layer in zip(names, _linear_layers(model), strict=True):
            layer.weight.copy_(chosen.state[f'{name}.weight'])
            layer.bias.copy_(chosen.state[f'{name}.bias'])
