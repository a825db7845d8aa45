"""Classes in a tree of words, each with a probability given its parent."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from mmlayerwise.utils.errors import UserError


class WordTree(nn.Module):
    """A tree of classes with a softmax over every group of siblings.

    Redmon and Farhadi, 2017, section 4 (https://arxiv.org/abs/1612.08242): the probability of a
    node is the product of the conditional probabilities on its path from the root. The roots are
    a group too.

    Args:
        names: Names of the nodes.
        parents: Index of the parent of each node, which stands before it; -1 for a root.

    Raises:
        UserError: A parent does not stand before its child, or there is no node.
    """

    def __init__(self, names: Sequence[str], parents: Sequence[int]) -> None:
        super().__init__()
        if not names or len(names) != len(parents):
            raise UserError(
                f'a word tree needs one parent for each name, but has {len(names)} names and '
                f'{len(parents)} parents'
            )
        for node, parent in enumerate(parents):
            if not -1 <= parent < node:
                raise UserError(
                    f'node {node} ({names[node]}) of the word tree has the parent {parent}: it '
                    'must be -1 or the number of a line before'
                )
        self.names, self.parents = list(names), list(parents)
        groups = {parent: number for number, parent in enumerate(dict.fromkeys(parents))}
        self.num_groups = len(groups)
        depths = []
        for parent in parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        self.num_depths = max(depths) + 1
        self._add('group', [groups[parent] for parent in parents])
        self._add('parent', parents)
        self._add('depth', depths)
        for depth in range(self.num_depths):
            self._add(f'depth_{depth}', [n for n, d in enumerate(depths) if d == depth])

    def _add(self, name: str, numbers: Sequence[int]) -> None:
        self.register_buffer(name, torch.tensor(list(numbers)), persistent=False)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> 'WordTree':
        """Read a tree in darknet's format: a line ``name parent`` for each node.

        Args:
            path: The file, such as darknet's ``9k.tree``.

        Returns:
            The tree.

        Raises:
            UserError: There is no such file, or a line of it is of another form.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f'word tree {str(path)!r} does not exist')
        names, parents = [], []
        for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
            if not line.strip():
                continue
            name, _, parent = line.strip().rpartition(' ')
            try:
                parents.append(int(parent))
            except ValueError:
                name = ''
            if not name:
                raise UserError(f'{path}, line {number}: expected "name parent", found {line!r}')
            names.append(name.strip())
        return cls(names, parents)

    def log_conditionals(self, logits: torch.Tensor) -> torch.Tensor:
        """Logarithms of the nodes' probabilities given their parents.

        Args:
            logits: Float tensor of shape (..., V), V the number of nodes.

        Returns:
            Float tensor of shape (..., V).
        """
        group = self.group.expand_as(logits)
        shape = (*logits.shape[:-1], self.num_groups)
        maximum = logits.new_full(shape, -torch.inf)
        maximum = maximum.scatter_reduce(-1, group, logits.detach(), 'amax')
        shifted = logits - maximum.gather(-1, group)
        totals = logits.new_zeros(shape).scatter_add(-1, group, shifted.exp())
        return shifted - totals.log().gather(-1, group)

    def log_probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Logarithms of the nodes' probabilities.

        Args:
            logits: Float tensor of shape (..., V).

        Returns:
            Float tensor of shape (..., V).
        """
        outputs = conditionals = self.log_conditionals(logits)
        for depth in range(1, self.num_depths):
            nodes = getattr(self, f'depth_{depth}')
            values = conditionals[..., nodes] + outputs[..., self.parent[nodes]]
            outputs = outputs.index_copy(-1, nodes, values)
        return outputs

    def descend(self, probabilities: torch.Tensor, threshold: float) -> torch.Tensor:
        """Walk down from the most probable root while the probability is above a threshold.

        Args:
            probabilities: Of the nodes, float tensor of shape (..., V).
            threshold: The lowest probability of a node below the roots to go to.

        Returns:
            The last node of the way, int64 of shape (...).
        """
        node = self.depth_0[probabilities[..., self.depth_0].argmax(-1)]
        for depth in range(1, self.num_depths):
            nodes = getattr(self, f'depth_{depth}')
            below = self.parent[nodes] == node[..., None]
            best, index = probabilities[..., nodes].where(below, -1).max(-1)
            node = torch.where(best > threshold, nodes[index], node)
        return node
