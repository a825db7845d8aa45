"""The index of small, medium and large objects."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmlayerwise.separation.distributed import gather_objects, gather_rows
from mmlayerwise.separation.samples import Candidates

# Areas in pixels of the original image, as COCO divides them; all beyond are large.
SIZES = (('small', 32**2), ('medium', 96**2), ('large', None))


class ObjectSizes:
    """Which of the compared samples are small, medium and large.

    Args:
        candidates: What the images of this process offered. With ``torch.distributed`` the
            processes let each other know.
    """

    def __init__(self, candidates: Sequence[Candidates]) -> None:
        known = [one for one in candidates if one.areas is not None]
        self._ids = self._sizes = torch.zeros(0, dtype=torch.int64)
        if not any(gather_objects(bool(known))):
            return
        ids = gather_rows(torch.cat([one.ids for one in known]) if known else None)
        areas = gather_rows(torch.cat([one.areas for one in known]) if known else None)
        self._ids, order = ids.sort()
        limits = torch.tensor([limit for _, limit in SIZES[:-1]], dtype=torch.float64)
        self._sizes = torch.bucketize(areas[order], limits, right=True)

    def divide(self, ids: Tensor, agrees: Tensor) -> dict[str, tuple[float, int]]:
        """Index of the objects of each size.

        Args:
            ids: int64 of shape (num_samples,).
            agrees: bool of shape (num_samples,): whether the nearest neighbour is a friend.

        Returns:
            Size -> (share of its samples whose nearest neighbour is a friend, number of samples);
            sizes that don't occur are left out, all where samples are no objects.
        """
        if not len(self._ids):
            return {}
        sizes = self._sizes[torch.searchsorted(self._ids, ids.cpu())]
        agrees = agrees.cpu()
        found = {}
        for number, (name, _) in enumerate(SIZES):
            rows = sizes == number
            if rows.any():
                found[name] = float(agrees[rows].double().mean()), int(rows.sum())
        return found
