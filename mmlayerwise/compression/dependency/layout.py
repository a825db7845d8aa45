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


def map_concatenation(node: Node) -> None:
    """Say which channels of a concatenation come from where, if torch-pruning could not tell.

    It cannot where what reads the concatenation has another number of inputs than that has
    channels, as a linear layer has that reads whole maps, or where an operation in front changes
    their number. What is concatenated along another dimension than the channels', as tokens are,
    stays as torch-pruning sees it.

    Args:
        node: A node of torch-pruning's graph, changed in place if it is a concatenation.
    """
    if not _is_unmapped(node):
        return
    sizes = _sizes_joined(node)
    if sizes is None:
        return
    offset, addressed = 0, []
    for one, size in zip(node.inputs, sizes, strict=True):
        bounds, offset = [offset, offset + size], offset + size
        for source, target, reverse in ((node, one, True), (one, node, False)):
            # A map that is joined twice has two dependencies, in the order of the places.
            dependency = next(
                dependency
                for dependency in source.dependencies
                if dependency.target is target
                and not any(dependency is another for another in addressed)
            )
            dependency.index_mapping[1] = _ConcatIndexMapping(bounds, reverse)
            addressed.append(dependency)


def joins_unknown(node: Node) -> bool:
    """Whether a node concatenates channels, of which nobody knows where they come from."""
    return _is_unmapped(node) and _joins_channels(node)


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
    return node.type == ops.OPTYPE.RESHAPE and mapped and are_reordered(node)


def _is_unmapped(node: Node) -> bool:
    """Whether a node is a concatenation whose dependencies take no account of it."""
    return (
        node.type == ops.OPTYPE.CONCAT
        and getattr(node.module, 'offsets', None) is None
        and not any(
            isinstance(mapping, _ConcatIndexMapping)
            for dependency in node.dependencies
            if dependency.target in node.inputs  # what reads it may be a concatenation, too
            for mapping in dependency.index_mapping
        )
    )


def _sizes_joined(node: Node) -> list[int] | None:
    """How many channels each input of a concatenation gives; None if that cannot be told."""
    if not _joins_channels(node):
        return None
    width = shape_of(node)[1]
    shapes = [shape_of(one) for one in node.inputs]
    traced = [shape[1] if len(shape) > 1 else 0 for shape in shapes]
    # What torch-pruning inferred knows the parts of a split map, which has one shape.
    for sizes in (node.module.concat_sizes, traced):
        if sizes and None not in sizes and sum(sizes) == width:
            return sizes
    return None


def _joins_channels(node: Node) -> bool:
    """Whether a concatenation goes along the dimension of the channels."""
    return (
        getattr(node.grad_fn, '_saved_dim', None) == 1
        and len(shape_of(node)) > 1
        and not are_reordered(node)
    )


def are_reordered(node: Node) -> bool:
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
            if len(shape_of(one)) > 2:
                return True
            continue
        if one.grad_fn is not None and one.grad_fn.name().startswith(_REORDERINGS):
            return True
        stack += one.inputs
    return False


def shape_of(node: Node) -> Size:
    """Of what a node gives."""
    return node.grad_fn._input_metadata[0].shape
