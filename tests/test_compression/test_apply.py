"""Surgery on every architecture of the list, and what it refuses."""

import copy

import pytest
import torch
from torch import nn

from mmlayerwise.compression import CompressionPlan, apply_plan, fingerprint
from mmlayerwise.compression.dependency.graph import ChannelGraph
from mmlayerwise.compression.dependency.slicing import is_depthwise
from mmlayerwise.compression.exactness import largest_difference
from mmlayerwise.compression.outputs import every_output
from mmlayerwise.utils.meta_device import meta_device
from tests.test_compression.architectures import ARCHITECTURES, model_config, shaken
from tests.zoo.configs import build


def half_of(width: int) -> list[int]:
    """Half of the channels, scattered; the same ones for layers of the same width."""
    generator = torch.Generator().manual_seed(width)
    return sorted(torch.randperm(width, generator=generator)[: max(1, width // 2)].tolist())


def halving_plan(model: nn.Module, example: tuple[int, int]) -> CompressionPlan:
    graph = ChannelGraph(model, example)
    modules = dict(model.named_modules())
    # Depthwise convolutions follow what they read.
    names = [name for name in graph.layers() if not is_depthwise(modules[name])]
    channels = {name: half_of(graph.width((name, 'out'))) for name in names}
    return CompressionPlan(fingerprint(model), channels=channels)


@pytest.mark.parametrize('name', ARCHITECTURES)
def test_computes_what_the_original_computes_without_the_removed_maps(name):
    row = ARCHITECTURES[name]
    size = (row.side, row.side)
    original = shaken(build(*model_config(name)))
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    if not row.large:
        original, images = original.double(), images.double()
    smaller = copy.deepcopy(original)
    plan = halving_plan(original, size)

    report = apply_plan(smaller, plan, size)

    # Only what the model gives to the outside cannot be pruned.
    assert set(report.skipped.values()) == {'they are outputs of the model'}
    assert report.untraced == []
    assert largest_difference(original, smaller, report, images) < (1e-4 if row.large else 1e-9)
    # The removed maps did matter.
    with torch.no_grad():
        whole, part = every_output(original, images), every_output(smaller, images)
    assert any((one - other).abs().max() > 1e-3 for one, other in zip(whole, part, strict=True))
    assert report.after.parameters == sum(one.numel() for one in smaller.parameters())
    assert report.after.parameters < row.share * report.before.parameters
    assert report.after.flops < row.share * report.before.flops

    # A model built anew, on no device at all, takes the weights after the same plan.
    with meta_device():
        rebuilt = build(*model_config(name))
    apply_plan(rebuilt, CompressionPlan.from_dict(plan.instructions()), size)
    shapes = {key: value.shape for key, value in rebuilt.state_dict().items()}
    assert shapes == {key: value.shape for key, value in smaller.state_dict().items()}
