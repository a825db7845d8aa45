"""A neighbour backend: every distance in float64, for small data and as a reference."""

import torch
from torch.nn import functional

from mmlayerwise.separation.neighbors import Neighbors


def brute_force(features, k=1, *, queries=None, groups=None, query_groups=None, max_memory=None):
    """Find the k nearest points; see ``mmlayerwise.separation.neighbors.nearest_neighbors``."""
    itself = queries is None
    points, queries = features.double(), (features if itself else queries).double()
    query_groups = groups if itself else query_groups
    distances = torch.stack([(points - query).square().sum(1) for query in queries]).sqrt()
    if itself:
        distances.fill_diagonal_(torch.inf)
    if groups is not None:
        distances[query_groups[:, None] == groups] = torch.inf
    # Fewer than k points admitted: infinity.
    distances = functional.pad(distances, (0, max(0, k - len(points))), value=torch.inf)
    distances, indices = (part[:, :k] for part in distances.sort(dim=1, stable=True))
    return Neighbors(indices.masked_fill(distances.isinf(), -1), distances)
