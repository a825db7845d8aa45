"""Where a network may end: after which of its blocks the index rises no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.pooling import _AvgPoolNd, _MaxPoolNd

from mmlayerwise.compression.agreement import Agreement
from mmlayerwise.compression.errors import CompressionError
from mmlayerwise.separation.layers import Layer, Trace, layer_kinds
from mmlayerwise.separation.significance import Difference, SignificanceTest, paired_difference


@dataclass
class BlockIndex:
    """What was measured behind one block.

    Attributes:
        layer: The block's output.
        agreement: Which samples' neighbours agree.
        ids: int64 of shape (num_samples,), ascending.
    """

    layer: Layer
    agreement: Agreement
    ids: Tensor

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.layer.name

    @property
    def index(self) -> float:
        """Separation index."""
        return self.agreement.index

    def compared_to(self, earlier: 'BlockIndex') -> Difference:
        """Paired difference on the samples that both have."""
        return paired_difference(
            earlier.agreement.per_sample, self.agreement.per_sample, earlier.ids, self.ids
        )


def block_ends(trace: Trace, with_pooling: bool = True) -> list[Layer]:
    """Outputs of the blocks of the filter part, in execution order.

    A block is a direct unit of the backbone (of the model where it has none) with a convolution or
    another layer inside; plain containers are looked into. Branches end with their block.

    Args:
        trace: The model's layers.
        with_pooling: Whether a bare convolution's block ends with the pooling that follows it.
    """
    root = 'backbone' if 'backbone' in trace.modules else ''
    units = _units(trace.modules, root)
    ends = [name for name in units if _holds_convolution(trace.modules[name])]
    ends = ends or [name for name in units if layer_kinds(trace.modules[name])]
    if with_pooling:
        ends = [_pooled(name, units, trace.modules) for name in ends]
    return trace.in_order([layer for name in ends for layer in trace.outputs(name)[-1:]])


def encoder_levels(trace: Trace) -> list[Layer]:
    """The deepest block of each resolution on the way down, in execution order."""
    ends = block_ends(trace, with_pooling=False)
    ends = [layer for layer in ends if len(layer.shape) == 4]
    levels: list[Layer] = []
    for layer in ends:
        if levels and layer.shape[2:] == levels[-1].shape[2:]:
            levels[-1] = layer
        elif not levels or layer.shape[2] < levels[-1].shape[2]:
            levels.append(layer)
        else:
            break  # the way up begins
    return levels


def last_gain(blocks: Sequence[BlockIndex], test: SignificanceTest) -> int:
    """The first block after which none is significantly better (a classifier's l*).

    Args:
        blocks: In execution order.
        test: What is significant.

    Returns:
        Its position.
    """
    for place, block in enumerate(blocks):
        if not any(test.rises(later.compared_to(block)) for later in blocks[place + 1 :]):
            return place
    raise CompressionError('There is no block to choose from')


def critical_level(blocks: Sequence[BlockIndex], test: SignificanceTest) -> int:
    """The level of an encoder behind which the index drops or rises no more.

    A rise may take several levels to become significant; a drop ends the way down at once.

    Args:
        blocks: The levels on the way down.
        test: What is significant.

    Returns:
        Its position.
    """
    before_drop = next(
        (
            place
            for place, (block, below) in enumerate(pairwise(blocks))
            if test.drops(below.compared_to(block))
        ),
        len(blocks) - 1,
    )
    return last_gain(blocks[: before_drop + 1], test)


def at_chance(blocks: Sequence[BlockIndex]) -> bool:
    """Whether no block's index is above what random neighbours would give."""
    return all(block.agreement.interval()[0] <= block.agreement.chance for block in blocks)


def _units(modules: dict[str, nn.Module], root: str) -> list[str]:
    names = []
    for child, module in modules[root].named_children():
        name = f'{root}.{child}' if root else child
        plain = type(module).forward in (nn.Sequential.forward, nn.ModuleList.forward)
        names += _units(modules, name) if plain else [name]
    return names


def _pooled(name: str, units: Sequence[str], modules: dict[str, nn.Module]) -> str:
    """The pooling that belongs to a bare convolution, or the unit itself."""
    if not isinstance(modules[name], _ConvNd):
        return name
    for following in units[units.index(name) + 1 :]:
        if isinstance(modules[following], _MaxPoolNd | _AvgPoolNd):
            return following
        if _holds_convolution(modules[following]):
            break
    return name


def _holds_convolution(module: nn.Module) -> bool:
    return any(isinstance(part, _ConvNd) for part in module.modules())
