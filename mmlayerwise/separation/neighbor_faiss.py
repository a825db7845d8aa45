"""Candidates for neighbours from faiss, ranked exactly.

faiss computes in float32. Its order is trusted only as far as the error bound goes.
"""

import faiss
import torch
from torch import Tensor

from mmlayerwise.separation.neighbor_blocks import relative_error
from mmlayerwise.separation.neighbor_points import Frame, chunk_rows
from mmlayerwise.separation.neighbor_search import Ranking

# Candidates beside the k wanted ones.
SPARE_CANDIDATES = 8


def propose(ranking: Ranking, frame: Frame) -> Tensor:
    """Rank what faiss finds.

    Args:
        ranking: Where to write the neighbours.
        frame: Shift and scale of the points.

    Returns:
        int64: numbers of the queries whose neighbours faiss could not settle.
    """
    points, asked, k = ranking.points, ranking.asked, ranking.k
    if not len(points):
        return ranking.everyone()
    step = chunk_rows(points, ranking.memory)
    index = faiss.IndexFlatL2(points.dimension)
    largest = 0.0
    for start in range(0, len(points), step):
        block = frame.place(points.rows(start, start + step), torch.float32)
        largest = max(largest, float(block.double().square().sum(1).max()))
        index.add(block.cpu().contiguous().numpy())
    # Norms and products are both summed in float32.
    error = relative_error(points.dimension, torch.float32)
    tiny = 8 * points.dimension * torch.finfo(torch.float32).tiny
    keep = min(len(points), k + ranking.itself + SPARE_CANDIDATES)
    still_open = []
    for rows in ranking.everyone().split(step):
        query = frame.place(asked.take(rows), torch.float32)
        norms = query.double().square().sum(1)
        found, point = index.search(query.cpu().contiguous().numpy(), keep)
        found = torch.from_numpy(found).to(rows.device).double()
        point, order = torch.from_numpy(point).to(rows.device).sort(1)
        found = found.gather(1, order)
        # Points that are not among the candidates are at least this far.
        beyond = found.amax(1) if keep < len(points) else torch.full_like(norms, torch.inf)
        if ranking.itself:
            found[point == rows[:, None]] = torch.inf
        if points.groups is not None:
            own = asked.groups_of(rows)[:, None]
            found[points.groups_of(point.flatten()).view_as(point) == own] = torch.inf
        slack = error * (norms + largest) + tiny
        admitted = found.isfinite().sum(1)
        certain = (admitted >= k) | (keep == len(points))
        reach = found.sort(1).values[:, min(k, keep) - 1] + slack
        certain &= reach < beyond - slack
        near = (found - slack[:, None] <= reach[:, None]) & found.isfinite() & certain[:, None]
        row, column = near.nonzero(as_tuple=True)
        ranking.rank(rows[row], point[row, column])
        still_open.append(rows[~certain])
    return torch.cat(still_open)
