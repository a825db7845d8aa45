"""Which dimension of a traced tensor holds the channels: what torch-pruning's graph does not know.

It follows concatenations and flattenings as if the channels were always the second dimension.
"""

from torch import Size, nn
from torch.nn.modules.conv import _ConvNd
from torch_pruning import ops
from torch_pruning.dependency import Node
from torch_pruning.dependency.index_mapping import _ConcatIndexMapping, _FlattenIndexMapping

# The backward functions of permute, movedim, transpose and their like, without their numbers.
_REORDERINGS = ('PermuteBackward', 'TransposeBackward')


def map_flattened(node: Node) -> None:
    """Say which channels of a concatenation come from where, if it is flattened behind.

    torch-pruning does so itself, unless what reads the concatenation has another number of inputs
    than it has channels, as a linear layer has that reads whole maps. What is concatenated along
    another dimension than the channels', as tokens are, stays as torch-pruning sees it.

    Args:
        node: A concatenation in torch-pruning's graph, changed in place.
    """
    sizes = node.module.concat_sizes
    if getattr(node.module, 'offsets', None) is not None or not sizes or None in sizes:
        return
    if not _joins_channels(node, sum(sizes)):
        return
    offset = 0
    for one, size in zip(node.inputs, sizes, strict=True):
        bounds, offset = [offset, offset + size], offset + size
        for source, target, reverse in ((node, one, True), (one, node, False)):
            for dependency in source.dependencies:
                if dependency.target is target:
                    dependency.index_mapping[1] = _ConcatIndexMapping(bounds, reverse)


def flattens_reordered(node: Node) -> bool:
    """Whether a node flattens maps whose channels are not the second dimension.

    torch-pruning takes the values of one channel for neighbours in the flattened vector, which they
    are not then.
    """
    mapped = any(
        isinstance(mapping, _FlattenIndexMapping)
        for dependency in node.dependencies
        for mapping in dependency.index_mapping
    )
    return node.type == ops.OPTYPE.RESHAPE and mapped and _are_reordered(node)


def _joins_channels(node: Node, width: int) -> bool:
    """Whether a concatenation gives that many channels, in the dimension along which it goes."""
    shape = _shape(node)
    return (
        getattr(node.grad_fn, '_saved_dim', None) == 1
        and len(shape) > 1
        and shape[1] == width
        and not _are_reordered(node)
    )


def _are_reordered(node: Node) -> bool:
    """Whether the channels that reach a node are not the second dimension, as far as can be seen.

    Looks back to the layers that made them: convolutions put them there, linear layers last.
    """
    stack, seen = list(node.inputs), set()
    while stack:
        one = stack.pop()
        if one in seen or isinstance(one.module, _ConvNd):
            continue
        seen.add(one)
        if isinstance(one.module, nn.Linear):
            if len(_shape(one)) > 2:
                return True
            continue
        if one.grad_fn is not None and one.grad_fn.name().startswith(_REORDERINGS):
            return True
        stack += one.inputs
    return False


def _shape(node: Node) -> Size:
    """Of what a node gives."""
    return node.grad_fn._input_metadata[0].shape
